//! The dictionaries that packed objects refer to: those of the file, and those that the next
//! commit writes to it.
//!
//! A dictionary goes to the file with the commit of the first object that may refer to it, and
//! goes from it with the next that is made for its bucket after nothing does any more: no object, no
//! reader in this process, and no event that the log still has.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{Bucket, packed::Dictionary};

#[derive(Default)]
pub(crate) struct Dictionaries(Mutex<State>);

#[derive(Default)]
struct State {
    all: BTreeMap<u32, Held>,
    /// The highest that was ever given in this process or found in the file.
    newest: u32,
    /// What the next commit removes.
    gone: Vec<u32>,
}

struct Held {
    bucket: Bucket,
    dictionary: Arc<Dictionary>,
    saved: bool,
}

/// What a commit has to do to the table of dictionaries.
pub(crate) struct Pending {
    /// Each with the bucket it is of.
    pub new: Vec<(Bucket, Arc<Dictionary>)>,
    pub gone: Vec<u32>,
}

impl Pending {
    pub fn is_empty(&self) -> bool {
        self.new.is_empty() && self.gone.is_empty()
    }
}

impl Dictionaries {
    /// Takes one in that is in the file. What refers to it is not known, so all up to `revision`
    /// may.
    pub fn load(&self, id: u32, bucket: Bucket, bytes: &[u8], revision: u64) {
        let mut state = self.state();
        state.newest = state.newest.max(id);
        let dictionary = Dictionary::new(id, bytes.into(), revision);
        let held = Held {
            bucket,
            dictionary,
            saved: true,
        };
        state.all.insert(id, held);
    }

    pub fn get(&self, id: u32) -> Option<Arc<Dictionary>> {
        let state = self.state();
        state.all.get(&id).map(|held| held.dictionary.clone())
    }

    /// The newest of `bucket`.
    pub fn newest(&self, bucket: &Bucket) -> Option<Arc<Dictionary>> {
        let state = self.state();
        let mut all = state.all.values().rev();
        let found = all.find(|held| held.bucket == *bucket)?;
        Some(found.dictionary.clone())
    }

    /// Makes a new one, which the next commit writes to the file.
    pub fn add(&self, bucket: &Bucket, bytes: Box<[u8]>) -> Arc<Dictionary> {
        let mut state = self.state();
        state.newest += 1;
        let id = state.newest;
        let dictionary = Dictionary::new(id, bytes, 0);
        let held = Held {
            bucket: bucket.clone(),
            dictionary: dictionary.clone(),
            saved: false,
        };
        state.all.insert(id, held);
        dictionary
    }

    /// Lets those of `bucket` go to which nothing refers; how many are left. `compacted` is the
    /// newest revision that the log no longer has.
    pub fn sweep(&self, bucket: &Bucket, compacted: u64) -> u64 {
        let mut state = self.state();
        let of_bucket = state.all.values().filter(|held| held.bucket == *bucket);
        let (gone, left): (Vec<&Held>, Vec<&Held>) =
            of_bucket.partition(|held| held.is_unused(compacted));
        let left = left.len() as u64;
        let gone: Vec<u32> = gone.iter().map(|held| held.dictionary.id).collect();
        state.all.retain(|id, _| !gone.contains(id));
        state.gone.extend(gone);
        left
    }

    /// What is not in the file as it is here.
    pub fn pending(&self) -> Pending {
        let state = self.state();
        let new = state.all.values().filter(|held| !held.saved);
        Pending {
            new: new
                .map(|held| (held.bucket.clone(), held.dictionary.clone()))
                .collect(),
            gone: state.gone.clone(),
        }
    }

    /// Notes that this has been committed.
    pub fn saved(&self, pending: &Pending) {
        if pending.is_empty() {
            return;
        }
        let mut state = self.state();
        for (_, dictionary) in &pending.new {
            if let Some(held) = state.all.get_mut(&dictionary.id) {
                held.saved = true;
            }
        }
        state.gone.retain(|id| !pending.gone.contains(id));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// The packer holds the one in use, each object that is in memory its own.
    fn is_unused(&self, compacted: u64) -> bool {
        Arc::strong_count(&self.dictionary) == 1
            && self.dictionary.used.load(Ordering::Relaxed) <= compacted
    }
}

impl Dictionary {
    pub fn new(id: u32, bytes: Box<[u8]>, used: u64) -> Arc<Self> {
        let used = AtomicU64::new(used);
        Arc::new(Self { id, bytes, used })
    }
}
