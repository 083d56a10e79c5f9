//! A single-machine cluster, made, used and removed through the `sealane` binary and `kubectl`.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::api::Api;
use crate::binary;
use crate::command::{Finished, finish, finish_with_input};
use crate::deadline::{LATER, SOON, eventually};
use crate::kubectl;
use crate::leftovers::Leftovers;
use crate::machine::Machine;
use crate::namespace::Namespace;
use crate::pod::Pod;
use crate::process::Process;
use crate::report;
use crate::topology::unique;

/// What `sealane up` is asked for. Anything left out takes the product's default.
#[derive(Debug, Clone)]
pub struct UpOptions {
    /// The cluster's name; by default one that nobody else uses.
    pub name: String,
    /// How many nodes.
    pub nodes: u32,
    /// Further flags, such as `["--cluster-cidr", "10.9.0.0/24"]`.
    pub flags: Vec<String>,
}

impl Default for UpOptions {
    fn default() -> Self {
        Self {
            name: unique(),
            nodes: 2,
            flags: Vec::new(),
        }
    }
}

impl UpOptions {
    /// With a further flag and its value.
    #[must_use]
    pub fn flag(mut self, flag: &str, value: &str) -> Self {
        self.flags.extend([flag.to_owned(), value.to_owned()]);
        self
    }

    /// The arguments of `sealane` that bring this cluster up, never with a way to the internet.
    pub fn arguments(&self) -> Vec<String> {
        let nodes = self.nodes.to_string();
        let fixed = [
            "up",
            "--name",
            &self.name,
            "--nodes",
            &nodes,
            "--no-internet",
        ];
        fixed
            .into_iter()
            .map(str::to_owned)
            .chain(self.flags.iter().cloned())
            .collect()
    }
}

/// One of the supervised processes of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Starts the others and starts them again.
    Supervisor,
    /// The embedded Kubernetes API.
    ApiServer,
    /// Controllers and scheduler.
    Controllers,
    /// The kubelet's part on a node.
    Node(u32),
    /// The network of a node.
    Agent(u32),
}

impl Role {
    /// Each role of a two-node cluster's first node, and those that exist once.
    pub const EACH: [Self; 5] = [
        Self::Agent(1),
        Self::Node(1),
        Self::ApiServer,
        Self::Controllers,
        Self::Supervisor,
    ];

    /// The name of its pid file and log.
    pub fn file_stem(self) -> String {
        match self {
            Self::Supervisor => "supervisor".to_owned(),
            Self::ApiServer => "apiserver".to_owned(),
            Self::Controllers => "controllers".to_owned(),
            Self::Node(number) => format!("node-{number}"),
            Self::Agent(number) => format!("agent-node-{number}"),
        }
    }
}

/// A cluster that runs until it is dropped.
#[derive(Debug)]
pub struct Cluster {
    options: UpOptions,
    api: OnceLock<Api>,
    _machine: Machine,
}

impl Cluster {
    /// Brings a cluster up, and returns when it is ready.
    ///
    /// # Panics
    /// When `sealane up` fails. What it has made by then is removed.
    #[track_caller]
    pub fn up(options: UpOptions) -> Self {
        let cluster = Self::claim(options);
        binary::sealane(cluster.options.arguments()).ok();
        cluster
    }

    /// The place of a cluster that the test itself will bring up: dropped, it is taken down.
    #[track_caller]
    pub fn claim(options: UpOptions) -> Self {
        let machine = Machine::with_others();
        sweep();
        Self {
            options,
            api: OnceLock::new(),
            _machine: machine,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// How many nodes it was asked to have.
    pub fn nodes(&self) -> u32 {
        self.options.nodes
    }

    /// What it was brought up with.
    pub fn options(&self) -> &UpOptions {
        &self.options
    }

    /// Where it keeps what survives a restart.
    pub fn state_dir(&self) -> PathBuf {
        Path::new("/var/lib/sealane").join(self.name())
    }

    /// Where it keeps sockets and pids.
    pub fn run_dir(&self) -> PathBuf {
        Path::new("/run/sealane").join(self.name())
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state_dir().join("kubeconfig")
    }

    /// The name of a node's network namespace.
    pub fn node_netns(&self, number: u32) -> String {
        format!("{}-node-{number}", self.name())
    }

    /// A node's network namespace.
    #[track_caller]
    pub fn node(&self, number: u32) -> Namespace {
        Namespace::named(&self.node_netns(number))
    }

    /// The API without `kubectl`.
    #[track_caller]
    pub fn api(&self) -> &Api {
        self.api
            .get_or_init(|| Api::from_kubeconfig(&self.kubeconfig()))
    }

    /// Runs `kubectl` as the administrator.
    #[track_caller]
    pub fn kubectl<I, S>(&self, args: I) -> Finished
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        let mut command = self.kubectl_command();
        command.args(args);
        finish(command)
    }

    /// `kubectl` as the administrator, yet to get its arguments.
    #[track_caller]
    pub fn kubectl_command(&self) -> Command {
        let mut command = Command::new(kubectl::path());
        command.env("KUBECONFIG", self.kubeconfig());
        // Clusters follow each other at one address, and what a former one served must not be believed.
        command.env("KUBECACHEDIR", self.run_dir().join("kubectl-cache"));
        command
    }

    /// `kubectl apply` of a manifest.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> Finished {
        let mut command = self.kubectl_command();
        command.args(["apply", "--filename", "-"]);
        finish_with_input(command, manifest)
    }

    /// Creates pods and returns at once.
    #[track_caller]
    pub fn create(&self, pods: &[Pod]) {
        for pod in pods {
            let created = self
                .api()
                .create("/api/v1/namespaces/default/pods", pod.manifest());
            created.unwrap_or_else(|error| panic!("create pod {}: {error}", pod.name()));
        }
    }

    /// Creates pods and waits until each is ready.
    #[track_caller]
    pub fn start(&self, pods: &[Pod]) {
        self.create(pods);
        for pod in pods {
            self.wait_ready(pod.name());
        }
    }

    /// Waits until a pod runs and all its containers are ready.
    #[track_caller]
    pub fn wait_ready(&self, pod: &str) {
        self.wait_pod(pod, "is ready", |object| {
            let conditions = object["status"]["conditions"].as_array()?;
            let ready = conditions
                .iter()
                .find(|condition| condition["type"] == "Ready")?;
            (ready["status"] == "True").then_some(())
        });
    }

    /// Waits until `look` finds what it wants in a pod, and prints the pod's status when it does not.
    #[track_caller]
    pub fn wait_pod<T>(&self, pod: &str, what: &str, look: impl Fn(&Value) -> Option<T>) -> T {
        eventually(LATER, &format!("pod {pod} {what}"), || {
            let object = self.pod(pod)?;
            look(&object).ok_or_else(|| format!("its status is {:#}", object["status"]))
        })
    }

    /// A pod as the API shows it.
    ///
    /// # Errors
    /// When there is none, or the API server does not answer.
    pub fn pod(&self, name: &str) -> Result<Value, String> {
        self.api()
            .get(&format!("/api/v1/namespaces/default/pods/{name}"))
    }

    /// Deletes pods and waits until they are gone.
    #[track_caller]
    pub fn delete<const N: usize>(&self, pods: [&str; N]) {
        for pod in pods {
            let deleted = self
                .api()
                .delete(&format!("/api/v1/namespaces/default/pods/{pod}"));
            deleted.unwrap_or_else(|error| panic!("delete pod {pod}: {error}"));
        }
        for pod in pods {
            self.wait_gone(pod);
        }
    }

    /// Waits until the API knows no such pod.
    #[track_caller]
    pub fn wait_gone(&self, pod: &str) {
        eventually(LATER, &format!("pod {pod} is gone"), || {
            match self.pod(pod) {
                Err(error) if error.contains("not found") => Ok(()),
                Err(error) => Err(error),
                Ok(object) => Err(format!("it is there: {:#}", object["status"])),
            }
        });
    }

    /// The addresses of a pod that runs.
    #[track_caller]
    pub fn pod_ip(&self, pod: &str) -> IpAddr {
        self.wait_pod(pod, "has an address", |object| {
            object["status"]["podIP"].as_str()?.parse().ok()
        })
    }

    /// The address of a node.
    #[track_caller]
    pub fn node_ip(&self, number: u32) -> IpAddr {
        let node = self.api().get(&format!("/api/v1/nodes/node-{number}"));
        let node = node.unwrap_or_else(|error| panic!("{error}"));
        let addresses = node["status"]["addresses"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let internal = addresses
            .iter()
            .find(|address| address["type"] == "InternalIP");
        let ip = internal.and_then(|address| address["address"].as_str()?.parse().ok());
        ip.unwrap_or_else(|| {
            panic!(
                "node-{number} has no internal address: {:#}",
                node["status"]
            )
        })
    }

    /// This machine's end of the node network: where nodes find the API, and send what is for outside.
    #[track_caller]
    pub fn gateway(&self) -> IpAddr {
        let routes = self
            .node(1)
            .run("ip", ["-json", "route", "show", "default"])
            .json();
        let gateway = routes[0]["gateway"]
            .as_str()
            .and_then(|text| text.parse().ok());
        gateway.unwrap_or_else(|| panic!("node-1 has no default route: {routes}"))
    }

    /// Runs a command in the first container of a pod, by `kubectl exec`.
    #[track_caller]
    pub fn exec<I, S>(&self, pod: &str, command: I) -> Finished
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        let mut kubectl = self.kubectl_command();
        kubectl.args(["exec", pod, "--"]).args(command);
        finish(kubectl)
    }

    /// The process that holds a pod's namespaces.
    #[track_caller]
    pub fn shim(&self, pod: &str) -> Process {
        let object = self.pod(pod).unwrap_or_else(|error| panic!("{error}"));
        let uid = object["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        eventually(SOON, &format!("the shim of pod {pod} runs"), || {
            shim_of(&uid)
        })
    }

    /// A pod's network namespace, entered from outside: also where the pod has no tools of its own.
    #[track_caller]
    pub fn pod_netns(&self, pod: &str) -> Namespace {
        Namespace::of_process(&format!("pod {pod}"), self.shim(pod).pid)
    }

    /// A supervised process, as its pid file names it and /proc confirms.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn process(&self, role: Role) -> Result<Process, String> {
        let path = self
            .run_dir()
            .join("pids")
            .join(format!("{}.json", role.file_stem()));
        let text = fs::read_to_string(&path)
            .map_err(|error| format!("read {}: {error}", path.display()))?;
        let entry: Value = serde_json::from_str(&text)
            .map_err(|error| format!("read {}: {error}", path.display()))?;
        let pid = entry["pid"].as_i64().and_then(|pid| pid.try_into().ok());
        let process = pid
            .and_then(Process::look)
            .ok_or_else(|| format!("{role:?} does not run ({text})"))?;
        if entry["start_time"] == process.start_time {
            Ok(process)
        } else {
            Err(format!("{text} is another's id: {process:?}"))
        }
    }

    /// Kills a supervised process and waits until its successor runs.
    #[track_caller]
    pub fn kill9(&self, role: Role) -> Process {
        let before = self.process(role).unwrap_or_else(|error| panic!("{error}"));
        before.kill9();
        eventually(SOON, &format!("{role:?} is started again"), || {
            let now = self.process(role)?;
            if now == before {
                Err("the killed one still runs".to_owned())
            } else {
                Ok(now)
            }
        })
    }

    /// Takes the cluster down, and checks that nothing of it is left.
    ///
    /// # Panics
    /// When `sealane down` fails or leaves something.
    #[track_caller]
    pub fn down(self) {
        self.take_down();
        // What Drop would do again is done.
        let Self { .. } = self;
    }

    #[track_caller]
    fn take_down(&self) {
        binary::sealane(["down", "--name", self.name()]).ok();
        let left = Leftovers::snapshot().naming(self.name());
        assert!(
            left.is_empty(),
            "`sealane down` left of cluster {}:\n{}",
            self.name(),
            left.join("\n")
        );
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return self.take_down();
        }
        report::print(self);
        if std::env::var_os("SEALANE_KEEP").is_none() {
            eprintln!("{}", binary::sealane(["down", "--name", self.name()]));
        }
    }
}

/// The shim of the pod with that UID.
fn shim_of(uid: &str) -> Option<Process> {
    let is_shim =
        |process: &Process| process.command.contains(" shim ") && process.command.contains(uid);
    Process::all().into_iter().find(is_shim)
}

/// Takes down the clusters of test runs that were killed before they could.
///
/// Their names carry the process id of the run (see [`unique`]), so those of runs that live are left alone.
fn sweep() {
    let folders = ["/run/sealane", "/var/lib/sealane"];
    let entries = folders
        .into_iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .flatten();
    for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
        if test_process_of(&name).is_some_and(|pid| Process::look(pid).is_none()) {
            eprintln!("taking down {name}, which a killed test run has left");
            eprintln!("{}", binary::sealane(["down", "--name", &name]));
        }
    }
}

fn test_process_of(name: &str) -> Option<i32> {
    let (pid, counter) = name.strip_prefix('t')?.split_once('-')?;
    counter.parse::<u32>().ok()?;
    pid.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_which_test_run_made_them() {
        assert_eq!(test_process_of("t123-4"), Some(123));
        for foreign in ["sealane", "t123", "t-1", "test-1", "t1-node"] {
            assert_eq!(test_process_of(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn no_test_cluster_reaches_the_internet() {
        let options = UpOptions::default().flag("--cluster-cidr", "10.9.0.0/16");
        let line = options.arguments().join(" ");
        assert!(
            line.ends_with("--nodes 2 --no-internet --cluster-cidr 10.9.0.0/16"),
            "{line}"
        );
    }
}
