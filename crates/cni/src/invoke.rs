//! What a container runtime does with CNI plugins, CNI spec 1.1.0 §3.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sealane_cni::invoke::{Attachment, Runtime, load_conflist};
//!
//! let runtime = Runtime {
//!     bin_dirs: vec!["/opt/cni/bin".into()],
//!     cache_dir: "/var/lib/sealane/sealane/nodes/node-1/cni/cache".into(),
//! };
//! let network = load_conflist("/etc/cni/net.d".as_ref())?;
//! let attachment = Attachment {
//!     container_id: "0123".into(),
//!     netns: Some("/proc/4711/ns/net".into()),
//!     ifname: "eth0".into(),
//!     args: vec![("K8S_POD_NAME".into(), "web-1".into())],
//!     ..Attachment::default()
//! };
//! let result = runtime.add(&network, &attachment).await?;
//! println!("{:?}", result.ips);
//! runtime.del(Some(&network), &attachment).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The last result of each attachment is kept in the cache folder, with the
//! configuration that made it: CHECK and DEL must be given both, also after
//! the runtime has restarted and the configuration on disk has changed.

mod cache;
mod execute;
mod network;

use std::path::PathBuf;

use serde_json::{Map, Value, json};

pub use cache::Cached;
pub use execute::ExecuteError;
pub use network::{LoadError, NetworkConf, PluginEntry, load_conflist};

use crate::types::{AddResult, CniError, Command, ValidAttachment, Version};

/// Where plugins are and where results are kept.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// Folders in which plugins are looked up, in this order.
    pub bin_dirs: Vec<PathBuf>,
    /// Folder for results, made when needed; must outlive the runtime's process.
    pub cache_dir: PathBuf,
}

/// One interface of one container, CNI spec 1.1.0 §3 Attachment Parameters.
#[derive(Clone, Debug, Default)]
pub struct Attachment {
    /// Unique for each sandbox: a pod that gets a new sandbox gets a new one.
    pub container_id: String,
    /// Path of the network namespace; may be absent for DEL.
    pub netns: Option<PathBuf>,
    /// Name of the interface in the container.
    pub ifname: String,
    /// `CNI_ARGS`, in this order.
    pub args: Vec<(String, String)>,
    /// Capability arguments such as `portMappings`; each plugin gets those that it declares.
    pub capabilities: Map<String, Value>,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// A plugin could not be run, or said no.
    #[error("{command} of container {container_id} on network {network}: {source}")]
    Plugin {
        command: Command,
        container_id: String,
        network: String,
        source: Box<ExecuteError>,
    },
    /// The result could not be kept or read back.
    #[error("{verb} result of container {container_id} in {path}: {source}", path = path.display())]
    Cache {
        verb: &'static str,
        container_id: String,
        path: PathBuf,
        source: std::io::Error,
    },
    /// A container id or interface name that would leave the cache folder.
    #[error("attach container {container_id:?}: not a valid container id or interface name")]
    InvalidAttachment { container_id: String },
}

impl InvokeError {
    /// The error object of the plugin, where the plugin itself said no.
    pub fn plugin_error(&self) -> Option<&CniError> {
        match self {
            InvokeError::Plugin { source, .. } => source.refusal(),
            _ => None,
        }
    }
}

impl Runtime {
    /// ADD with each plugin of the chain; the result of the last one is kept and returned.
    ///
    /// After a failure the chain is taken down again, as the specification
    /// asks, so the caller may simply try again later.
    ///
    /// # Errors
    /// [`InvokeError::Plugin`] with the plugin's own message.
    pub async fn add(
        &self,
        network: &NetworkConf,
        attachment: &Attachment,
    ) -> Result<AddResult, InvokeError> {
        cache::check_names(attachment)?;
        match self.add_chain(network, attachment).await {
            Ok(result) => Ok(result),
            Err(error) => {
                // What DEL reports after a failed ADD only repeats the cause.
                let _ = self.del_chain(network, attachment, None).await;
                let _ = cache::remove(&self.cache_dir, network.name(), attachment);
                Err(error)
            }
        }
    }

    async fn add_chain(
        &self,
        network: &NetworkConf,
        attachment: &Attachment,
    ) -> Result<AddResult, InvokeError> {
        let mut previous: Option<Value> = None;
        for plugin in network.plugins() {
            let stdin = plugin.request(network, attachment, previous.as_ref());
            let printed = self
                .execute(Command::Add, network, Some(attachment), plugin, &stdin)
                .await?;
            previous = Some(printed);
        }
        let printed = previous.unwrap_or_else(|| AddResult::default().to_value(network.version()));
        let result = serde_json::from_value(printed.clone()).map_err(|e| InvokeError::Plugin {
            command: Command::Add,
            container_id: attachment.container_id.clone(),
            network: network.name().to_owned(),
            source: Box::new(ExecuteError::garbled(
                network,
                &printed.to_string(),
                &e.to_string(),
            )),
        })?;
        cache::store(&self.cache_dir, network, attachment, &printed)?;
        Ok(result)
    }

    /// DEL with each plugin of the chain in reverse order; the kept result is then removed.
    ///
    /// Uses the configuration that ADD was done with where it was kept, else
    /// `network`. Success when nothing is known of the attachment.
    ///
    /// # Errors
    /// The first plugin that fails ends it; the caller tries again later.
    pub async fn del(
        &self,
        network: Option<&NetworkConf>,
        attachment: &Attachment,
    ) -> Result<(), InvokeError> {
        cache::check_names(attachment)?;
        let kept = cache::find(&self.cache_dir, network.map(NetworkConf::name), attachment)?;
        let previous = kept.as_ref().map(|kept| &kept.result);
        let Some(network) = kept.as_ref().map(|kept| &kept.network).or(network) else {
            return Ok(());
        };
        self.del_chain(network, attachment, previous).await?;
        cache::remove(&self.cache_dir, network.name(), attachment)
    }

    async fn del_chain(
        &self,
        network: &NetworkConf,
        attachment: &Attachment,
        previous: Option<&Value>,
    ) -> Result<(), InvokeError> {
        // prevResult exists in DEL since 0.4.0.
        let previous = previous.filter(|_| network.version() >= Version::V0_4_0);
        for plugin in network.plugins().iter().rev() {
            let stdin = plugin.request(network, attachment, previous);
            self.execute(Command::Del, network, Some(attachment), plugin, &stdin)
                .await?;
        }
        Ok(())
    }

    /// CHECK with each plugin of the chain, against the kept result.
    ///
    /// # Errors
    /// The first plugin that finds a fault.
    pub async fn check(
        &self,
        network: &NetworkConf,
        attachment: &Attachment,
    ) -> Result<(), InvokeError> {
        cache::check_names(attachment)?;
        let kept = cache::find(&self.cache_dir, Some(network.name()), attachment)?;
        let network = kept.as_ref().map_or(network, |kept| &kept.network);
        if network.disable_check() || network.version() < Version::V0_4_0 {
            return Ok(());
        }
        for plugin in network.plugins() {
            let stdin = plugin.request(network, attachment, kept.as_ref().map(|kept| &kept.result));
            self.execute(Command::Check, network, Some(attachment), plugin, &stdin)
                .await?;
        }
        Ok(())
    }

    /// STATUS of each plugin of the chain; success before 1.1.0, which has no STATUS.
    ///
    /// # Errors
    /// The first plugin that is not ready, with its reason.
    pub async fn status(&self, network: &NetworkConf) -> Result<(), InvokeError> {
        if network.version() < Version::V1_1_0 {
            return Ok(());
        }
        for plugin in network.plugins() {
            let stdin = plugin.bare_request(network);
            self.execute(Command::Status, network, None, plugin, &stdin)
                .await?;
        }
        Ok(())
    }

    /// GC, CNI spec 1.1.0 §3: a DEL for each kept attachment of the network that
    /// is not in `valid`, then, since 1.1.0, GC of each plugin of the chain.
    ///
    /// # Errors
    /// The first plugin that fails, when all were tried.
    pub async fn gc(
        &self,
        network: &NetworkConf,
        valid: &[ValidAttachment],
    ) -> Result<(), InvokeError> {
        let mut result = Ok(());
        for kept in self.cached()? {
            let is_valid = valid
                .iter()
                .any(|v| v.container_id == kept.container_id && v.ifname == kept.ifname);
            if kept.network.name() != network.name() || is_valid {
                continue;
            }
            let attachment = Attachment {
                container_id: kept.container_id,
                ifname: kept.ifname,
                ..Attachment::default()
            };
            result = result.and(self.del(Some(&kept.network), &attachment).await);
        }
        if network.version() < Version::V1_1_0 {
            return result;
        }
        for plugin in network.plugins() {
            let mut stdin = plugin.bare_request(network);
            stdin["cni.dev/valid-attachments"] = json!(valid);
            let collected = self
                .execute(Command::Gc, network, None, plugin, &stdin)
                .await;
            result = result.and(collected.map(drop));
        }
        result
    }

    /// The kept attachments of all networks, also those of a runtime that ran before.
    ///
    /// # Errors
    /// The cache folder exists and cannot be read. A torn file is left out.
    pub fn cached(&self) -> Result<Vec<Cached>, InvokeError> {
        cache::list(&self.cache_dir)
    }

    /// Removes what a runtime that was killed has left half written. Only while no ADD is under way.
    ///
    /// # Errors
    /// The cache folder exists and cannot be read, or a file cannot be removed.
    pub fn remove_unfinished(&self) -> Result<(), InvokeError> {
        cache::remove_unfinished(&self.cache_dir)
    }

    async fn execute(
        &self,
        command: Command,
        network: &NetworkConf,
        attachment: Option<&Attachment>,
        plugin: &PluginEntry,
        stdin: &Value,
    ) -> Result<Value, InvokeError> {
        execute::run(&self.bin_dirs, command, attachment, plugin.kind(), stdin)
            .await
            .map_err(|source| InvokeError::Plugin {
                command,
                container_id: attachment
                    .map(|a| a.container_id.clone())
                    .unwrap_or_default(),
                network: network.name().to_owned(),
                source: Box::new(source),
            })
    }
}
