//! What a container cannot see, reach or exceed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod pod;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use pod::{Pod, echo, shell};
use sealane_runtime::{Capabilities, ContainerSpec, Image, Limits};

#[tokio::test]
async fn capabilities_are_the_usual_ones() {
    let mut pod = Pod::new().await;
    let script = "grep -E '^Cap|NoNew' /proc/self/status";
    let seen = pod.script(script).await;
    assert_eq!(
        seen,
        "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\n\
         CapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n"
    );
    let spec = ContainerSpec {
        capabilities: Capabilities {
            add: pod::words(&["NET_ADMIN"]),
            drop: pod::words(&["ALL"]),
        },
        allow_privilege_escalation: true,
        ..shell("changed", script)
    };
    pod.run(&spec).await;
    let log = pod.log("changed", 0);
    assert!(log.contains("CapEff:\t0000000000001000\n"), "{log}");
    assert!(log.contains("CapBnd:\t0000000000001000\n"), "{log}");
    assert!(log.contains("NoNewPrivs:\t0\n"), "{log}");
}

#[tokio::test]
async fn users_have_no_capabilities() {
    let mut pod = Pod::new().await;
    let spec = ContainerSpec {
        user: Some(1234),
        group: Some(2345),
        groups: vec![3456],
        ..shell(
            "c",
            "id -u; id -g; id -G; echo $HOME; grep CapEff /proc/self/status; cat /root/x",
        )
    };
    assert_ne!(pod.run(&spec).await.code, 0);
    let log = pod.log("c", 0);
    let expected = "1234\n2345\n2345 3456\n/\nCapEff:\t0000000000000000\n";
    assert!(log.starts_with(expected), "{log}");
    assert!(log.contains("Permission denied"), "{log}");
}

#[tokio::test]
async fn a_container_sees_its_own_processes_only() {
    let mut pod = Pod::new().await;
    pod.start(&echo("other", &[])).await;
    let seen = pod
        .script("exec 2>/dev/null; ls -d /proc/[0-9]* | wc -l; cat /proc/1/comm")
        .await;
    let (count, first) = seen.split_once('\n').unwrap();
    assert!(count.parse::<u32>().unwrap() <= 3, "{seen}");
    assert_eq!(first, "sh\n");
}

#[tokio::test]
async fn the_machines_knobs_are_masked_or_read_only() {
    let mut pod = Pod::new().await;
    let script = "\
        for f in kcore keys timer_list sched_debug; do [ ! -s /proc/$f ] || echo $f has content; done
        for f in kcore keys timer_list; do [ ! -e /proc/$f ] || [ -z \"$(head -c 9 /proc/$f)\" ] || echo $f can be read; done
        for d in /proc/acpi /proc/scsi /sys/firmware; do [ ! -e $d ] || [ -z \"$(ls $d)\" ] || echo $d has files; done
        for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/kernel/mm/ksm/run /sys/fs/cgroup/memory/memory.limit_in_bytes; do
            if [ -e $f ] && { echo 1 > $f; } 2>/dev/null; then echo $f can be written; fi; done
        mount -t tmpfs x /mnt 2>/dev/null && echo can mount
        umount /proc/keys 2>/dev/null && echo can unmount
        mount -o remount,rw /sys 2>/dev/null && echo can remount
        true";
    assert_eq!(pod.script(script).await, "");
}

#[tokio::test]
async fn device_nodes_open_nothing() {
    let mut pod = Pod::new().await;
    let root = fs::metadata("/").unwrap().dev();
    let (major, minor) = (nix::sys::stat::major(root), nix::sys::stat::minor(root));
    let volume = pod.outside("volume");
    let spec = ContainerSpec {
        mounts: vec![sealane_runtime::Mount {
            source: volume,
            sub_path: None,
            target: "/data".into(),
            read_only: false,
            ..sealane_runtime::Mount::default()
        }],
        ..shell(
            "c",
            &format!(
                "for d in / /dev /dev/shm /tmp /run /etc /usr /data; do \
                   mknod $d/disk b {major} {minor} && head -c 1 $d/disk && echo disk opens in $d; \
                   mknod $d/z c 1 5 && head -c 1 $d/z | tr '\\0' x && echo; done 2>&1; \
                 head -c 3 /dev/zero | wc -c; echo gone > /dev/null; head -c 1 /dev/urandom | wc -c"
            ),
        )
    };
    pod.run(&spec).await;
    let log = pod.log("c", 0);
    assert_eq!(log.matches("Permission denied").count(), 16, "{log}");
    assert!(
        log.ends_with("\n3\n1\n") && !log.contains("opens") && !log.contains("\nx"),
        "{log}"
    );
}

#[tokio::test]
async fn a_privileged_container_may_do_it_all() {
    let mut pod = Pod::new().await;
    let spec = ContainerSpec {
        privileged: true,
        ..shell(
            "c",
            "mount -t tmpfs x /mnt && echo 2 > /proc/sys/net/ipv4/ip_default_ttl && \
                      mknod /dev/z c 1 5 && head -c 1 /dev/z | wc -c",
        )
    };
    assert_eq!(pod.run(&spec).await.code, 0, "{}", pod.log("c", 0));
    assert_eq!(pod.log("c", 0), "1\n");
}

#[tokio::test]
async fn a_read_only_root_refuses_writes() {
    let mut pod = Pod::new().await;
    let spec = ContainerSpec {
        read_only_root: true,
        ..shell(
            "c",
            "for f in /x /tmp/x /etc/x /usr/x; do touch $f && echo $f; done; touch /dev/shm/x",
        )
    };
    assert_eq!(pod.run(&spec).await.code, 0);
    let log = pod.log("c", 0);
    assert_eq!(log.matches("Read-only file system").count(), 4, "{log}");
    // Without it, writes stay in the container.
    pod.script("touch /x /usr/bin/sealane-test-x /etc/sealane-test-x")
        .await;
    assert!(!Path::new("/usr/bin/sealane-test-x").exists());
    assert!(!Path::new("/etc/sealane-test-x").exists());
}

fn limited(name: &str, script: &str, limits: Limits) -> ContainerSpec {
    ContainerSpec {
        limits,
        ..shell(name, script)
    }
}

#[tokio::test]
async fn limits_are_visible_inside() {
    let mut pod = Pod::new().await;
    let script = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory.max; \
                  cat cpu/cpu.cfs_quota_us cpu.max; cat cpu/cpu.shares cpu.weight; cat pids/pids.max pids.max";
    let limits = Limits {
        memory_bytes: Some(64 << 20),
        cpu_millis: Some(250),
        cpu_shares_millis: Some(500),
        pids: Some(50),
    };
    pod.run(&limited("c", &format!("({script}) 2>/dev/null"), limits))
        .await;
    let log = pod.log("c", 0);
    let v1 = "67108864\n25000\n512\n50\n";
    let v2 = "67108864\n25000 100000\n20\n50\n";
    assert!(log == v1 || log == v2, "{log}");
}

#[tokio::test]
async fn exceeding_memory_is_reported() {
    let mut pod = Pod::new().await;
    let limits = Limits {
        memory_bytes: Some(32 << 20),
        ..Limits::default()
    };
    let exit = pod
        .run(&limited("c", "exec tail /dev/zero", limits.clone()))
        .await;
    assert_eq!((exit.code, exit.signal, exit.oom), (137, Some(9), true));
    // The next attempt starts afresh, and an ordinary kill is no such thing.
    let again = ContainerSpec {
        attempt: 1,
        ..limited("c", "sleep infinity", limits)
    };
    pod.start(&again).await;
    pod.shim.signal("c", 9).await.unwrap();
    let exit = pod.exit("c", 1).await;
    assert_eq!((exit.code, exit.oom), (137, false));
}

#[tokio::test]
async fn exceeding_processes_is_refused() {
    let mut pod = Pod::new().await;
    let limits = Limits {
        pids: Some(4),
        ..Limits::default()
    };
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 100 & done";
    let exit = pod.run(&limited("c", script, limits)).await;
    let log = pod.log("c", 0);
    assert_ne!(exit.code, 0, "{log}");
    assert!(log.contains("ork"), "{log}");
}

/// A file of this machine that a test plants and takes away again.
struct Planted(PathBuf);

impl Planted {
    fn new(path: PathBuf, text: &str, mode: u32) -> Self {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Self(path)
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQ==\n-----END PRIVATE KEY-----\n";

fn unique(place: &str) -> PathBuf {
    PathBuf::from(format!("{place}/sealane-test-{}", std::process::id()))
}

#[tokio::test]
async fn the_host_image_shows_no_secret() {
    let readable = Planted::new(unique("/etc").with_extension("pem"), KEY, 0o644);
    let private = Planted::new(unique("/etc").with_extension("conf"), "password", 0o600);
    let harmless = Planted::new(unique("/etc").with_extension("txt"), "harmless", 0o644);
    let mut pod = Pod::new().await;
    let script = format!(
        "cat {} && echo; ls {} {} /etc/shadow /etc/gshadow /etc/ssl/private 2>/dev/null; \
         find / \\( -path /proc -o -path /sys -o -path /usr/share -o -path /usr/lib \\) -prune \
           -o -type f -size -64k -exec grep -l 'PRIVATE KEY-----' {{}} +; \
         find / -xdev \\( -name '*.kubeconfig' -o -name 'id_rsa' -o -name 'id_ed25519' \\); \
         find /etc -type f ! -perm -004; true",
        harmless.0.display(),
        readable.0.display(),
        private.0.display()
    );
    assert_eq!(pod.script(&script).await, "harmless\n");
}

#[tokio::test]
async fn the_host_image_shows_no_home_and_no_state() {
    let mut pod = Pod::new().await;
    let seen = pod
        .script("ls /; find /root /home /srv /mnt /media /opt /boot /run /tmp /var -type f")
        .await;
    let always = [
        "bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "media", "mnt",
        "opt", "proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var",
    ];
    for name in seen.lines() {
        assert!(always.contains(&name), "{name} is shown");
    }
    // This test's own files are among what is not there.
    let dir = pod.spec.dir.display();
    let script = format!("test ! -e {dir} && test ! -e {}", pod::TESTEE);
    pod.script(&script).await;
}

#[tokio::test]
async fn more_can_be_hidden() {
    let pod = Pod::new().await;
    let hide = |paths: &[&str]| Image::Host {
        hide: paths.iter().map(PathBuf::from).collect(),
    };
    let future = unique("/usr/local/share/future");
    let spec = ContainerSpec {
        image: hide(&[
            "/usr/share/doc",
            "/usr/share/doc/bash",
            "/lib/os-release",
            "/var/lib/whatever",
            future.to_str().unwrap(),
        ]),
        ..shell(
            "c",
            "exec 2>&1; ls -d /usr/share/doc /usr/lib/os-release; stat -c %a:%u /usr/share; ls /usr/bin/env; sleep infinity",
        )
    };
    pod.start(&spec).await;
    pod.wait_for_log("c", "/usr/bin/env\n").await;
    let log = pod.log("c", 0);
    assert_eq!(log.matches("No such file or directory").count(), 2, "{log}");
    assert!(log.ends_with("755:0\n/usr/bin/env\n"), "{log}");
    // Nothing under a hidden name can be seen when it comes into being.
    fs::create_dir_all(future.parent().unwrap()).unwrap();
    let _later = Planted::new(future.clone(), "secret", 0o644);
    let (code, text) = pod.exec("c", &["cat", future.to_str().unwrap()]).await;
    let _ = fs::remove_dir(future.parent().unwrap());
    assert_eq!(code, 1, "{text}");
}

#[tokio::test]
async fn the_echo_image_holds_our_program_only() {
    let pod = Pod::new().await;
    let started = pod.start(&echo("c", &[])).await;
    pod.wait_for_log("c", "on port").await;
    let root = PathBuf::from(format!("/proc/{}/root", started.pid));
    let names = |dir: &str| {
        let mut names: Vec<String> = fs::read_dir(root.join(dir))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let mut programs = [&["sealane"], &sealane_echo::APPLETS[..]].concat();
    programs.sort_unstable();
    assert_eq!(names("bin"), programs);
    assert_eq!(
        names("etc"),
        [
            "group",
            "hostname",
            "hosts",
            "nsswitch.conf",
            "passwd",
            "resolv.conf"
        ]
    );
    // It is this machine's file: nobody may write through it.
    let program = root.join("bin/sealane");
    let error = fs::File::options().write(true).open(program).unwrap_err();
    let errno = error.raw_os_error();
    assert!(
        errno == Some(libc::EROFS) || errno == Some(libc::ETXTBSY),
        "{error}"
    );
}
