//! A CNI plugin called as a container runtime does: executable, environment, configuration on
//! standard input, result on standard output (CNI specification 1.1, §2 and §3).
//!
//! Written out here, and not taken from our own runtime's side, so that a plugin and a runtime
//! which share a mistake do not agree with each other in tests.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::command::{Finished, finish_with_input};
use crate::deadline::{LATER, eventually};
use crate::namespace::Namespace;

/// A plugin and its configuration.
#[derive(Debug)]
pub struct Plugin {
    /// The executable.
    pub program: PathBuf,
    /// Where further plugins that it calls are found.
    pub folder: PathBuf,
    /// The configuration of this plugin, with the network's name and version.
    pub network: Value,
    /// The namespace to run it in; by default the test's own.
    pub node: Option<Namespace>,
}

impl Plugin {
    /// The first plugin of the conflist that an agent installs once it is ready.
    ///
    /// # Panics
    /// When none appears in time, or it is no conflist.
    #[track_caller]
    pub fn installed(bin: &Path, conf: &Path) -> Self {
        let path = conf.join("10-sealane.conflist");
        let text = eventually(LATER, "the agent has installed its conflist", || {
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
        });
        let list: Value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("read {}: {error}\n{text}", path.display()));
        let mut network = list["plugins"][0].clone();
        network["name"] = list["name"].clone();
        network["cniVersion"] = list["cniVersion"].clone();
        let program = bin.join(network["type"].as_str().unwrap_or_default());
        Self {
            program,
            folder: bin.to_owned(),
            network,
            node: None,
        }
    }

    /// Calls it for `eth0` of a container whose namespace has a name; `previous` is the result of ADD.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn call(
        &self,
        command: &str,
        container: &str,
        netns: &str,
        previous: Option<&Value>,
    ) -> Finished {
        let mut network = self.network.clone();
        if let Some(previous) = previous {
            network["prevResult"] = previous.clone();
        }
        let program = self.program.to_string_lossy();
        let mut plugin = match &self.node {
            Some(node) => node.command(&program),
            None => Command::new(&*program),
        };
        let pod = format!(
            "K8S_POD_NAMESPACE=default;K8S_POD_NAME={container};K8S_POD_INFRA_CONTAINER_ID={container}"
        );
        plugin
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", container)
            .env("CNI_NETNS", Path::new("/run/netns").join(netns))
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", &self.folder)
            .env("CNI_ARGS", format!("IgnoreUnknown=1;{pod}"));
        finish_with_input(plugin, &network.to_string())
    }
}

/// The first address in the result of an ADD.
///
/// # Errors
/// When it has none.
pub fn address(result: &Value) -> Result<IpAddr, String> {
    let text = result["ips"][0]["address"]
        .as_str()
        .ok_or_else(|| format!("no address in {result}"))?;
    let (ip, _length) = text
        .split_once('/')
        .ok_or_else(|| format!("no prefix length in {text}"))?;
    ip.parse().map_err(|_| format!("no address: {text}"))
}
