//! The filter of `RuntimeDefault`.
//!
//! What is allowed is what Docker's and containerd's default profiles allow on the same kernel
//! (docs.docker.com, "Seccomp security profiles for Docker"), so that a program which runs under
//! those runs here. What they leave out acts on the whole machine (modules, `kexec`, clocks,
//! swap), makes namespaces and mounts, reaches keyrings that know no namespaces, or has been a
//! door too often (`bpf`, `userfaultfd`, `io_uring`). Much of that needs a capability anyway; the
//! filter also keeps those out who get the capability in a user namespace of their own, and
//! those who find a mistake in a call that hardly anybody needs.

use syscalls::Sysno;

use super::policy::{Action, Compare, Condition, Policy};

/// Files, and what is known by a descriptor.
const FILES: &[Sysno] = &[
    Sysno::chdir,
    Sysno::close,
    Sysno::close_range,
    Sysno::copy_file_range,
    Sysno::dup,
    Sysno::dup3,
    Sysno::faccessat,
    Sysno::faccessat2,
    Sysno::fadvise64,
    Sysno::fallocate,
    Sysno::fanotify_mark,
    Sysno::fchdir,
    Sysno::fchmod,
    Sysno::fchmodat,
    Sysno::fchmodat2,
    Sysno::fchown,
    Sysno::fchownat,
    Sysno::fcntl,
    Sysno::fdatasync,
    Sysno::fgetxattr,
    Sysno::flistxattr,
    Sysno::flock,
    Sysno::fremovexattr,
    Sysno::fsetxattr,
    Sysno::fstat,
    Sysno::fstatfs,
    Sysno::fsync,
    Sysno::ftruncate,
    Sysno::getcwd,
    Sysno::getdents64,
    Sysno::getxattr,
    Sysno::getxattrat,
    Sysno::inotify_add_watch,
    Sysno::inotify_init1,
    Sysno::inotify_rm_watch,
    Sysno::ioctl,
    Sysno::lgetxattr,
    Sysno::linkat,
    Sysno::listmount,
    Sysno::listxattr,
    Sysno::listxattrat,
    Sysno::llistxattr,
    Sysno::lremovexattr,
    Sysno::lseek,
    Sysno::lsetxattr,
    Sysno::mkdirat,
    Sysno::mknodat,
    Sysno::name_to_handle_at,
    Sysno::openat,
    Sysno::openat2,
    Sysno::pipe2,
    Sysno::pread64,
    Sysno::preadv,
    Sysno::preadv2,
    Sysno::pwrite64,
    Sysno::pwritev,
    Sysno::pwritev2,
    Sysno::read,
    Sysno::readahead,
    Sysno::readlinkat,
    Sysno::readv,
    Sysno::removexattr,
    Sysno::removexattrat,
    Sysno::renameat,
    Sysno::renameat2,
    Sysno::sendfile,
    Sysno::setxattr,
    Sysno::setxattrat,
    Sysno::splice,
    Sysno::statfs,
    Sysno::statmount,
    Sysno::statx,
    Sysno::symlinkat,
    Sysno::sync,
    Sysno::sync_file_range,
    Sysno::syncfs,
    Sysno::tee,
    Sysno::truncate,
    Sysno::umask,
    Sysno::unlinkat,
    Sysno::utimensat,
    Sysno::vmsplice,
    Sysno::write,
    Sysno::writev,
];

/// Waiting for several things at once.
const WAITING: &[Sysno] = &[
    Sysno::epoll_create1,
    Sysno::epoll_ctl,
    Sysno::epoll_pwait,
    Sysno::epoll_pwait2,
    Sysno::eventfd2,
    Sysno::io_cancel,
    Sysno::io_destroy,
    Sysno::io_getevents,
    Sysno::io_pgetevents,
    Sysno::io_setup,
    Sysno::io_submit,
    Sysno::ppoll,
    Sysno::pselect6,
    Sysno::signalfd4,
    Sysno::timerfd_create,
    Sysno::timerfd_gettime,
    Sysno::timerfd_settime,
];

/// Memory.
const MEMORY: &[Sysno] = &[
    Sysno::brk,
    Sysno::cachestat,
    Sysno::madvise,
    Sysno::map_shadow_stack,
    Sysno::membarrier,
    Sysno::memfd_create,
    Sysno::memfd_secret,
    Sysno::mincore,
    Sysno::mlock,
    Sysno::mlock2,
    Sysno::mlockall,
    Sysno::mmap,
    Sysno::mprotect,
    Sysno::mremap,
    Sysno::mseal,
    Sysno::msync,
    Sysno::munlock,
    Sysno::munlockall,
    Sysno::munmap,
    Sysno::pkey_alloc,
    Sysno::pkey_free,
    Sysno::pkey_mprotect,
    Sysno::process_mrelease,
    Sysno::remap_file_pages,
];

/// Processes, users and scheduling. Tracing has been harmless since Linux 4.8, where a tracer
/// no longer gets around the filter, and we need a newer one.
const PROCESSES: &[Sysno] = &[
    Sysno::capget,
    Sysno::capset,
    Sysno::execve,
    Sysno::execveat,
    Sysno::exit,
    Sysno::exit_group,
    Sysno::futex,
    Sysno::futex_requeue,
    Sysno::futex_wait,
    Sysno::futex_waitv,
    Sysno::futex_wake,
    Sysno::get_robust_list,
    Sysno::getcpu,
    Sysno::getegid,
    Sysno::geteuid,
    Sysno::getgid,
    Sysno::getgroups,
    Sysno::getpgid,
    Sysno::getpid,
    Sysno::getppid,
    Sysno::getpriority,
    Sysno::getrandom,
    Sysno::getresgid,
    Sysno::getresuid,
    Sysno::getrlimit,
    Sysno::getrusage,
    Sysno::getsid,
    Sysno::gettid,
    Sysno::getuid,
    Sysno::ioprio_get,
    Sysno::ioprio_set,
    Sysno::landlock_add_rule,
    Sysno::landlock_create_ruleset,
    Sysno::landlock_restrict_self,
    Sysno::pidfd_open,
    Sysno::pidfd_send_signal,
    Sysno::prctl,
    Sysno::prlimit64,
    Sysno::process_vm_readv,
    Sysno::process_vm_writev,
    Sysno::ptrace,
    Sysno::rseq,
    Sysno::sched_get_priority_max,
    Sysno::sched_get_priority_min,
    Sysno::sched_getaffinity,
    Sysno::sched_getattr,
    Sysno::sched_getparam,
    Sysno::sched_getscheduler,
    Sysno::sched_rr_get_interval,
    Sysno::sched_setaffinity,
    Sysno::sched_setattr,
    Sysno::sched_setparam,
    Sysno::sched_setscheduler,
    Sysno::sched_yield,
    Sysno::seccomp,
    Sysno::set_robust_list,
    Sysno::set_tid_address,
    Sysno::setfsgid,
    Sysno::setfsuid,
    Sysno::setgid,
    Sysno::setgroups,
    Sysno::setpgid,
    Sysno::setpriority,
    Sysno::setregid,
    Sysno::setresgid,
    Sysno::setresuid,
    Sysno::setreuid,
    Sysno::setrlimit,
    Sysno::setsid,
    Sysno::setuid,
    Sysno::sysinfo,
    Sysno::uname,
    Sysno::wait4,
    Sysno::waitid,
];

/// Signals.
const SIGNALS: &[Sysno] = &[
    Sysno::kill,
    Sysno::restart_syscall,
    Sysno::rt_sigaction,
    Sysno::rt_sigpending,
    Sysno::rt_sigprocmask,
    Sysno::rt_sigqueueinfo,
    Sysno::rt_sigreturn,
    Sysno::rt_sigsuspend,
    Sysno::rt_sigtimedwait,
    Sysno::rt_tgsigqueueinfo,
    Sysno::sigaltstack,
    Sysno::tgkill,
    Sysno::tkill,
];

/// Clocks; setting them needs a capability, which the kernel looks for itself.
const TIME: &[Sysno] = &[
    Sysno::adjtimex,
    Sysno::clock_adjtime,
    Sysno::clock_getres,
    Sysno::clock_gettime,
    Sysno::clock_nanosleep,
    Sysno::getitimer,
    Sysno::gettimeofday,
    Sysno::nanosleep,
    Sysno::setitimer,
    Sysno::timer_create,
    Sysno::timer_delete,
    Sysno::timer_getoverrun,
    Sysno::timer_gettime,
    Sysno::timer_settime,
    Sysno::times,
];

/// The network, apart from `socket` itself.
const NETWORK: &[Sysno] = &[
    Sysno::accept,
    Sysno::accept4,
    Sysno::bind,
    Sysno::connect,
    Sysno::getpeername,
    Sysno::getsockname,
    Sysno::getsockopt,
    Sysno::listen,
    Sysno::recvfrom,
    Sysno::recvmmsg,
    Sysno::recvmsg,
    Sysno::sendmmsg,
    Sysno::sendmsg,
    Sysno::sendto,
    Sysno::setsockopt,
    Sysno::shutdown,
    Sysno::socketpair,
];

/// Queues, semaphores and shared memory of the pod.
const IPC: &[Sysno] = &[
    Sysno::mq_getsetattr,
    Sysno::mq_notify,
    Sysno::mq_open,
    Sysno::mq_timedreceive,
    Sysno::mq_timedsend,
    Sysno::mq_unlink,
    Sysno::msgctl,
    Sysno::msgget,
    Sysno::msgrcv,
    Sysno::msgsnd,
    Sysno::semctl,
    Sysno::semget,
    Sysno::semop,
    Sysno::semtimedop,
    Sysno::shmat,
    Sysno::shmctl,
    Sysno::shmdt,
    Sysno::shmget,
];

/// What newer architectures leave out in favour of something above.
#[cfg(target_arch = "x86_64")]
const LEGACY: &[Sysno] = &[
    Sysno::access,
    Sysno::alarm,
    Sysno::arch_prctl,
    Sysno::chmod,
    Sysno::chown,
    Sysno::creat,
    Sysno::dup2,
    Sysno::epoll_create,
    Sysno::epoll_ctl_old,
    Sysno::epoll_wait,
    Sysno::epoll_wait_old,
    Sysno::eventfd,
    Sysno::fork,
    Sysno::futimesat,
    Sysno::get_thread_area,
    Sysno::getdents,
    Sysno::getpgrp,
    Sysno::inotify_init,
    Sysno::lchown,
    Sysno::link,
    Sysno::lstat,
    Sysno::mkdir,
    Sysno::mknod,
    Sysno::modify_ldt,
    Sysno::open,
    Sysno::pause,
    Sysno::pipe,
    Sysno::poll,
    Sysno::readlink,
    Sysno::rename,
    Sysno::rmdir,
    Sysno::select,
    Sysno::set_thread_area,
    Sysno::signalfd,
    Sysno::stat,
    Sysno::symlink,
    Sysno::time,
    Sysno::unlink,
    Sysno::uretprobe,
    Sysno::utime,
    Sysno::utimes,
    Sysno::vfork,
];

#[cfg(target_arch = "x86_64")]
const ELSEWHERE: &[Sysno] = &[Sysno::newfstatat];
#[cfg(not(target_arch = "x86_64"))]
const ELSEWHERE: &[Sysno] = &[Sysno::fstatat];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY: &[Sysno] = &[];

/// What a capability adds, by its number in capabilities(7).
const WITH_CAPABILITY: &[(u8, &[Sysno])] = &[
    (2, &[Sysno::open_by_handle_at]), // DAC_READ_SEARCH
    (
        16, // SYS_MODULE
        &[
            Sysno::delete_module,
            Sysno::finit_module,
            Sysno::init_module,
        ],
    ),
    #[cfg(target_arch = "x86_64")]
    (17, &[Sysno::ioperm, Sysno::iopl]), // SYS_RAWIO
    (18, &[Sysno::chroot]), // SYS_CHROOT
    (
        19, // SYS_PTRACE
        &[Sysno::kcmp, Sysno::pidfd_getfd, Sysno::process_madvise],
    ),
    (20, &[Sysno::acct]), // SYS_PACCT
    (
        SYS_ADMIN,
        &[
            Sysno::bpf,
            Sysno::clone,
            Sysno::clone3,
            Sysno::fanotify_init,
            Sysno::fsconfig,
            Sysno::fsmount,
            Sysno::fsopen,
            Sysno::fspick,
            Sysno::lookup_dcookie,
            Sysno::lsm_get_self_attr,
            Sysno::lsm_list_modules,
            Sysno::lsm_set_self_attr,
            Sysno::mount,
            Sysno::mount_setattr,
            Sysno::move_mount,
            Sysno::open_tree,
            Sysno::perf_event_open,
            Sysno::quotactl,
            Sysno::quotactl_fd,
            Sysno::setdomainname,
            Sysno::sethostname,
            Sysno::setns,
            Sysno::syslog,
            Sysno::umount2,
            Sysno::unshare,
        ],
    ),
    (22, &[Sysno::reboot]), // SYS_BOOT
    (
        23, // SYS_NICE
        &[
            Sysno::get_mempolicy,
            Sysno::mbind,
            Sysno::set_mempolicy,
            Sysno::set_mempolicy_home_node,
        ],
    ),
    (25, &[Sysno::clock_settime, Sysno::settimeofday]), // SYS_TIME
    (26, &[Sysno::vhangup]),                            // SYS_TTY_CONFIG
    (34, &[Sysno::syslog]),                             // SYSLOG
    (38, &[Sysno::perf_event_open]),                    // PERFMON
    (39, &[Sysno::bpf]),                                // BPF
];

const SYS_ADMIN: u8 = 21;

/// Flags of clone(2) that make namespaces: mount, cgroup, UTS, IPC, user, PID, network.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// Families of sockets that reach beyond the pod's network: the kernel's own cryptography, and
/// the hypervisor.
const FORBIDDEN_FAMILIES: [u64; 2] = [libc::AF_ALG as u64, libc::AF_VSOCK as u64];

/// Execution domains of personality(2): Linux as it is, 32-bit addresses or `uname` of 2.6, both,
/// and the question which it is.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

const FORBIDDEN: Action = Action::Errno(libc::EPERM as u16);
const ABSENT: Action = Action::Errno(libc::ENOSYS as u16);

/// The answers for a container that has these capabilities, bit N being number N.
pub(super) fn policy(capabilities: u64) -> Policy {
    let mut policy = Policy::new(FORBIDDEN, ABSENT);
    let has = |capability: u8| capabilities & (1 << capability) != 0;
    let groups = [
        FILES, ELSEWHERE, WAITING, MEMORY, PROCESSES, SIGNALS, TIME, NETWORK, IPC, LEGACY,
    ];
    let granted = WITH_CAPABILITY
        .iter()
        .filter(|(capability, _)| has(*capability))
        .map(|(_, calls)| *calls);
    for call in groups.into_iter().chain(granted).flatten() {
        policy.always(*call, Action::Allow);
    }
    limit_sockets(&mut policy);
    for personality in PERSONALITIES {
        let compare = Compare::Equal(personality);
        policy.add(Sysno::personality, vec![first(compare)], Action::Allow);
    }
    if !has(SYS_ADMIN) {
        limit_clone(&mut policy);
    }
    policy
}

/// The kernel looks at the lower half of the family alone, so that is what counts.
fn limit_sockets(policy: &mut Policy) {
    for family in FORBIDDEN_FAMILIES {
        let family = Compare::Masked {
            mask: 0xffff_ffff,
            value: family,
        };
        policy.add(Sysno::socket, vec![first(family)], FORBIDDEN);
    }
    policy.always(Sysno::socket, Action::Allow);
}

/// Processes and threads, but no namespaces. The flags of `clone3` are in memory, where a filter
/// cannot see them: it is absent, and a libc takes `clone` instead.
fn limit_clone(policy: &mut Policy) {
    let plain = Compare::Masked {
        mask: NEW_NAMESPACES,
        value: 0,
    };
    policy.add(Sysno::clone, vec![first(plain)], Action::Allow);
    policy.always(Sysno::clone3, ABSENT);
}

fn first(compare: Compare) -> Condition {
    Condition {
        argument: 0,
        compare,
    }
}

#[cfg(test)]
mod tests {
    use super::super::program::{compile, tests::walk};
    use super::*;

    /// Docker's default set of capabilities.
    const USUAL: u64 = 0xa804_25fb;

    const ALLOWED: u32 = libc::SECCOMP_RET_ALLOW;
    const DENIED: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

    fn answer(capabilities: u64, call: Sysno, argument: u64) -> u32 {
        let code = compile(&policy(capabilities)).unwrap();
        walk(&code, call.id() as u32, [argument, 0, 0, 0, 0, 0])
    }

    #[test]
    fn arguments_decide_where_calls_have_two_faces() {
        let (fork, thread) = (libc::SIGCHLD as u64, 0x003d_0f00);
        let new_user = libc::CLONE_NEWUSER as u64;
        for (call, argument, expected) in [
            (Sysno::clone, fork, ALLOWED),
            (Sysno::clone, thread, ALLOWED),
            (Sysno::clone, fork | new_user, DENIED),
            (Sysno::clone, fork | libc::CLONE_NEWNET as u64, DENIED),
            (Sysno::clone3, 0, UNKNOWN),
            (Sysno::personality, 0, ALLOWED),
            (Sysno::personality, 0xffff_ffff, ALLOWED),
            (Sysno::personality, 0x0040_0000, DENIED),
            (Sysno::socket, libc::AF_INET as u64, ALLOWED),
            (Sysno::socket, libc::AF_NETLINK as u64, ALLOWED),
            (Sysno::socket, libc::AF_VSOCK as u64, DENIED),
            (Sysno::socket, libc::AF_ALG as u64 | 7 << 32, DENIED),
        ] {
            let found = answer(USUAL, call, argument);
            assert_eq!(found, expected, "{call} {argument:#x}");
        }
    }

    #[test]
    fn capabilities_open_what_they_are_for() {
        for (capability, call) in [
            (SYS_ADMIN, Sysno::mount),
            (SYS_ADMIN, Sysno::unshare),
            (SYS_ADMIN, Sysno::clone3),
            (25, Sysno::clock_settime),
            (16, Sysno::init_module),
            (39, Sysno::bpf),
        ] {
            assert_ne!(answer(USUAL, call, 0), ALLOWED, "{call}");
            let more = USUAL | 1 << capability;
            assert_eq!(answer(more, call, 0), ALLOWED, "{call}");
        }
        let all = answer(u64::MAX, Sysno::clone, libc::CLONE_NEWUSER as u64);
        assert_eq!(all, ALLOWED);
        assert_eq!(answer(USUAL, Sysno::chroot, 0), ALLOWED);
        assert_eq!(answer(0, Sysno::chroot, 0), DENIED);
    }

    #[test]
    fn what_nobody_may_is_denied_whatever_the_capabilities() {
        for call in [
            Sysno::keyctl,
            Sysno::add_key,
            Sysno::request_key,
            Sysno::kexec_load,
            Sysno::swapon,
            Sysno::userfaultfd,
            Sysno::io_uring_setup,
            Sysno::pivot_root,
        ] {
            assert_eq!(answer(u64::MAX, call, 0), DENIED, "{call}");
        }
    }

    #[test]
    fn the_program_is_short() {
        let code = compile(&policy(USUAL)).unwrap();
        assert!(code.len() < 200, "{} instructions", code.len());
    }
}
