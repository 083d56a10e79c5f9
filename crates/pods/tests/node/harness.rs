//! A node as a process of its own, with a fake API server and a CNI plugin that
//! is a shell script. Everything it makes is removed when it is dropped.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sealane_runtime::SandboxSpec;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::certificates::Certificates;
use super::fake_api::FakeApi;

pub const DEADLINE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);

/// Notes each call, and answers ADD with an address made from the container's attempt.
const PLUGIN: &str = r#"#!/bin/sh
dir=$(dirname "$0")
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS" >> "$dir/calls"
cat > /dev/null
if [ "$CNI_COMMAND" = ADD ]; then while [ -e "$dir/hold" ]; do sleep 0.01; done; fi
if [ "$CNI_COMMAND" = ADD ] && [ -e "$dir/refuse" ]; then
    echo '{"cniVersion":"1.1.0","code":11,"msg":"no address left in 10.9.0.0/30"}'
    exit 1
fi
if [ "$CNI_COMMAND" = ADD ]; then
    echo '{"cniVersion":"1.1.0","ips":[{"address":"10.9.0.'$(( ${CNI_CONTAINERID##*-} + 1 ))'/24"}],"dns":{}}'
fi
"#;

const CONFLIST: &str = r#"{"cniVersion":"1.1.0","name":"fake","plugins":[{"type":"fake"}]}"#;

pub struct Harness {
    pub api: FakeApi,
    pub certificates: Certificates,
    pub port: u16,
    /// Further flags of the node.
    pub flags: Vec<&'static str>,
    dir: TempDir,
    cgroup: String,
    process: Option<Child>,
}

impl Harness {
    /// A node that is up, with a network.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same, with further flags.
    pub async fn start_with(flags: &[&'static str]) -> Self {
        let mut harness = Self::prepare().await;
        harness.flags = flags.to_vec();
        harness.install_network();
        harness.run();
        harness
            .wait_for("node ready", |api| {
                node_condition(api) == Some("True".into())
            })
            .await;
        harness
    }

    /// Everything but the node's process and its network.
    pub async fn prepare() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("sl-pods")
            .tempdir()
            .unwrap();
        let certificates = Certificates::make(dir.path());
        let api = FakeApi::start().await;
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let name = dir.path().file_name().unwrap().to_str().unwrap();
        let cgroup = format!("sealane-test/{}", name.trim_start_matches('.'));
        for folder in ["bin", "net.d", "state", "run"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let harness = Self {
            api,
            certificates,
            port,
            flags: Vec::new(),
            dir,
            cgroup,
            process: None,
        };
        let plugin = harness.path("bin/fake");
        fs::write(&plugin, PLUGIN).unwrap();
        fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).unwrap();
        harness.write_kubeconfig();
        harness
    }

    fn write_kubeconfig(&self) {
        let server = format!("http://{}", self.api.address);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {}}],
        });
        fs::write(self.path("kubeconfig"), config.to_string()).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn install_network(&self) {
        let temporary = self.path("net.d/.10-fake.tmp");
        fs::write(&temporary, CONFLIST).unwrap();
        fs::rename(temporary, self.path("net.d/10-fake.conflist")).unwrap();
    }

    /// Starts the node's process.
    pub fn run(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap();
        let arg = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let process = Command::new(env!("CARGO_BIN_EXE_sealane-pods-testee"))
            .arg("node")
            .args(["--kubeconfig", &arg("kubeconfig"), "--node-name", "node-1"])
            .args(["--node-ip", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--state-dir", &arg("state"), "--run-dir", &arg("run")])
            .args([
                "--cni-bin-dir",
                &arg("bin"),
                "--cni-conf-dir",
                &arg("net.d"),
            ])
            .args([
                "--tls-cert",
                &arg("server.pem"),
                "--tls-key",
                &arg("server.key"),
            ])
            .args(["--client-ca", &arg("ca.pem"), "--cgroup", &self.cgroup])
            .args(["--hide", &arg("state")])
            .args(&self.flags)
            .env("SEALANE_LOG", "debug")
            .env("TESTEE_HOLD_SHIM", self.path("hold"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
    }

    /// `kill -9` of the node's process.
    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Schedules a pod to this node; its spec may leave out what the API would default.
    pub fn create_pod(&self, name: &str, mut spec: Value) -> String {
        spec["nodeName"] = "node-1".into();
        let conditions = json!([{"type": "PodScheduled", "status": "True"}]);
        let pod = json!({
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {"name": name, "namespace": "default", "generation": 1},
            "spec": spec, "status": {"phase": "Pending", "conditions": conditions},
        });
        self.api.create("/api/v1/namespaces/default/pods", pod)["metadata"]["uid"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub fn pod(&self, name: &str) -> Option<Value> {
        self.api.get(&pod_path(name))
    }

    pub async fn wait_for_pod(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        self.wait_for(&format!("pod {name} {what}"), |_| {
            self.pod(name).is_some_and(|pod| wanted(&pod))
        })
        .await;
        self.pod(name).unwrap()
    }

    pub async fn wait_running(&self, name: &str) -> Value {
        self.wait_for_pod(name, "running", |pod| {
            ready(pod) && pod["status"]["phase"] == "Running"
        })
        .await
    }

    pub async fn wait_gone(&self, name: &str) {
        self.wait_for(&format!("pod {name} gone"), |_| self.pod(name).is_none())
            .await;
    }

    pub async fn wait_for(&self, what: &str, wanted: impl Fn(&FakeApi) -> bool) {
        let end = tokio::time::Instant::now() + DEADLINE;
        while !wanted(&self.api) {
            assert!(
                tokio::time::Instant::now() < end,
                "{what} within {DEADLINE:?}\n{}",
                self.state()
            );
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The calls of the CNI plugin: `COMMAND ID NETNS`.
    pub fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("bin/calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// How many shims wait to be let go on.
    pub fn held_shims(&self) -> usize {
        let entries = fs::read_dir(self.dir.path()).unwrap().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.starts_with("hold.")).count()
    }

    pub fn shim_of(&self, uid: &str) -> Option<u32> {
        let state =
            sealane_introspect::fetch(&self.path("run/node.debug.sock"), "GET", "/debug/state");
        let state: Value = serde_json::from_str(&state.ok()?.body).ok()?;
        state["pods"][uid]["shim"]
            .as_u64()
            .and_then(|pid| u32::try_from(pid).ok())
    }

    /// How many shims of this node there are, orphans included.
    pub fn shims(&self) -> usize {
        let pods = self
            .path("state/pods")
            .into_os_string()
            .into_string()
            .unwrap();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let commands = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        let of_ours = commands.filter(|command| String::from_utf8_lossy(command).contains(&pods));
        of_ours.count()
    }

    /// Everything that helps to understand a failure.
    fn state(&self) -> String {
        let mut text = fs::read_to_string(self.path("log")).unwrap_or_default();
        for name in ["a", "b"] {
            text += &format!("pod {name}: {:#}\n", self.pod(name).unwrap_or_default());
            text += &format!("events: {:#?}\n", self.api.events(name));
        }
        text + &format!("CNI: {:#?}\n", self.calls())
    }

    /// Removes everything; what could not be removed, in words.
    fn clean_up(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        if self.process.is_some() {
            self.kill();
        }
        // By folders, not by sockets: a shim that is just ending has none any more.
        let folders = fs::read_dir(self.path("state/pods"))
            .into_iter()
            .flatten()
            .flatten();
        for folder in folders {
            let uid = folder.file_name().into_string().unwrap_or_default();
            let spec = SandboxSpec {
                pod_uid: uid.clone(),
                dir: folder.path(),
                socket: self.path("run/pods").join(format!("{uid}.sock")),
                cgroup: Path::new(&self.cgroup).join(&uid),
                ..SandboxSpec::default()
            };
            if let Err(error) = sealane_runtime::reset(&spec) {
                left.push(error.to_string());
            }
        }
        unmount(self.dir.path());
        left.extend(remove_cgroups(&self.cgroup));
        left
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read(self.path("log")).unwrap_or_default();
            // Nothing can be done about an error of standard error.
            let _ = std::io::stderr().write_all(&log);
        }
        let left = self.clean_up();
        if !std::thread::panicking() {
            assert!(left.is_empty(), "left behind: {left:#?}");
        }
    }
}

fn unmount(below: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let paths = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    for path in paths.filter(|path| Path::new(path).starts_with(below)) {
        let _already_gone = nix::mount::umount2(path, nix::mount::MntFlags::MNT_DETACH);
    }
}

/// Removes the node's own cgroup; those of pods must be gone by then.
fn remove_cgroups(name: &str) -> Vec<String> {
    let hierarchies = fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten();
    let roots = hierarchies
        .map(|entry| entry.path())
        .chain(["/sys/fs/cgroup".into()]);
    let mut left = Vec::new();
    for root in roots {
        let own = root.join(name);
        if let Err(error) = fs::remove_dir(&own)
            && own.exists()
        {
            let within: Vec<_> = fs::read_dir(&own).into_iter().flatten().flatten().collect();
            let within = within.iter().filter(|entry| entry.path().is_dir());
            let names: Vec<_> = within.map(fs::DirEntry::path).collect();
            left.push(format!("remove {}: {error}: {names:?}", own.display()));
        }
        let _others_use_it = fs::remove_dir(root.join("sealane-test"));
    }
    left
}

pub fn pod_path(name: &str) -> String {
    format!("/api/v1/namespaces/default/pods/{name}")
}

pub fn node_condition(api: &FakeApi) -> Option<String> {
    let node = api.get("/api/v1/nodes/node-1")?;
    condition(&node, "Ready")
}

pub fn condition(object: &Value, type_: &str) -> Option<String> {
    let conditions = object["status"]["conditions"].as_array()?;
    let found = conditions
        .iter()
        .find(|condition| condition["type"] == type_)?;
    found["status"].as_str().map(str::to_owned)
}

pub fn ready(pod: &Value) -> bool {
    condition(pod, "Ready").as_deref() == Some("True")
}

/// The state of a pod's first container: `(word, object)`.
pub fn state(pod: &Value) -> (String, Value) {
    let state = &pod["status"]["containerStatuses"][0]["state"];
    let first = state.as_object().and_then(|state| state.iter().next());
    first
        .map(|(word, value)| (word.clone(), value.clone()))
        .unwrap_or_default()
}

pub fn restarts(pod: &Value) -> u64 {
    pod["status"]["containerStatuses"][0]["restartCount"]
        .as_u64()
        .unwrap_or(0)
}
