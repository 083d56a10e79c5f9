//! Network configurations on disk, CNI spec 1.1.0 §1.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Attachment;
use crate::types::{Version, is_valid_identifier};

/// A chain of plugins under one name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkConf {
    name: String,
    version: Version,
    disable_check: bool,
    plugins: Vec<PluginEntry>,
}

/// One plugin of a chain: all that the administrator wrote for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PluginEntry(Map<String, Value>);

/// Why there is no network configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The folder cannot be read.
    #[error("read CNI configuration folder {dir}: {source}", dir = dir.display())]
    Folder { dir: PathBuf, source: io::Error },
    /// The folder holds no configuration: on a new node the network's agent has yet to install it.
    #[error("no CNI configuration (*.conflist, *.conf, *.json) in {dir}: is the node's network agent running and ready?", dir = dir.display())]
    Empty { dir: PathBuf },
    /// Each candidate and what is wrong with it.
    #[error("no usable CNI configuration in {dir}: {reasons}", dir = dir.display(), reasons = reasons.join("; "))]
    Unusable { dir: PathBuf, reasons: Vec<String> },
}

/// Loads the first usable configuration of a folder, in the order of the file names.
///
/// As the runtimes do: `.conflist` holds a chain, `.conf` and `.json` a single
/// plugin or a chain; a file that cannot be used gives way to the next.
///
/// # Errors
/// [`LoadError::Empty`] while nobody has installed one.
pub fn load_conflist(dir: &Path) -> Result<NetworkConf, LoadError> {
    let folder = |source| LoadError::Folder {
        dir: dir.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(folder)? {
        let path = entry.map_err(folder)?.path();
        let extension = path.extension().and_then(|e| e.to_str());
        if matches!(extension, Some("conflist" | "conf" | "json")) {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(LoadError::Empty {
            dir: dir.to_owned(),
        });
    }
    let mut reasons = Vec::new();
    for path in files {
        match read(&path) {
            Ok(network) => return Ok(network),
            Err(reason) => reasons.push(format!("{}: {reason}", path.display())),
        }
    }
    Err(LoadError::Unusable {
        dir: dir.to_owned(),
        reasons,
    })
}

fn read(path: &Path) -> Result<NetworkConf, String> {
    let text = fs::read(path).map_err(|e| e.to_string())?;
    let value = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
    NetworkConf::parse(value)
}

impl NetworkConf {
    /// Reads a chain, or a single plugin as a chain of one.
    ///
    /// # Errors
    /// What is missing or invalid, in one phrase.
    pub fn parse(value: Value) -> Result<Self, String> {
        let Value::Object(mut map) = value else {
            return Err("expected a JSON object".into());
        };
        let version = highest_version(&map)?;
        let name = match map.get("name").and_then(Value::as_str) {
            Some(name) if is_valid_identifier(name) => name.to_owned(),
            Some(name) => return Err(format!("name {name:?} is not valid")),
            None => return Err("name is missing".into()),
        };
        let disable_check = map
            .get("disableCheck")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        let plugins = match map.remove("plugins") {
            None => vec![Value::Object(map)],
            Some(Value::Array(plugins)) if !plugins.is_empty() => plugins,
            Some(_) => return Err("plugins is not a list of at least one plugin".into()),
        };
        Ok(Self {
            name,
            version,
            disable_check,
            plugins: plugins
                .into_iter()
                .map(PluginEntry::parse)
                .collect::<Result<_, _>>()?,
        })
    }

    /// The network's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version in which plugins are called: the highest that the configuration and we support.
    pub fn version(&self) -> Version {
        self.version
    }

    /// `disableCheck`: CHECK must not be called.
    pub fn disable_check(&self) -> bool {
        self.disable_check
    }

    /// The chain, in the order of ADD.
    pub fn plugins(&self) -> &[PluginEntry] {
        &self.plugins
    }
}

fn highest_version(map: &Map<String, Value>) -> Result<Version, String> {
    let listed = map.get("cniVersions").and_then(Value::as_array);
    let all: Vec<&str> = map
        .get("cniVersion")
        .into_iter()
        .chain(listed.into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    let supported = all.iter().filter_map(|text| text.parse().ok()).max();
    supported.ok_or_else(|| match all.first() {
        None => "cniVersion is missing".to_owned(),
        Some(text) => match text.parse::<Version>() {
            Err(unsupported) => unsupported.to_string(),
            Ok(version) => format!("cniVersion {version}"),
        },
    })
}

impl PluginEntry {
    fn parse(value: Value) -> Result<Self, String> {
        let Value::Object(map) = value else {
            return Err("a plugin is not a JSON object".into());
        };
        match map.get("type").and_then(Value::as_str) {
            // A path here would run any program of the machine.
            Some(kind) if is_valid_identifier(kind) => Ok(Self(map)),
            Some(kind) => Err(format!("type {kind:?} is not the name of a plugin")),
            None => Err("type of a plugin is missing".into()),
        }
    }

    /// The file name of the executable.
    pub fn kind(&self) -> &str {
        self.0
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// What the plugin reads in STATUS, CNI spec 1.1.0 §3 Deriving request configuration.
    pub(super) fn bare_request(&self, network: &NetworkConf) -> Value {
        let mut request = self.0.clone();
        request.remove("capabilities");
        request.insert("cniVersion".into(), json!(network.version));
        request.insert("name".into(), json!(network.name));
        Value::Object(request)
    }

    /// What the plugin reads in ADD, CHECK and DEL.
    pub(super) fn request(
        &self,
        network: &NetworkConf,
        attachment: &Attachment,
        previous: Option<&Value>,
    ) -> Value {
        let mut request = self.bare_request(network);
        let runtime_config = self.wanted(&attachment.capabilities);
        if !runtime_config.is_empty() {
            request["runtimeConfig"] = Value::Object(runtime_config);
        }
        if let Some(previous) = previous {
            request["prevResult"] = previous.clone();
        }
        request
    }

    /// Of what the runtime offers, the part that this plugin declares.
    fn wanted(&self, offered: &Map<String, Value>) -> Map<String, Value> {
        let declares = |name: &str| {
            self.0
                .get("capabilities")
                .and_then(|c| c.get(name))
                .and_then(Value::as_bool)
                .unwrap_or(false)
        };
        offered
            .iter()
            .filter(|(name, _)| declares(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> NetworkConf {
        NetworkConf::parse(json!({
            "cniVersion": "0.4.0", "cniVersions": ["1.0.0", "9.0.0"], "name": "n",
            "plugins": [
                {"type": "sealane", "socket": "/run/a.sock"},
                {"type": "portmap", "capabilities": {"portMappings": true, "mac": false}}
            ]
        }))
        .unwrap()
    }

    #[test]
    fn takes_the_highest_version_that_both_know() {
        assert_eq!(chain().version(), Version::V1_0_0);
    }

    #[test]
    fn a_plugin_gets_its_own_keys_and_the_capabilities_it_declares() {
        let attachment = Attachment {
            capabilities: json!({"portMappings": [{"hostPort": 80}], "mac": "x", "ips": []})
                .as_object()
                .cloned()
                .unwrap(),
            ..Attachment::default()
        };
        let network = chain();
        assert_eq!(
            network.plugins()[0].request(&network, &attachment, None),
            json!({"type": "sealane", "socket": "/run/a.sock", "cniVersion": "1.0.0", "name": "n"})
        );
        let previous = json!({"cniVersion": "1.0.0"});
        assert_eq!(
            network.plugins()[1].request(&network, &attachment, Some(&previous)),
            json!({
                "type": "portmap", "cniVersion": "1.0.0", "name": "n",
                "runtimeConfig": {"portMappings": [{"hostPort": 80}]},
                "prevResult": {"cniVersion": "1.0.0"}
            })
        );
    }

    #[test]
    fn the_first_usable_file_wins_whatever_lies_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        assert!(matches!(
            load_conflist(dir.path()),
            Err(LoadError::Empty { .. })
        ));
        write("00-torn.conflist", "{");
        write("readme.txt", "{}");
        let reason = load_conflist(dir.path()).unwrap_err().to_string();
        assert!(reason.contains("00-torn.conflist"), "{reason}");
        write(
            "20-b.conf",
            r#"{"cniVersion":"1.1.0","name":"b","type":"bridge"}"#,
        );
        write(
            "10-a.conflist",
            r#"{"cniVersion":"1.1.0","name":"a","plugins":[{"type":"sealane"}]}"#,
        );
        assert_eq!(load_conflist(dir.path()).unwrap().name(), "a");
        fs::remove_file(dir.path().join("10-a.conflist")).unwrap();
        let single = load_conflist(dir.path()).unwrap();
        assert_eq!((single.name(), single.plugins()[0].kind()), ("b", "bridge"));
    }

    #[test]
    fn refuses_a_chain_that_could_run_anything_else() {
        for (conf, why) in [
            (
                json!({"cniVersion":"1.0.0","name":"a","plugins":[{"type":"../sh"}]}),
                "../sh",
            ),
            (
                json!({"cniVersion":"1.0.0","name":"a","plugins":[{}]}),
                "type",
            ),
            (
                json!({"cniVersion":"1.0.0","name":"a","plugins":[]}),
                "plugins",
            ),
            (
                json!({"cniVersion":"1.0.0","name":"a/b","plugins":[{"type":"a"}]}),
                "a/b",
            ),
            (
                json!({"cniVersion":"0.2.0","name":"a","plugins":[{"type":"a"}]}),
                "0.2.0",
            ),
            (json!({"name":"a","plugins":[{"type":"a"}]}), "cniVersion"),
        ] {
            let reason = NetworkConf::parse(conf).unwrap_err();
            assert!(reason.contains(why), "{reason}");
        }
    }
}
