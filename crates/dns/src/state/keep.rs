//! The task that writes what is known, again and again.

use std::io::{self, BufWriter, Write as _};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use sealane_zone::{Clients, Zone};

use super::Folder;
use super::file::Writer;
use crate::configure::{Configuration, Texts};

/// How old what is on disk may be, in a cluster that is not large.
const SHORTEST: Duration = Duration::from_secs(2);
/// How much longer it is left alone than it takes to write.
const PAUSES: u32 = 25;
/// What a disk has to take from a cluster that never rests, some eight gigabytes a day: each node writes all of it
/// again, whatever has changed.
const BYTES_EACH_SECOND: u64 = 100_000;
/// Objects that are read while changes wait: some ten microseconds.
const PORTION: usize = 64;
/// After each portion the processor is somebody else's for so many times as long as it took, since a change and its
/// answer would wait for a thread that has been at work for milliseconds. A lower priority would be worse:
/// who holds the lock of the zone must not have to wait for a processor.
const LEISURE: u32 = 3;

/// Where what is known can be read.
pub struct Knowledge {
    /// The cluster's names.
    pub zone: Arc<RwLock<Zone>>,
    /// The pods of this node.
    pub clients: Arc<RwLock<Clients>>,
    /// The Corefile.
    pub configuration: Configuration,
}

/// Writes what is known into `folder`, now and after changes, until it is dropped. A change after a quiet time is written
/// at once; how soon the next one is depends on how much that was.
///
/// Only what has been told by the API server should be known: a part of it would deny the rest.
pub async fn keep(folder: Folder, knowledge: &Knowledge) {
    let folder = Arc::new(folder);
    let mut written = None;
    let mut complained = false;
    loop {
        let mut pause = SHORTEST;
        let texts = knowledge.configuration.texts();
        let version = (knowledge.version(), texts);
        if written.as_ref() != Some(&version) {
            let begun = Instant::now();
            let work = work(Arc::clone(&folder), knowledge, version.1.clone());
            let done = tokio::task::spawn_blocking(work).await;
            match done.unwrap_or_else(|gone| Err(io::Error::other(gone))) {
                Ok(bytes) => {
                    complained = false;
                    pause = pause.max(Duration::from_secs(bytes / BYTES_EACH_SECOND));
                }
                Err(error) if !complained => {
                    tracing::warn!("keep names on disk: {error}; trying again after each change");
                    complained = true;
                }
                Err(_) => {}
            }
            written = Some(version);
            pause = pause.max(begun.elapsed() * PAUSES);
        }
        tokio::time::sleep(pause).await;
    }
}

impl Knowledge {
    fn version(&self) -> (u32, u32) {
        (
            read(&self.zone, Zone::changes),
            read(&self.clients, Clients::changes),
        )
    }
}

fn read<T, R>(table: &RwLock<T>, look: impl FnOnce(&T) -> R) -> R {
    look(&table.read().unwrap_or_else(PoisonError::into_inner))
}

fn work(
    folder: Arc<Folder>,
    knowledge: &Knowledge,
    texts: Option<Texts>,
) -> impl FnOnce() -> io::Result<u64> + use<> {
    let (zone, clients) = (Arc::clone(&knowledge.zone), Arc::clone(&knowledge.clients));
    move || {
        let mut bytes = 0;
        folder.replace(|file| {
            let mut writer = Writer::begin(BufWriter::new(file), SystemTime::now())?;
            if let Some(texts) = texts {
                writer.texts(texts)?;
            }
            let pods: Vec<_> = read(&clients, |clients| {
                let pods = clients.pods();
                pods.map(|(name, pod)| (name.clone(), pod.clone()))
                    .collect()
            });
            for (name, pod) in pods {
                writer.client(name, pod)?;
            }
            let keys = read(&zone, Zone::parts);
            for portion in keys.chunks(PORTION) {
                let begun = Instant::now();
                let parts: Vec<_> = read(&zone, |zone| {
                    portion.iter().filter_map(|key| zone.part(key)).collect()
                });
                for part in parts {
                    writer.part(part)?;
                }
                thread::sleep(begun.elapsed() * LEISURE);
            }
            writer.end()?.flush()?;
            bytes = file.metadata()?.len();
            Ok(())
        })?;
        Ok(bytes)
    }
}
