//! OCI layouts: `index.json` names what there is (OCI image spec, image layout).

use std::collections::BTreeMap;

use super::Candidate;
use super::bag::Bag;
use crate::error::Error;
use crate::model::{Descriptor, Index};
use crate::platform::{self, Platform};

/// A whole name, as containerd, Docker and buildx write it.
const FULL_NAME: &str = "io.containerd.image.name";
/// A whole name or only a tag, as the layout's author likes it.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The images of a layout; `None` when it is none.
pub(super) fn candidates(bag: &Bag) -> Result<Option<Vec<Candidate>>, Error> {
    let Some(bytes) = bag.document("index.json") else {
        return Ok(None);
    };
    let index: Index = serde_json::from_slice(bytes)
        .map_err(|error| Error::Archive(format!("its index.json cannot be understood: {error}")))?;
    if index.manifests.is_empty() {
        return Err(Error::Archive("its index.json lists no image".to_owned()));
    }
    let mut by_name: BTreeMap<Option<String>, Vec<Descriptor>> = BTreeMap::new();
    for descriptor in index.manifests {
        by_name
            .entry(name(&descriptor))
            .or_default()
            .push(descriptor);
    }
    if by_name.len() > 1 {
        // Attestations and the like lie beside the images that have names.
        by_name.remove(&None);
    }
    let chosen = by_name
        .into_iter()
        .map(|(name, descriptors)| Ok((name, choose(descriptors)?)));
    let mut candidates: Vec<Candidate> = Vec::new();
    for chosen in chosen.collect::<Result<Vec<_>, Error>>()? {
        let (name, tops) = chosen;
        for top in tops {
            match candidates
                .iter_mut()
                .find(|other| other.top.digest == top.digest)
            {
                Some(same) => same.names.extend(name.clone()),
                None => candidates.push(Candidate {
                    names: name.clone().into_iter().collect(),
                    top,
                }),
            }
        }
    }
    Ok(Some(candidates))
}

fn name(descriptor: &Descriptor) -> Option<String> {
    let annotation = |key| descriptor.annotations.get(key).cloned();
    annotation(FULL_NAME).or_else(|| annotation(REF_NAME))
}

/// Several of one name are that image for several platforms; several without a name may be anything.
fn choose(descriptors: Vec<Descriptor>) -> Result<Vec<Descriptor>, Error> {
    let index = Index {
        manifests: descriptors,
        ..Index::default()
    };
    let all_stated = index
        .manifests
        .iter()
        .all(|descriptor| descriptor.platform.is_some());
    if index.manifests.len() == 1 || !all_stated {
        return Ok(index.manifests);
    }
    let here = Platform::here();
    match here.choose(&index) {
        Some(chosen) => Ok(vec![chosen.clone()]),
        None => Err(Error::Platform {
            offered: platform::offered(&index),
            wanted: here,
        }),
    }
}
