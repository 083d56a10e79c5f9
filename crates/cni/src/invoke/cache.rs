//! Kept results: one file for each attachment.
//!
//! A file is written beside and renamed, so that a crash leaves the old one or
//! the new one. It is not synced: after a crash of the machine the namespaces
//! are gone too, and DEL works without it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Attachment, InvokeError, NetworkConf};
use crate::types::is_valid_identifier;

/// What a file is called while it is written.
const UNFINISHED: &str = "tmp";

/// What is kept of a successful ADD.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cached {
    pub container_id: String,
    pub ifname: String,
    /// The configuration that ADD was done with.
    pub network: NetworkConf,
    /// The last plugin's result, as it was printed.
    pub result: Value,
}

/// Names become part of a file name, so they must not hold a path.
pub(super) fn check_names(attachment: &Attachment) -> Result<(), InvokeError> {
    let ifname_ok = !attachment.ifname.is_empty() && !attachment.ifname.contains(['/', '\0']);
    if is_valid_identifier(&attachment.container_id) && ifname_ok {
        return Ok(());
    }
    Err(InvokeError::InvalidAttachment {
        container_id: attachment.container_id.clone(),
    })
}

fn file(dir: &Path, network: &str, attachment: &Attachment) -> PathBuf {
    dir.join(format!(
        "{network}-{}-{}.json",
        attachment.container_id, attachment.ifname
    ))
}

fn failed<'a>(
    verb: &'static str,
    container_id: &'a str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> InvokeError + 'a {
    move |source| InvokeError::Cache {
        verb,
        container_id: container_id.to_owned(),
        path: path.to_owned(),
        source,
    }
}

pub(super) fn store(
    dir: &Path,
    network: &NetworkConf,
    attachment: &Attachment,
    result: &Value,
) -> Result<(), InvokeError> {
    let path = file(dir, network.name(), attachment);
    let kept = Cached {
        container_id: attachment.container_id.clone(),
        ifname: attachment.ifname.clone(),
        network: network.clone(),
        result: result.clone(),
    };
    let text = serde_json::to_vec(&kept).expect("a kept result has only text keys");
    let beside = path.with_extension(UNFINISHED);
    fs::create_dir_all(dir)
        .and_then(|()| fs::write(&beside, text))
        .and_then(|()| fs::rename(&beside, &path))
        .map_err(failed("keep", &attachment.container_id, &path))
}

/// The kept result of an attachment, of `network` or, when that is not known, of any.
pub(super) fn find(
    dir: &Path,
    network: Option<&str>,
    attachment: &Attachment,
) -> Result<Option<Cached>, InvokeError> {
    let is_it = |kept: &Cached| {
        kept.container_id == attachment.container_id && kept.ifname == attachment.ifname
    };
    if let Some(network) = network {
        let kept = read(&file(dir, network, attachment), &attachment.container_id)?;
        if kept.as_ref().is_some_and(is_it) {
            return Ok(kept);
        }
    }
    Ok(list(dir)?.into_iter().find(is_it))
}

/// A torn file counts as none: DEL works without it.
fn read(path: &Path, container_id: &str) -> Result<Option<Cached>, InvokeError> {
    match fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed("read", container_id, path)(e)),
    }
}

pub(super) fn list(dir: &Path) -> Result<Vec<Cached>, InvokeError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed("list", "", dir)(e)),
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed("list", "", dir))?.path();
        if path.extension().is_some_and(|e| e == "json") {
            all.extend(read(&path, "")?);
        }
    }
    Ok(all)
}

pub(super) fn remove(
    dir: &Path,
    network: &str,
    attachment: &Attachment,
) -> Result<(), InvokeError> {
    let path = file(dir, network, attachment);
    for path in [path.with_extension(UNFINISHED), path] {
        remove_file(&path).map_err(failed("remove", &attachment.container_id, &path))?;
    }
    Ok(())
}

/// Removes what a runtime was writing when it was killed.
pub(super) fn remove_unfinished(dir: &Path) -> Result<(), InvokeError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed("list", "", dir)(e)),
    };
    for entry in entries {
        let path = entry.map_err(failed("list", "", dir))?.path();
        if path.extension().is_some_and(|e| e == UNFINISHED) {
            remove_file(&path).map_err(failed("remove", "", &path))?;
        }
    }
    Ok(())
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_being_written_when_the_runtime_was_killed_goes() {
        let dir = tempfile::tempdir().unwrap();
        let left = |name: &str| fs::write(dir.path().join(name), "{").unwrap();
        let names = || {
            let entries = fs::read_dir(dir.path()).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.collect::<std::collections::BTreeSet<_>>()
        };
        for name in ["net-a-eth0.tmp", "net-a-eth0.json", "net-b-eth0.tmp"] {
            left(name);
        }
        let attachment = Attachment {
            container_id: "a".into(),
            ifname: "eth0".into(),
            ..Attachment::default()
        };
        remove(dir.path(), "net", &attachment).unwrap();
        assert_eq!(names(), ["net-b-eth0.tmp".to_owned()].into());

        left("net-c-eth0.json");
        remove_unfinished(dir.path()).unwrap();
        assert_eq!(names(), ["net-c-eth0.json".to_owned()].into());
        remove_unfinished(&dir.path().join("none")).unwrap();
    }
}
