//! A server for one test, and the ways to talk to it. Everything goes when it is dropped.

use std::{
    env, fs,
    io::Write as _,
    net::{SocketAddr, TcpListener},
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use kube::config::{KubeConfigOptions, Kubeconfig};
use tempfile::TempDir;

use crate::{
    disk::{SMALL_DISK, SmallDisk},
    pki::{Pair, Pki},
};

/// The variable with the server's arguments, one on each line.
pub const ARGUMENTS: &str = "SEALANE_TEST_APISERVER";
/// Events that the server keeps.
pub const EVENT_HISTORY: usize = 1000;
/// How long anything may take that is waited for.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// Between two looks at something that is waited for.
pub const PAUSE: Duration = Duration::from_millis(2);

/// A process that ends with the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running server.
pub struct Server {
    /// First, so that the process ends before its folder goes.
    child: Option<Running>,
    pub folder: TempDir,
    pub pki: Pki,
    pub address: SocketAddr,
    /// Events that it keeps.
    pub event_history: usize,
    /// Mounts that only it sees; its store is there.
    pub mounts: Option<SmallDisk>,
    listener: TcpListener,
}

/// What a program said.
#[derive(Debug)]
pub struct Said {
    pub ok: bool,
    pub out: String,
    pub err: String,
}

impl Server {
    pub fn start() -> Self {
        let mut server = Self::prepare();
        server.launch();
        server
    }

    /// All that a server needs, and no server yet.
    pub fn prepare() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::new();
        fs::write(folder.path().join("ca.crt"), &pki.authority).unwrap();
        pki.server().write(folder.path(), "server");
        pki.client("kube-apiserver-kubelet-client", "system:masters")
            .write(folder.path(), "kubelet");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self {
            folder,
            pki,
            address,
            event_history: EVENT_HISTORY,
            mounts: None,
            listener,
            child: None,
        };
        server
            .pki
            .client("kubernetes-admin", "system:masters")
            .write(server.path(), "admin");
        fs::write(
            server.path().join("kubeconfig"),
            server.kubeconfig(Some("admin")),
        )
        .unwrap();
        server
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn store(&self) -> PathBuf {
        match &self.mounts {
            Some(_) => self.path().join(SMALL_DISK).join("store.redb"),
            None => self.path().join("store.redb"),
        }
    }

    /// Starts the process; clients wait in the socket's queue until it serves.
    pub fn launch(&mut self) {
        self.child = Some(Running(self.command().spawn().unwrap()));
    }

    /// The arguments of the server.
    pub fn arguments(&self) -> Vec<String> {
        let descriptor = self.listener.as_raw_fd();
        let file = |name: &str| self.path().join(name).display().to_string();
        [
            "apiserver".into(),
            format!("--listen=fd:{descriptor}"),
            format!("--advertise-address={}", self.address),
            format!("--store={}", self.store().display()),
            format!("--client-ca={}", file("ca.crt")),
            format!("--tls-cert={}", file("server.crt")),
            format!("--tls-key={}", file("server.key")),
            format!("--kubelet-client-cert={}", file("kubelet.crt")),
            format!("--kubelet-client-key={}", file("kubelet.key")),
            format!("--kubelet-ca={}", file("ca.crt")),
            format!("--service-account-key-file={}", file("server.key")),
            "--service-cluster-ip-range=10.96.0.0/12,fd00:10:96::/112".into(),
            format!("--event-history={}", self.event_history),
            format!("--debug-socket={}", file("debug.sock")),
        ]
        .into()
    }

    /// The program that serves: this one run again, or what `SEALANE_BIN` names.
    fn program(&self) -> Command {
        if let Some(binary) = env::var_os("SEALANE_BIN") {
            let mut command = Command::new(binary);
            command.args(self.arguments());
            return command;
        }
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", "server_process", "--nocapture"])
            .env(ARGUMENTS, self.arguments().join("\n"));
        command
    }

    /// The command of the server's process.
    pub fn command(&self) -> Command {
        let descriptor = self.listener.as_raw_fd();
        let mut command = self.program();
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mounts = self.mounts.as_ref().map(SmallDisk::namespace);
        // SAFETY: between fork and exec only setns and fcntl are called, which is safe after a
        // fork; the descriptors are open as long as this server, which outlives the spawn.
        unsafe {
            command.pre_exec(move || {
                if let Some(mounts) = mounts {
                    let mounts = std::os::fd::BorrowedFd::borrow_raw(mounts);
                    nix::sched::setns(mounts, nix::sched::CloneFlags::CLONE_NEWNS)?;
                }
                let borrowed = std::os::fd::BorrowedFd::borrow_raw(descriptor);
                let flags = nix::fcntl::FdFlag::empty();
                nix::fcntl::fcntl(borrowed, nix::fcntl::FcntlArg::F_SETFD(flags))?;
                Ok(())
            });
        }
        command
    }

    /// Asks the process to end, and waits until it has.
    pub fn stop(&mut self) -> std::process::ExitStatus {
        let mut child = self.child.take().expect("the server runs");
        let pid = nix::unistd::Pid::from_raw(child.0.id().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM).unwrap();
        wait_for("the server's end", || child.0.try_wait().unwrap())
    }

    /// Ends the process in the middle of whatever it does.
    pub fn kill(&mut self) {
        self.child = None;
    }

    pub fn kill_and_launch(&mut self) {
        self.kill();
        self.launch();
    }

    /// The memory that the process has in RAM, in MB.
    pub fn resident_mb(&self) -> f64 {
        let pid = self.child.as_ref().expect("the server runs").0.id();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    /// A kubeconfig of the client whose certificate is `NAME.crt`, or of nobody.
    pub fn kubeconfig(&self, name: Option<&str>) -> String {
        let folder = self.path().display();
        let user = name.map_or("{}".into(), |name| {
            format!("{{client-certificate: {folder}/{name}.crt, client-key: {folder}/{name}.key}}")
        });
        let address = self.address;
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: 'https://{address}', certificate-authority: {folder}/ca.crt}}}}]\n\
             users: [{{name: test, user: {user}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n"
        )
    }

    /// A `kube` client with the certificate `NAME.crt`, or none.
    pub async fn client_of(&self, name: Option<&str>) -> kube::Client {
        let kubeconfig = Kubeconfig::from_yaml(&self.kubeconfig(name)).unwrap();
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .unwrap();
        kube::Client::try_from(config).unwrap()
    }

    pub async fn client(&self) -> kube::Client {
        self.client_of(Some("admin")).await
    }

    /// Adds a client.
    pub fn add(&self, pair: &Pair, name: &str) {
        pair.write(self.path(), name);
    }

    /// Runs kubectl; words are separated by spaces, so it takes no argument that has one.
    pub fn kubectl(&self, words: &str) -> Said {
        self.kubectl_with(&words.split_whitespace().collect::<Vec<_>>(), "")
    }

    /// Runs kubectl with this input.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Said {
        run_with_input(self.kubectl_command(arguments), input)
    }

    pub fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(kubectl());
        command
            .arg("--kubeconfig")
            .arg(self.path().join("kubeconfig"))
            .arg("--cache-dir")
            .arg(self.path().join("cache"))
            .args(arguments)
            .env("HOME", self.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs kubectl, which must succeed, and gives what it prints.
    #[track_caller]
    pub fn ok(&self, words: &str) -> String {
        let said = self.kubectl(words);
        assert!(said.ok, "kubectl {words}: {}", said.err);
        said.out
    }

    /// Applies a manifest, which must succeed.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        let said = self.kubectl_with(&["apply", "-f", "-"], manifest);
        assert!(said.ok, "kubectl apply: {}", said.err);
        said.out
    }

    /// Runs kubectl, which must fail, and gives its complaint.
    #[track_caller]
    pub fn refused(&self, arguments: &[&str], input: &str) -> String {
        let said = self.kubectl_with(arguments, input);
        assert!(
            !said.ok,
            "kubectl {arguments:?} did what should be refused: {}",
            said.out
        );
        said.err
    }
}

pub fn said(output: Output) -> Said {
    Said {
        ok: output.status.success(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs a command with this input.
pub fn run_with_input(mut command: Command, input: &str) -> Said {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    said(child.wait_with_output().unwrap())
}

/// The kubectl to test with: `$KUBECTL`, or the one in the path.
fn kubectl() -> String {
    let program = env::var("KUBECTL").unwrap_or_else(|_| "kubectl".into());
    let found = Command::new(&program)
        .args(["version", "--client"])
        .output();
    match found {
        Ok(output) if output.status.success() => program,
        Ok(output) => panic!("{program} does not work: {}", said(output).err),
        Err(cause) => {
            panic!(
                "these tests need kubectl; install it, or say where it is by KUBECTL ({program}: {cause})"
            )
        }
    }
}

/// Waits until `condition` gives something.
#[track_caller]
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < end, "waited {DEADLINE:?} for {what}");
        std::thread::sleep(PAUSE);
    }
}

/// The same, of something that takes time.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(done) => done,
        Err(_) => panic!("waited {DEADLINE:?} for {what}"),
    }
}
