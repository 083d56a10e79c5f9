//! A single-machine cluster, made, used and removed through the `sealane` binary and `kubectl`.

mod holdings;
mod pods;
mod role;
mod sweep;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

pub use holdings::Holdings;
pub use role::Role;

use crate::api::Api;
use crate::binary;
use crate::command::{Finished, finish, finish_with_input};
use crate::kubectl;
use crate::leftovers::Leftovers;
use crate::machine::Machine;
use crate::namespace::Namespace;
use crate::report;
use crate::topology::unique;

/// What `sealane up` is asked for. Anything left out takes the product's default.
#[derive(Debug, Clone)]
pub struct UpOptions {
    /// The cluster's name; by default one that nobody else uses.
    pub name: String,
    /// How many nodes.
    pub nodes: u32,
    /// Whether its pods get out: for tests that have entered a network namespace of their own alone.
    pub internet: bool,
    /// Further flags, such as `["--cluster-cidr", "10.9.0.0/24"]`.
    pub flags: Vec<String>,
}

impl Default for UpOptions {
    fn default() -> Self {
        Self {
            name: unique(),
            nodes: 2,
            internet: false,
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

    /// The arguments of `sealane` that bring this cluster up, with no way to the internet unless asked for.
    pub fn arguments(&self) -> Vec<String> {
        let nodes = self.nodes.to_string();
        let fixed = ["up", "--name", &self.name, "--nodes", &nodes];
        let confined = (!self.internet).then_some("--no-internet");
        fixed
            .into_iter()
            .chain(confined)
            .map(str::to_owned)
            .chain(self.flags.iter().cloned())
            .collect()
    }
}

/// A cluster that runs until it is dropped.
#[derive(Debug)]
pub struct Cluster {
    options: UpOptions,
    api: OnceLock<Api>,
    is_down: bool,
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
        binary::sealane(cluster.options.arguments()).succeeds();
        cluster
    }

    /// The place of a cluster that the test itself will bring up: dropped, it is taken down.
    #[track_caller]
    pub fn claim(options: UpOptions) -> Self {
        assert!(
            !options.internet || Namespace::own() != Namespace::of_process("the test", pid()),
            "a cluster of a test reaches the internet from no namespace but the test's own"
        );
        let machine = Machine::with_others();
        sweep::sweep();
        Self {
            options,
            api: OnceLock::new(),
            is_down: false,
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
        let link = self.run_dir().join("state");
        std::fs::read_link(link).unwrap_or_else(|_| Path::new("/var/lib/sealane").join(self.name()))
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
        // The default since 1.31.
        command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "true");
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
        let of_family = |flag| {
            let args = [flag, "-json", "route", "show", "default"];
            let routes = self.node(1).run("ip", args).json();
            routes[0]["gateway"].as_str()?.parse().ok()
        };
        // The preferred family's.
        let families = match self.node_ip(1) {
            IpAddr::V4(_) => "-4",
            IpAddr::V6(_) => "-6",
        };
        of_family(families).unwrap_or_else(|| panic!("node-1 has no default route"))
    }

    /// Takes the cluster down, and checks that nothing of it is left.
    ///
    /// # Panics
    /// When `sealane down` fails or leaves something.
    #[track_caller]
    pub fn down(mut self) {
        self.is_down = true;
        self.take_down();
    }

    #[track_caller]
    fn take_down(&self) {
        binary::sealane(["down", "--name", self.name()]).succeeds();
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
            if !self.is_down {
                self.take_down();
            }
            return;
        }
        report::print(self);
        if std::env::var_os("SEALANE_KEEP").is_none() {
            eprintln!("{}", binary::sealane(["down", "--name", self.name()]));
        }
    }
}

fn pid() -> i32 {
    std::process::id().cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

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
