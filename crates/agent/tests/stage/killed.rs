//! An agent in a process of its own that is killed before a chosen system call.
//!
//! What a process has done to the world it has done by system calls, so to kill
//! it before each of those that change something is to kill it at every
//! instruction that matters. The process is traced: it stops at each call, and
//! the kernel does not begin the one before which SIGKILL comes.
//!
//! The process is this test's own program, told to run [`agent_of_a_stage`]
//! alone; it waits for a line before it starts the agent.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread::JoinHandle,
};

use sealane_introspect::fetch;
use sealane_testkit::{SOON, eventually};
use serde_json::Value;

use super::{Agent, Stage, settings_in, this_node};

const DIR: &str = "SEALANE_TEST_AGENT_DIR";
const NETNS: &str = "SEALANE_TEST_AGENT_NETNS";
const SUBNET: &str = "SEALANE_TEST_AGENT_SUBNET";

/// System calls that change what others see: files, links, answers.
const CHANGES: [i64; 16] = [
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_write,
    libc::SYS_pwrite64,
    libc::SYS_writev,
    libc::SYS_openat,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_setns,
    libc::SYS_close,
];

/// What the process does; for a test that is ignored, so that it runs alone when it is asked for.
pub fn agent_of_a_stage() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).unwrap();
    let subnet = std::env::var(SUBNET).unwrap();
    let agent = Agent::start(settings_in(dir.as_ref()), &std::env::var(NETNS).unwrap());
    agent.tell_nodes(vec![this_node(&[&subnet])]);
    agent.tell_pods(vec![]);
    // Until it is killed, or whoever started it has gone.
    let _ = std::io::stdin().lock().read_line(&mut line);
}

/// The process; dropping it ends it.
pub struct Doomed {
    child: Child,
    tracer: Option<JoinHandle<Seen>>,
}

/// What was seen until the end.
#[derive(Debug, Default)]
pub struct Seen {
    /// Calls that change something, in their order.
    pub calls: Vec<i64>,
    /// Whether it was killed before the chosen one.
    pub killed: bool,
}

impl Doomed {
    /// A process in which the agent has not been started.
    pub fn new(stage: &Stage, subnet: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "agent_in_a_process"])
            .env(DIR, stage.dir.path())
            .env(NETNS, stage.node.title())
            .env(SUBNET, subnet)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            tracer: None,
        }
    }

    /// Starts the agent.
    pub fn go(&mut self) {
        self.child
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"go\n")
            .unwrap();
    }

    /// Waits until the agent serves.
    #[track_caller]
    pub fn wait_ready(&self, stage: &Stage) {
        let socket = stage.settings().debug_socket();
        eventually(SOON, "the agent in a process is ready", || {
            is_ready(&socket)
        });
    }

    /// Waits until the agent serves or has been killed.
    #[track_caller]
    pub fn wait_ready_or_killed(&self, stage: &Stage) {
        let socket = stage.settings().debug_socket();
        let tracer = &self.tracer;
        eventually(SOON, "the agent in a process is ready or killed", || {
            // Not by waiting for the process: that would take reports from the tracer.
            tracer.as_ref().is_some_and(JoinHandle::is_finished) || is_ready(&socket)
        });
    }

    /// From now on, kills it before the call of this number (from 1) that changes something.
    pub fn kill_before(&mut self, number: usize) {
        let pid = i32::try_from(self.child.id()).unwrap();
        let (attached, ready) = mpsc::channel();
        self.tracer = Some(std::thread::spawn(move || {
            let tracer = Tracer::attach(pid);
            attached.send(()).unwrap();
            tracer.run(number)
        }));
        ready.recv().unwrap();
    }

    /// Ends it if it lives still; what was seen.
    pub fn end(mut self) -> Seen {
        self.finish()
    }

    fn finish(&mut self) -> Seen {
        let _ = self.child.kill();
        let seen = self.tracer.take().map(|tracer| tracer.join().unwrap());
        let _ = self.child.wait();
        seen.unwrap_or_default()
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        self.finish();
    }
}

fn is_ready(debug_socket: &Path) -> bool {
    let got = fetch(debug_socket, "GET", "/debug/state/network").ok();
    let state: Option<Value> = got.and_then(|got| serde_json::from_str(&got.body).ok());
    state.is_some_and(|state| state["ready"] == true)
}

/// The one thread to which the traced threads report.
struct Tracer {
    pid: i32,
}

impl Tracer {
    /// Stops all threads of the process once and lets them go on to their next system call.
    fn attach(pid: i32) -> Self {
        let options =
            libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
        let mut known = BTreeSet::new();
        loop {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
            let tids: Vec<i32> = tasks
                .filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok())
                .filter(|tid| !known.contains(tid))
                .collect();
            if tids.is_empty() {
                return Self { pid };
            }
            for tid in tids {
                known.insert(tid);
                // A thread may have ended, or be traced already as the child of one that is.
                if ptrace(libc::PTRACE_SEIZE, tid, options as usize) == 0 {
                    ptrace(libc::PTRACE_INTERRUPT, tid, 0);
                }
            }
        }
    }

    fn run(self, number: usize) -> Seen {
        let mut seen = Seen::default();
        loop {
            let mut status = 0;
            // SAFETY: the status is ours; children of other threads are not waited for.
            let tid = unsafe { libc::waitpid(-1, &mut status, libc::__WALL | libc::__WNOTHREAD) };
            if tid < 0 {
                return seen;
            }
            if !libc::WIFSTOPPED(status) {
                continue;
            }
            let mut signal = 0;
            match libc::WSTOPSIG(status) {
                stop if stop == libc::SIGTRAP | 0x80 => {
                    if let Some(call) = entered(tid).filter(|call| CHANGES.contains(call)) {
                        seen.calls.push(call);
                        if seen.calls.len() == number {
                            seen.killed = true;
                            // SAFETY: no memory is involved.
                            unsafe { libc::kill(self.pid, libc::SIGKILL) };
                            continue;
                        }
                    }
                }
                // Of tracing: a clone, an interruption.
                _ if status >> 16 != 0 => {}
                other => signal = other,
            }
            ptrace(libc::PTRACE_SYSCALL, tid, signal as usize);
        }
    }
}

/// The call that a stopped thread is about to begin; `None` when it stands at the end of one.
fn entered(tid: i32) -> Option<i64> {
    /// The beginning of `struct ptrace_syscall_info` (ptrace(2)), up to the number of the call.
    #[repr(C)]
    struct Info {
        op: u8,
        pad: [u8; 3],
        arch: u32,
        instruction_pointer: u64,
        stack_pointer: u64,
        nr: u64,
        rest: [u64; 8],
    }
    const PTRACE_GET_SYSCALL_INFO: u32 = 0x420e;
    const ENTRY: u8 = 1;
    let mut info = std::mem::MaybeUninit::<Info>::zeroed();
    let size = std::mem::size_of::<Info>();
    // SAFETY: the kernel writes at most `size` bytes into `info`.
    let got = unsafe { libc::ptrace(PTRACE_GET_SYSCALL_INFO, tid, size, info.as_mut_ptr()) };
    // SAFETY: all bits zero are a value of `Info`, and so is whatever the kernel writes.
    let info = unsafe { info.assume_init() };
    (got > 0 && info.op == ENTRY).then_some(info.nr as i64)
}

fn ptrace(request: u32, tid: i32, data: usize) -> i64 {
    // SAFETY: these requests take a number, not the address of memory of ours.
    unsafe { libc::ptrace(request, tid, 0usize, data) }
}
