//! An image from a registry into the store.
//!
//! ```text
//!   workers (3) ── next blob ──► ingest/ ──► blobs/      each resumed where it broke off
//!        │ done, in any order
//!        ▼
//!   this thread: unpacks the layers in order, while later ones are still coming
//! ```

mod blob;
mod manifest;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use crate::digest::Digest;
use crate::error::Error;
use crate::model::Descriptor;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registry::{Fault, Keyring, PullError, Registries, Session, endpoints};
use crate::store::{Image, Ingest, LayerPlan, Origin, Store, plan_layers};
use manifest::Top;

/// Blobs that are fetched at the same time, as Docker does.
const PARALLEL: usize = 3;

/// How to pull.
#[derive(Debug, Clone)]
pub struct Pull {
    /// What is said about registries.
    pub registries: Registries,
    /// Credentials.
    pub keyring: Keyring,
    /// The pause before a request is repeated for the first time.
    pub pause: Duration,
    /// How long a server may say nothing.
    pub silence: Duration,
}

impl Default for Pull {
    fn default() -> Self {
        Self {
            registries: Registries::default(),
            keyring: Keyring::default(),
            pause: Duration::from_millis(250),
            silence: Duration::from_secs(30),
        }
    }
}

/// How far a pull is, for each of its blobs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Which blob.
    pub digest: Digest,
    /// Bytes that are here.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Hears how far a pull is, from any of its threads.
pub type Listener<'a> = &'a (dyn Fn(Progress) + Sync);

impl Store {
    /// Pulls an image and gives it its name. What is here already is not fetched again.
    ///
    /// # Errors
    /// Each variant of [`PullError`]. What was fetched is kept for the next attempt.
    pub fn pull(
        &self,
        reference: &Reference,
        how: &Pull,
        listener: Listener<'_>,
    ) -> Result<Image, PullError> {
        let config = |cause| PullError::Config {
            reference: Box::new(reference.clone()),
            cause,
        };
        let mut last = None;
        for endpoint in endpoints(reference, &how.registries).map_err(config)? {
            let host = endpoint.host.clone();
            let session = Session::new(endpoint, reference.repository(), how);
            let (result, who) = match session {
                Ok(session) => {
                    let result = pull_from(self, &session, reference, listener);
                    (result, session.who())
                }
                Err(fault) => (Err(fault), String::new()),
            };
            match result {
                Ok(image) => return Ok(image),
                Err(fault) => {
                    let error = fault.about(reference, &host, &who);
                    if let Some(mirror) = last.replace(error) {
                        tracing::warn!("a mirror does not help: {mirror}");
                    }
                }
            }
        }
        Err(last.expect("there is one endpoint at least"))
    }
}

fn pull_from(
    store: &Store,
    session: &Session,
    reference: &Reference,
    listener: Listener<'_>,
) -> Result<Image, Fault> {
    if let Some(image) = unchanged(store, session, reference)? {
        return Ok(image);
    }
    if !store.dir().exists() {
        // No store is begun for an image that cannot be had.
        manifest::probe(session, reference)?;
    }
    let ingest = store.ingest()?;
    let top = manifest::fetch(&ingest, session, reference)?;
    let here = Platform::here();
    let documents = store.documents(&top.descriptor, &here)?;
    let offered = &documents.config;
    if offered.os != here.os || offered.architecture != here.architecture {
        return Err(Fault::Store(Error::Platform {
            wanted: here,
            offered: format!("{}/{}", offered.os, offered.architecture),
        }));
    }
    let layers = plan_layers(&documents)?;
    fetch_layers(&ingest, session, &layers, listener)?;
    let names = [reference.clone()];
    let mut images = ingest.name(&top.descriptor, &names, Origin::Pull)?;
    let mut image = images.pop().expect("one name has one image");
    image.reference = reference.clone();
    Ok(image)
}

/// The image that is here, if the registry still means the same by its name.
fn unchanged(
    store: &Store,
    session: &Session,
    reference: &Reference,
) -> Result<Option<Image>, Fault> {
    // A damaged one is pulled as if there were none.
    let Ok(Some(image)) = store.find(reference) else {
        return Ok(None);
    };
    if image.origin != Origin::Pull || !store.has_all_blobs(&image.manifest) {
        return Ok(None);
    }
    let Top { descriptor, .. } = match manifest::head(session, reference)? {
        Some(top) => top,
        None => return Ok(None),
    };
    Ok((descriptor.digest == image.digest).then_some(image))
}

/// What became of the blob of this number.
type Done = (usize, Result<(), Fault>);

fn fetch_layers(
    ingest: &Ingest,
    session: &Session,
    layers: &[LayerPlan],
    listener: Listener<'_>,
) -> Result<(), Fault> {
    let next = AtomicUsize::new(0);
    let (sender, done) = channel::<Done>();
    thread::scope(|scope| {
        for _ in 0..PARALLEL.min(layers.len()) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || work(ingest, session, layers, listener, next, &sender));
        }
        drop(sender);
        let mut here = vec![false; layers.len()];
        let mut unpacked = 0;
        while let Ok((number, result)) = done.recv() {
            if let Err(fault) = result.and_then(|()| {
                here[number] = true;
                let ready = here.iter().take_while(|here| **here).count();
                if ready > unpacked {
                    unpack(ingest, session, &layers[..ready], listener)?;
                    unpacked = ready;
                }
                Ok(())
            }) {
                // Others stop before their next blob.
                next.store(layers.len(), Ordering::Relaxed);
                return Err(fault);
            }
        }
        Ok(())
    })
}

fn work(
    ingest: &Ingest,
    session: &Session,
    layers: &[LayerPlan],
    listener: Listener<'_>,
    next: &AtomicUsize,
    sender: &Sender<Done>,
) {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some(layer) = layers.get(number) else {
            return;
        };
        let result = blob::fetch(ingest, session, &layer.blob, layer.size, listener);
        if sender.send((number, result)).is_err() {
            return;
        }
    }
}

/// Unpacks; a blob that was here and proves to be damaged is fetched once more.
fn unpack(
    ingest: &Ingest,
    session: &Session,
    layers: &[LayerPlan],
    listener: Listener<'_>,
) -> Result<(), Fault> {
    for _ in layers {
        match ingest.unpack(layers) {
            Err(Error::Content { digest, .. }) => {
                let damaged = layers.iter().find(|layer| layer.blob == digest);
                let size = damaged.map_or(0, |layer| layer.size);
                blob::fetch(ingest, session, &digest, size, listener)?;
            }
            result => return Ok(result.map(drop)?),
        }
    }
    Ok(ingest.unpack(layers).map(drop)?)
}

/// A descriptor of what a name stands for.
fn describe(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        platform: None,
        annotations: Default::default(),
    }
}
