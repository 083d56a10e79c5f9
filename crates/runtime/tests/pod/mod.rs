//! A pod for a test: on the real kernel, under names of its own, and gone with
//! everything it left when the test ends, however it ends.

#![allow(dead_code, reason = "each test program uses its part of it")]

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sealane_runtime::{
    ContainerSpec, Exec, ExecIo, ExecSpec, Exit, Image, Launcher, SandboxSpec, Shim, ShimEvent,
    Started, adopt, cleanup, log_path, resolve_image,
};
use tokio::sync::mpsc::UnboundedReceiver;

/// No condition that a test waits for takes this long on a working system.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The program that is the shim, and the content of `sealane.io/echo`.
pub const TESTEE: &str = env!("CARGO_BIN_EXE_sealane-runtime-testee");

pub struct Pod {
    pub shim: Shim,
    pub spec: SandboxSpec,
    pub events: UnboundedReceiver<ShimEvent>,
    _guard: Guard,
}

/// Removes the pod also when its creation fails.
struct Guard {
    spec: SandboxSpec,
    dir: tempfile::TempDir,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Err(error) = cleanup(&self.spec) {
            eprintln!("{error}");
        }
    }
}

/// A specification that nobody else uses, and the directory it lives in.
pub fn spec() -> (SandboxSpec, tempfile::TempDir) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let id = format!("test-{}-{number}", std::process::id());
    let dir = tempfile::tempdir().unwrap();
    let spec = SandboxSpec {
        pod_uid: id.clone(),
        namespace: "default".into(),
        name: "pod-a".into(),
        hostname: "pod-a".into(),
        dir: dir.path().join("pod"),
        socket: dir.path().join("shim.sock"),
        // Without a parent of our own, so that nothing of it can stay.
        cgroup: PathBuf::from(format!("sealane-runtime-{id}")),
        ..SandboxSpec::default()
    };
    (spec, dir)
}

pub fn launcher() -> Launcher {
    Launcher {
        program: TESTEE.into(),
    }
}

impl Pod {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut SandboxSpec)) -> Self {
        Self::launched_by(&launcher(), change).await
    }

    pub async fn launched_by(launcher: &Launcher, change: impl FnOnce(&mut SandboxSpec)) -> Self {
        let (mut spec, dir) = spec();
        change(&mut spec);
        let guard = Guard {
            spec: spec.clone(),
            dir,
        };
        let shim = launcher.create(&spec).await.unwrap();
        Self {
            events: shim.events(),
            shim,
            spec,
            _guard: guard,
        }
    }

    /// A directory outside the pod's own that lives as long as the pod.
    pub fn outside(&self, name: &str) -> PathBuf {
        let path = self._guard.dir.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    pub async fn start(&self, spec: &ContainerSpec) -> Started {
        self.shim.start(spec).await.unwrap()
    }

    /// Starts a container and waits for its end.
    pub async fn run(&mut self, spec: &ContainerSpec) -> Exit {
        self.start(spec).await;
        self.exit(&spec.name, spec.attempt).await
    }

    /// Waits for the end of a container.
    pub async fn exit(&mut self, name: &str, attempt: u32) -> Exit {
        let next = async {
            loop {
                match self.events.recv().await {
                    Some(ShimEvent::Exited {
                        name: other,
                        attempt: number,
                        exit,
                    }) if other == name && number == attempt => return exit,
                    Some(ShimEvent::Gone) | None => panic!("the shim is gone"),
                    Some(_) => {}
                }
            }
        };
        let exit = tokio::time::timeout(PATIENCE, next).await;
        exit.unwrap_or_else(|_| panic!("container {name} does not end"))
    }

    /// Runs a script in `sealane.io/host` and returns what it printed.
    pub async fn script(&mut self, script: &str) -> String {
        let name = format!("s{}", script.len());
        let exit = self.run(&shell(&name, script)).await;
        let log = self.log(&name, 0);
        assert_eq!(exit.code, 0, "{script}: {exit:?}\n{log}");
        log
    }

    /// What a container printed, both streams, as it printed it.
    pub fn log(&self, name: &str, attempt: u32) -> String {
        text(&self.raw_log(name, attempt))
    }

    pub fn raw_log(&self, name: &str, attempt: u32) -> String {
        fs::read_to_string(log_path(&self.spec.dir, name, attempt)).unwrap()
    }

    /// Waits until a container has printed this.
    pub async fn wait_for_log(&self, name: &str, wanted: &str) {
        until(&format!("{name} prints {wanted:?}"), || {
            self.log(name, 0).contains(wanted)
        })
        .await;
    }

    /// Runs a command in a container, returns its exit code and output.
    pub async fn exec(&self, container: &str, command: &[&str]) -> (i32, String) {
        let (mut output, [stdin, stdout, stderr]) = streams();
        let io = ExecIo::Fds([stdin, stdout, stderr]);
        let mut exec = self
            .shim
            .exec(&exec_spec(container, command), io)
            .await
            .unwrap();
        let reading = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            output.read_to_string(&mut text).unwrap();
            text
        });
        let code = wait(&mut exec).await;
        (code, reading.await.unwrap())
    }

    /// Forgets the handle, as a node process that dies, and takes over again.
    pub async fn adopt_again(&mut self) {
        self.shim = adopt(&self.spec.socket).await.unwrap();
        self.events = self.shim.events();
    }
}

pub async fn wait(exec: &mut Exec) -> i32 {
    let code = tokio::time::timeout(PATIENCE, exec.wait()).await;
    code.expect("command does not end").unwrap()
}

/// A pipe to read a command's output from, and the command's streams.
pub fn streams() -> (std::io::PipeReader, [OwnedFd; 3]) {
    let (output, writer) = std::io::pipe().unwrap();
    let stdin = fs::File::open("/dev/null").unwrap();
    let copy = writer.try_clone().unwrap();
    (output, [stdin.into(), writer.into(), copy.into()])
}

pub fn exec_spec(container: &str, command: &[&str]) -> ExecSpec {
    ExecSpec {
        container: container.into(),
        command: words(command),
        ..ExecSpec::default()
    }
}

pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

pub fn host() -> Image {
    resolve_image("sealane.io/host").unwrap()
}

/// A container of `sealane.io/host` that runs a script.
pub fn shell(name: &str, script: &str) -> ContainerSpec {
    ContainerSpec {
        command: words(&["sh", "-c", script]),
        ..ContainerSpec::new(name, 0, host())
    }
}

/// A container of `sealane.io/echo` with these arguments.
pub fn echo(name: &str, args: &[&str]) -> ContainerSpec {
    ContainerSpec {
        args: words(args),
        ..ContainerSpec::new(name, 0, Image::Echo)
    }
}

/// The text of a log without time, stream and tag.
pub fn text(log: &str) -> String {
    let mut text = String::new();
    for record in log.lines() {
        let mut fields = record.splitn(4, ' ').skip(2);
        let tag = fields.next().unwrap();
        text.push_str(fields.next().unwrap());
        if tag == "F" {
            text.push('\n');
        }
    }
    text
}

/// Waits for a condition, with a deadline.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

pub fn kill(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid.try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

/// The directories of a cgroup, however the hierarchies are mounted.
pub fn cgroup_dirs(cgroup: &Path) -> Vec<String> {
    let top = Path::new("/sys/fs/cgroup");
    let entries = fs::read_dir(top).unwrap().flatten();
    let mounts = entries.map(|entry| entry.path()).chain([top.to_owned()]);
    mounts
        .map(|mount| mount.join(cgroup))
        .filter(|dir| dir.exists())
        .map(|dir| dir.display().to_string())
        .collect()
}

/// Everything of a pod that is still on this machine, apart from its directory.
pub fn leftovers(spec: &SandboxSpec) -> Vec<String> {
    let mut found = Vec::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let dir = spec.dir.to_str().unwrap();
    found.extend(mounts.lines().filter(|l| l.contains(dir)).map(String::from));
    found.extend(cgroup_dirs(&spec.cgroup));
    if spec.socket.exists() {
        found.push(spec.socket.display().to_string());
    }
    for name in ["shm", "applets", "root"] {
        let dir = spec.dir.join(name);
        if dir.exists() {
            found.push(dir.display().to_string());
        }
    }
    found
}
