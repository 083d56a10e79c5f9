//! Pods as tests write them.

use serde_json::{Value, json};

/// The built-in image: a server for HTTP, TCP and UDP on 8080, and its clients.
pub const ECHO: &str = "sealane.io/echo";

/// The image that is this machine's root file system without its secrets.
pub const HOST: &str = "sealane.io/host";

/// The status of a container in a pod as the API shows it.
pub fn container_status<'a>(pod: &'a Value, name: &str) -> Option<&'a Value> {
    let statuses = pod["status"]["containerStatuses"].as_array()?;
    statuses.iter().find(|status| status["name"] == name)
}

/// A container to be.
#[derive(Debug, Clone)]
pub struct Container(Value);

impl Container {
    /// The echo server, on port 8080.
    pub fn echo(name: &str) -> Self {
        Self(json!({"name": name, "image": ECHO}))
    }

    /// A command with the programs of this machine.
    pub fn host<const N: usize>(name: &str, command: [&str; N]) -> Self {
        Self(json!({"name": name, "image": HOST, "command": command.to_vec()}))
    }

    /// A shell script with the programs of this machine.
    pub fn shell(name: &str, script: &str) -> Self {
        Self::host(name, ["sh", "-c", script])
    }

    /// Sets one field of the container.
    #[must_use]
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.0[field] = value;
        self
    }
}

/// A pod to be.
#[derive(Debug, Clone)]
pub struct Pod {
    name: String,
    manifest: Value,
}

impl Pod {
    /// A pod of the given containers.
    pub fn of(name: &str, containers: impl IntoIterator<Item = Container>) -> Self {
        let containers: Vec<Value> = containers
            .into_iter()
            .map(|container| container.0)
            .collect();
        let manifest = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"containers": containers, "terminationGracePeriodSeconds": 1},
        });
        Self {
            name: name.to_owned(),
            manifest,
        }
    }

    /// A pod that runs the echo server.
    pub fn echo(name: &str) -> Self {
        Self::of(name, [Container::echo("echo")])
    }

    /// A pod that runs a shell script.
    pub fn shell(name: &str, script: &str) -> Self {
        Self::of(name, [Container::shell("main", script)])
    }

    /// A pod that does nothing until it is deleted, with the programs of this machine at hand.
    pub fn idle(name: &str) -> Self {
        Self::of(name, [Container::host("main", ["sleep", "infinity"])])
    }

    /// Asks for a node by its label, as a manifest of a user would.
    #[must_use]
    pub fn on_node(self, number: u32) -> Self {
        self.with(
            "nodeSelector",
            json!({"kubernetes.io/hostname": format!("node-{number}")}),
        )
    }

    /// Sets the restart policy: Always (the default), OnFailure or Never.
    #[must_use]
    pub fn restart(self, policy: &str) -> Self {
        self.with("restartPolicy", json!(policy))
    }

    /// Sets one field of the pod's spec.
    #[must_use]
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.manifest["spec"][field] = value;
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.manifest["metadata"]["labels"][key] = json!(value);
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is sent to the API server.
    pub fn manifest(&self) -> &Value {
        &self.manifest
    }
}
