//! The handle that everybody shares.

use std::{
    collections::VecDeque,
    fmt,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    Attributes, Bucket, Change, Entry, Key, OpenError, Template, Watch, WatchError, WriteError,
    disk::{Disk, Medium},
    index::Index,
    load::load,
    packer::Packer,
    writer::{self, Request, Writer},
};

/// Writes that may wait for the writer; further ones wait to be queued.
const QUEUE: usize = 1024;

/// Reads what selectors ask for from an encoded object, for objects that come from the disk.
pub type Describe = Arc<dyn Fn(&Key, &[u8]) -> Attributes + Send + Sync>;

/// How a store is opened.
#[derive(Clone)]
pub struct Options {
    /// The file; made if it does not exist. Its folder must exist.
    pub path: PathBuf,
    /// How much history is kept.
    pub bounds: Bounds,
    /// How objects that come from the disk are described.
    pub describe: Describe,
}

/// How much of the event log is kept: a watcher that wants to resume from before is told to list.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The number of events.
    pub events: usize,
    /// Their bytes; the newest event is kept whatever it has.
    pub bytes: u64,
    /// The age of the oldest.
    pub age: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            events: 16_384,
            bytes: 16 << 20,
            age: Duration::from_secs(3600),
        }
    }
}

/// What must be so for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// There is no such object.
    Absent,
    /// The object is at this revision.
    Revision(u64),
}

/// One write: an object that is made, replaced or removed.
#[derive(Clone, Debug)]
pub struct Write {
    pub(crate) key: Key,
    pub(crate) expect: Expect,
    /// What to write, or for a deletion the last state.
    pub(crate) template: Template,
    pub(crate) attributes: Attributes,
    pub(crate) delete: bool,
}

impl Write {
    /// Creates or replaces an object.
    pub fn put(key: Key, expect: Expect, template: Template, attributes: Attributes) -> Self {
        Self {
            key,
            expect,
            template,
            attributes,
            delete: false,
        }
    }

    /// Removes an object that is at this revision; `template` is its last state, for the watchers.
    pub fn delete(key: Key, revision: u64, template: Template, attributes: Attributes) -> Self {
        Self {
            key,
            expect: Expect::Revision(revision),
            template,
            attributes,
            delete: true,
        }
    }
}

/// A consistent view of some objects.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The revision of the whole store at that moment: watch from here to miss nothing.
    pub revision: u64,
    /// The revision of the newest change in the bucket.
    pub changed: u64,
    /// The objects, by namespace and name.
    pub entries: Vec<Arc<Entry>>,
}

/// A durable, revisioned store. Clones share it; it is closed when the last one is dropped.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Arc<Disk>,
    index: Arc<RwLock<Index>>,
    describe: Describe,
    revisions: watch::Receiver<u64>,
    queue: mpsc::Sender<Request>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("revision", &self.revision())
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store, reads every object, and starts the writer thread.
    ///
    /// # Errors
    ///
    /// One variant of [`OpenError`] for each thing that an operator can do about it.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        Self::open_on(options, Medium::file())
    }

    pub(crate) fn open_on(options: Options, medium: Medium) -> Result<Self, OpenError> {
        let Options {
            path,
            bounds,
            describe,
        } = options;
        let (disk, position, entries) = load(&path, &describe, |object| {
            Disk::open(&path, bounds, medium, object)
        })?;
        let mut index = Index::new(position);
        entries.into_iter().for_each(|entry| index.load(entry));
        let (disk, index) = (Arc::new(disk), Arc::new(RwLock::new(index)));
        let (queue, requests) = mpsc::channel(QUEUE);
        let (announce, revisions) = watch::channel(position.revision);
        let writer = Writer {
            packer: Packer::new(disk.dictionaries().clone()),
            disk: disk.clone(),
            index: index.clone(),
            describe: describe.clone(),
            revisions: announce,
            queue: requests,
        };
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run())
            .map_err(|cause| OpenError::Io {
                path,
                cause: format!("start its thread: {cause}"),
                next: "allow more processes or memory",
            })?;
        Ok(Self {
            shared: Arc::new(Shared {
                disk,
                index,
                describe,
                revisions,
                queue,
            }),
        })
    }

    /// The revision of the newest write.
    pub fn revision(&self) -> u64 {
        self.read(|index| index.position.revision)
    }

    /// Tells each new revision; slow receivers see only the newest.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.shared.revisions.clone()
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.read(|index| index.get(key).cloned())
    }

    /// The objects of `bucket` that `keep` accepts, in `namespace` if one is given.
    pub fn list(
        &self,
        bucket: &Bucket,
        namespace: Option<&str>,
        mut keep: impl FnMut(&Entry) -> bool,
    ) -> Listing {
        self.read(|index| Listing {
            revision: index.position.revision,
            changed: index.changed(bucket),
            entries: index
                .range(bucket, namespace, None)
                .filter(|entry| keep(entry))
                .cloned()
                .collect(),
        })
    }

    /// The revision of the last change in `bucket`, or that of the start if there was none since.
    pub fn changed(&self, bucket: &Bucket) -> u64 {
        self.read(|index| index.changed(bucket))
    }

    /// Changes of `bucket` after the revision `since`.
    ///
    /// # Errors
    ///
    /// [`WatchError::Compacted`] if the log no longer reaches back that far, [`WatchError::Disk`]
    /// if it cannot be read.
    pub fn watch(&self, bucket: &Bucket, since: u64) -> Result<Watch, WatchError> {
        let mut index = self
            .shared
            .index
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let compacted = index.position.compacted;
        if since < compacted {
            return Err(WatchError::Compacted { since, compacted });
        }
        let live = index.subscribe(bucket);
        let newest = index.changed(bucket);
        drop(index);
        Watch::start(self.clone(), bucket.clone(), since, live, newest)
    }

    /// Creates or replaces an object; answered when it is durable.
    ///
    /// # Errors
    ///
    /// A [`WriteError`]; unless it is [`WriteError::Disk`], nothing has changed.
    pub async fn put(
        &self,
        key: Key,
        expect: Expect,
        template: Template,
        attributes: Attributes,
    ) -> Result<Arc<Entry>, WriteError> {
        self.write_one(Write::put(key, expect, template, attributes))
            .await
    }

    /// Removes an object; `template` is its last state, for the watchers.
    ///
    /// # Errors
    ///
    /// A [`WriteError`]; unless it is [`WriteError::Disk`], nothing has changed.
    pub async fn delete(
        &self,
        key: Key,
        revision: u64,
        template: Template,
        attributes: Attributes,
    ) -> Result<Arc<Entry>, WriteError> {
        self.write_one(Write::delete(key, revision, template, attributes))
            .await
    }

    /// Does all of these writes or none of them, at successive revisions; answered, in their
    /// order, when they are durable. No two may be of the same object.
    ///
    /// # Errors
    ///
    /// The [`WriteError`] of the first that cannot be done; unless it is [`WriteError::Disk`],
    /// nothing has changed.
    pub async fn write(&self, writes: Vec<Write>) -> Result<Vec<Arc<Entry>>, WriteError> {
        let (reply, answer) = oneshot::channel();
        self.shared
            .queue
            .send(Request { writes, reply })
            .await
            .map_err(|_| WriteError::Closed)?;
        answer.await.unwrap_or(Err(WriteError::Closed))
    }

    /// Describes the objects of `bucket` anew: what selectors ask of its kind has changed.
    pub fn describe_again(&self, bucket: &Bucket) {
        let describe = &self.shared.describe;
        let mut index = self
            .shared
            .index
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        index.describe_again(bucket, |entry| describe(&entry.key, &entry.object.unpack()));
    }

    /// Objects and watchers of each bucket, by name of the bucket.
    pub fn counts(&self) -> Vec<(Bucket, usize, usize)> {
        let mut counts: Vec<_> = self.read(|index| {
            index
                .counts()
                .map(|(bucket, objects, watchers)| (bucket.clone(), objects, watchers))
                .collect()
        });
        counts.sort();
        counts
    }

    async fn write_one(&self, write: Write) -> Result<Arc<Entry>, WriteError> {
        let mut written = self.write(vec![write]).await?;
        Ok(written.pop().expect("one write has one entry"))
    }

    /// The events of `bucket` after `since` that the log still has.
    pub(crate) fn history(
        &self,
        bucket: &Bucket,
        since: u64,
    ) -> Result<VecDeque<Arc<Change>>, WatchError> {
        let mut found = VecDeque::new();
        let position = self
            .shared
            .disk
            .events(
                since,
                |key| key.bucket() == bucket,
                |revision, event| {
                    found.push_back(writer::change(&self.shared.describe, revision, event));
                },
            )
            .map_err(|cause| WatchError::Disk {
                path: self.shared.disk.path().clone(),
                cause: cause.to_string(),
            })?;
        if since < position.compacted {
            return Err(WatchError::Compacted {
                since,
                compacted: position.compacted,
            });
        }
        Ok(found)
    }

    /// The current revision, if `quiet` holds while no write can be published.
    pub(crate) fn settled(&self, quiet: impl FnOnce() -> bool) -> Option<u64> {
        self.read(|index| quiet().then_some(index.position.revision))
    }

    fn read<T>(&self, work: impl FnOnce(&Index) -> T) -> T {
        work(
            &self
                .shared
                .index
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}
