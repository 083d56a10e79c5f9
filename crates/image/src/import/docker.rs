//! What `docker save` and `podman save` write: `manifest.json`, configurations and plain layers.
//!
//! Such an archive has no manifest in the sense of a registry, so one is made: an OCI manifest over
//! the very same configuration, whose digest stays the image's id.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::bag::Bag;
use super::{Candidate, blob_digest};
use crate::error::Error;
use crate::model::{CONFIG, Descriptor, MANIFEST, Manifest};
use crate::store::Ingest;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// An image of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

/// `repositories`: repository, tag, id of the uppermost layer.
type Repositories = BTreeMap<String, BTreeMap<String, String>>;

/// Whether it is such an archive.
pub(super) fn is_archive(bag: &Bag) -> bool {
    bag.document("manifest.json").is_some() || bag.document("repositories").is_some()
}

/// The images of the archive.
pub(super) fn candidates(bag: &Bag, ingest: &Ingest) -> Result<Vec<Candidate>, Error> {
    let bytes = bag.document("manifest.json").ok_or_else(|| {
        Error::Archive("it was written by a Docker of before 2016, without manifest.json: load it into a current one and save it anew".to_owned())
    })?;
    let saved: Vec<Saved> = serde_json::from_slice(bytes).map_err(|error| {
        Error::Archive(format!("its manifest.json cannot be understood: {error}"))
    })?;
    let repositories: Repositories = bag
        .document("repositories")
        .and_then(|bytes| serde_json::from_slice(bytes).ok())
        .unwrap_or_default();
    saved
        .into_iter()
        .map(|image| candidate(bag, ingest, image, &repositories))
        .collect()
}

fn candidate(
    bag: &Bag,
    ingest: &Ingest,
    saved: Saved,
    repositories: &Repositories,
) -> Result<Candidate, Error> {
    let config = config(bag, ingest, &saved.config)?;
    let layer = |path: &String| layer(bag, path);
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MANIFEST.to_owned()),
        config,
        layers: saved.layers.iter().map(layer).collect::<Result<_, _>>()?,
    };
    let bytes =
        serde_json::to_vec(&manifest).expect("a manifest has no map with other keys than texts");
    let names = saved.repo_tags.unwrap_or_default();
    Ok(Candidate {
        names: match names.is_empty() {
            true => legacy_names(repositories, &saved.layers),
            false => names,
        },
        top: descriptor(MANIFEST, ingest.put(&bytes)?, bytes.len() as u64),
    })
}

fn config(bag: &Bag, ingest: &Ingest, path: &str) -> Result<Descriptor, Error> {
    if let Some(bytes) = bag.document(path) {
        return Ok(descriptor(CONFIG, ingest.put(bytes)?, bytes.len() as u64));
    }
    match bag.blob(path) {
        Some((digest, size)) => Ok(descriptor(CONFIG, digest, size)),
        None => Err(Error::Archive(format!(
            "its manifest.json names {path:?}, which is missing"
        ))),
    }
}

fn layer(bag: &Bag, path: &str) -> Result<Descriptor, Error> {
    let found = bag.blob(path).or_else(|| Some((blob_digest(path)?, 0)));
    let (digest, size) = found.ok_or_else(|| {
        Error::Archive(format!(
            "its manifest.json names {path:?}, which is missing"
        ))
    })?;
    let media_type = if path.ends_with("gz") {
        LAYER_GZIP
    } else {
        LAYER
    };
    Ok(descriptor(media_type, digest, size))
}

fn descriptor(media_type: &str, digest: crate::digest::Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        platform: None,
        annotations: BTreeMap::new(),
    }
}

/// Names by the directory of the uppermost layer: `ID/layer.tar`.
fn legacy_names(repositories: &Repositories, layers: &[String]) -> Vec<String> {
    let Some((top, _)) = layers.last().and_then(|path| path.split_once('/')) else {
        return Vec::new();
    };
    let all = repositories
        .iter()
        .flat_map(|(name, tags)| tags.iter().map(move |(tag, id)| (name, tag, id)));
    all.filter(|(_, _, id)| *id == top)
        .map(|(name, tag, _)| format!("{name}:{tag}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_archives_name_the_uppermost_layer() {
        let repositories: Repositories =
            serde_json::from_str(r#"{"a/b":{"1":"top","2":"other"},"c":{"latest":"top"}}"#)
                .unwrap();
        let layers = ["base/layer.tar".to_owned(), "top/layer.tar".to_owned()];
        assert_eq!(legacy_names(&repositories, &layers), ["a/b:1", "c:latest"]);
        assert!(legacy_names(&repositories, &[]).is_empty());
    }
}
