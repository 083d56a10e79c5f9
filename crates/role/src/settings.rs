//! Settings that are no flags.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::de::DeserializeOwned;

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("read config file {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not YAML, or says what is not known.
    #[error("read config file {}", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Where, and what.
        source: serde_yaml_ng::Error,
    },
    /// Neither a flag nor the environment nor the kernel names this node.
    #[error("find this node's name: give --node-name NAME or set NODE_NAME")]
    NoNodeName,
}

/// What a YAML file says, which may be empty.
///
/// # Errors
/// [`SettingsError::Read`], [`SettingsError::Parse`].
pub fn read_settings<T: DeserializeOwned + Default>(path: &Path) -> Result<T, SettingsError> {
    let text = fs::read_to_string(path).map_err(|source| SettingsError::Read {
        path: path.to_owned(),
        source,
    })?;
    // An empty document is null, not an empty mapping.
    let said: Option<T> =
        serde_yaml_ng::from_str(&text).map_err(|source| SettingsError::Parse {
            path: path.to_owned(),
            source,
        })?;
    Ok(said.unwrap_or_default())
}

/// The name of this node's Node object: the one that was given, else `NODE_NAME`, else the host's.
///
/// # Errors
/// [`SettingsError::NoNodeName`].
pub fn node_name(given: Option<String>) -> Result<String, SettingsError> {
    let name = given
        .or_else(|| std::env::var("NODE_NAME").ok())
        .or_else(|| nix::unistd::gethostname().ok()?.into_string().ok())
        .filter(|name| !name.is_empty());
    // The name of a Node is a DNS name, so lower case, whatever the host is called.
    name.map(|name| name.to_lowercase())
        .ok_or(SettingsError::NoNodeName)
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Said {
        port: Option<u16>,
    }

    fn read(text: &str) -> Result<Said, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("role.yaml");
        fs::write(&path, text).unwrap();
        read_settings(&path).map_err(shown)
    }

    /// As the binary prints it.
    fn shown(error: SettingsError) -> String {
        let cause = error.source().map(|cause| format!(": {cause}"));
        error.to_string() + &cause.unwrap_or_default()
    }

    #[test]
    fn a_file_says_something_or_nothing_and_what_is_unknown_is_named() {
        assert_eq!(read("port: 53\n"), Ok(Said { port: Some(53) }));
        assert_eq!(read("# nothing\n"), Ok(Said::default()));
        let error = read("ports: 53\n").unwrap_err();
        assert!(
            error.contains("role.yaml: unknown field `ports`"),
            "{error}"
        );
        let none = read_settings::<Said>(Path::new("/nowhere.yaml")).unwrap_err();
        assert_eq!(
            shown(none),
            "read config file /nowhere.yaml: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn a_nodes_name_is_in_small_letters() {
        assert_eq!(node_name(Some("Node-1".into())).unwrap(), "node-1");
        assert!(node_name(Some(String::new())).is_err());
    }
}
