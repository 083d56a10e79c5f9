//! The documents of an image: what its name stands for, down to the configuration.

use std::io::Read;

use ureq::Body;
use ureq::http::{Response, header};

use super::describe;
use crate::digest::{Digest, Hasher};
use crate::error::Error;
use crate::model::{
    DOCKER_LIST, DOCKER_MANIFEST, Descriptor, INDEX, Index, Kind, MANIFEST, Manifest,
};
use crate::platform::{self, Platform};
use crate::reference::Reference;
use crate::registry::{Fault, Session, Wanted};
use crate::store::{Ingest, SCHEMA_1, parse};

/// The largest manifest (OCI distribution spec: registries should accept 4 MiB).
const MAX_MANIFEST: u64 = 4 << 20;
const MAX_CONFIG: u64 = 8 << 20;
const DIGEST_HEADER: &str = "docker-content-digest";

/// What a name stands for.
pub(super) struct Top {
    pub(super) descriptor: Descriptor,
}

fn accept() -> String {
    [INDEX, MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].join(", ")
}

/// What the registry says that a name stands for, without the document. Not every registry says it.
pub(super) fn head(session: &Session, reference: &Reference) -> Result<Option<Top>, Fault> {
    let wanted = Wanted {
        path: &format!("manifests/{}", reference.selector()),
        accept: &accept(),
        from: 0,
        head: true,
    };
    let response = session.get(&wanted)?;
    let digest = stated(&response, DIGEST_HEADER).and_then(|text| text.parse().ok());
    Ok(digest.map(|digest| Top {
        descriptor: describe("", digest, 0),
    }))
}

/// Whether the registry would give the manifest; an error says what it said.
pub(super) fn probe(session: &Session, reference: &Reference) -> Result<(), Fault> {
    let wanted = Wanted {
        path: &format!("manifests/{}", reference.selector()),
        accept: &accept(),
        from: 0,
        head: false,
    };
    session.get(&wanted).map(drop)
}

/// Brings all documents of an image for this platform into the store.
pub(super) fn fetch(
    ingest: &Ingest,
    session: &Session,
    reference: &Reference,
) -> Result<Top, Fault> {
    let (top, bytes) = fetch_manifest(ingest, session, &reference.selector(), reference.digest())?;
    let here = Platform::here();
    let manifest = match Kind::of(&top.media_type, &bytes) {
        Some(Kind::Index) => {
            let index: Index = parse("index", &top.digest, &bytes)?;
            let chosen = here.choose(&index).ok_or_else(|| Error::Platform {
                wanted: here.clone(),
                offered: platform::offered(&index),
            })?;
            let digest = &chosen.digest;
            fetch_manifest(ingest, session, &digest.to_string(), Some(digest))?.1
        }
        Some(Kind::Schema1) => return Err(Error::content("manifest", &top.digest, SCHEMA_1).into()),
        Some(Kind::Manifest) => bytes,
        None => {
            let what = format!("what it calls a manifest is none ({})", top.media_type);
            return Err(Fault::Answer(what));
        }
    };
    let manifest: Manifest = parse("manifest", &top.digest, &manifest)?;
    if let Some(artifact) = manifest.artifact() {
        return Err(Fault::Answer(format!(
            "this is no container image but {artifact}"
        )));
    }
    fetch_config(ingest, session, &manifest.config)?;
    Ok(Top { descriptor: top })
}

fn fetch_manifest(
    ingest: &Ingest,
    session: &Session,
    selector: &str,
    expected: Option<&Digest>,
) -> Result<(Descriptor, Vec<u8>), Fault> {
    if let Some(digest) = expected
        && let Ok(bytes) = ingest.store().document("manifest", digest)
    {
        let size = bytes.len() as u64;
        return Ok((describe(&media_type(&bytes), digest.clone(), size), bytes));
    }
    let wanted = Wanted {
        path: &format!("manifests/{selector}"),
        accept: &accept(),
        from: 0,
        head: false,
    };
    let response = session.get(&wanted)?;
    let header_type = stated(&response, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    let claimed = stated(&response, DIGEST_HEADER).and_then(|text| text.parse::<Digest>().ok());
    let bytes = read(response, MAX_MANIFEST)?;
    let named = expected.or(claimed.as_ref());
    let digest = verify("manifest", &bytes, named)?;
    ingest.put_as(&bytes, &digest)?;
    let stated_type = media_type(&bytes);
    let media_type = if stated_type.is_empty() {
        header_type
    } else {
        stated_type
    };
    let size = bytes.len() as u64;
    Ok((describe(&media_type, digest, size), bytes))
}

fn fetch_config(ingest: &Ingest, session: &Session, config: &Descriptor) -> Result<(), Fault> {
    if ingest
        .store()
        .document("configuration", &config.digest)
        .is_ok()
    {
        return Ok(());
    }
    let wanted = Wanted {
        path: &format!("blobs/{}", config.digest),
        accept: "",
        from: 0,
        head: false,
    };
    let bytes = read(session.get(&wanted)?, MAX_CONFIG)?;
    let digest = verify("configuration", &bytes, Some(&config.digest))?;
    Ok(ingest.put_as(&bytes, &digest)?)
}

/// What a document says that it is.
fn media_type(bytes: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Stated {
        #[serde(default)]
        media_type: String,
    }
    serde_json::from_slice::<Stated>(bytes)
        .map(|stated| stated.media_type)
        .unwrap_or_default()
}

fn stated(response: &Response<Body>, header: &str) -> Option<String> {
    Some(response.headers().get(header)?.to_str().ok()?.to_owned())
}

fn read(response: Response<Body>, limit: u64) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let mut reader = response.into_body().into_reader().take(limit + 1);
    reader
        .read_to_end(&mut bytes)
        .map_err(|error| Fault::Transport(error.to_string()))?;
    if bytes.len() as u64 > limit {
        return Err(Fault::Answer(format!(
            "it sends a document of more than {limit} bytes"
        )));
    }
    Ok(bytes)
}

fn verify(what: &str, bytes: &[u8], expected: Option<&Digest>) -> Result<Digest, Fault> {
    let Some(expected) = expected else {
        return Ok(Digest::of(bytes));
    };
    let mut hasher = Hasher::new(expected.algorithm());
    hasher.update(bytes);
    let found = hasher.finish();
    if found != *expected {
        return Err(Fault::Answer(format!(
            "it sends a {what} with {found} where {expected} was asked for"
        )));
    }
    Ok(found)
}
