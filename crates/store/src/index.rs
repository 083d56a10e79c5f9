//! Every committed object, in memory, and who watches it. Only the writer thread changes it.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
};

use tokio::sync::broadcast;

use crate::{Attributes, Bucket, Change, ChangeKind, Entry, Key, disk::Position};

/// Events that a watcher may fall behind before it has to read them from the log.
const FAN_OUT: usize = 256;

pub(crate) struct Index {
    pub position: Position,
    /// The revision that the disk had at the start. Until then a bucket may have lost an object,
    /// which none of those that are loaded tells.
    loaded: u64,
    buckets: HashMap<Bucket, Slot>,
}

#[derive(Default)]
struct Slot {
    entries: BTreeMap<Arc<str>, Arc<Entry>>,
    /// The revision of the newest change in this bucket since the start.
    changed: u64,
    /// Made by the first watcher.
    fan_out: Option<broadcast::Sender<Arc<Change>>>,
}

impl Index {
    pub fn new(position: Position) -> Self {
        Self {
            loaded: position.revision,
            position,
            buckets: HashMap::new(),
        }
    }

    pub fn load(&mut self, entry: Entry) {
        let slot = self.buckets.entry(entry.key.bucket().clone()).or_default();
        slot.entries
            .insert(entry.key.path().clone(), Arc::new(entry));
    }

    pub fn get(&self, key: &Key) -> Option<&Arc<Entry>> {
        self.buckets.get(key.bucket())?.entries.get(key.path())
    }

    /// The entries of `bucket` after `after`, in `namespace` if one is given.
    pub fn range<'a>(
        &'a self,
        bucket: &Bucket,
        namespace: Option<&'a str>,
        after: Option<&str>,
    ) -> impl Iterator<Item = &'a Arc<Entry>> {
        let first = namespace
            .map(|namespace| format!("{namespace}/"))
            .unwrap_or_default();
        let start = match after {
            Some(after) if after >= first.as_str() => Bound::Excluded(after),
            _ => Bound::Included(first.as_str()),
        };
        self.buckets
            .get(bucket)
            .map(|slot| slot.entries.range::<str, _>((start, Bound::Unbounded)))
            .into_iter()
            .flatten()
            .map(|(_, entry)| entry)
            .take_while(move |entry| namespace.is_none_or(|wanted| entry.key.namespace() == wanted))
    }

    /// A revision after which `bucket` has not changed.
    pub fn changed(&self, bucket: &Bucket) -> u64 {
        let since_start = self.buckets.get(bucket).map_or(0, |slot| slot.changed);
        since_start.max(self.loaded)
    }

    pub fn subscribe(&mut self, bucket: &Bucket) -> broadcast::Receiver<Arc<Change>> {
        let slot = self.buckets.entry(bucket.clone()).or_default();
        slot.fan_out
            .get_or_insert_with(|| broadcast::channel(FAN_OUT).0)
            .subscribe()
    }

    /// Takes in one committed change and hands it to the watchers.
    pub fn apply(&mut self, change: Arc<Change>) {
        let entry = &change.entry;
        let slot = self.buckets.entry(entry.key.bucket().clone()).or_default();
        slot.changed = entry.revision;
        match change.kind {
            ChangeKind::Deleted => slot.entries.remove(entry.key.path()),
            ChangeKind::Created | ChangeKind::Updated => {
                slot.entries.insert(entry.key.path().clone(), entry.clone())
            }
        };
        if let Some(fan_out) = &slot.fan_out
            && fan_out.send(change).is_err()
        {
            // The last watcher is gone: its ring of events need not stay.
            slot.fan_out = None;
        }
    }

    /// Describes the objects of `bucket` anew. Nothing about them has changed but what selectors
    /// see, so no watcher is told.
    pub fn describe_again(&mut self, bucket: &Bucket, describe: impl Fn(&Entry) -> Attributes) {
        let slots = self.buckets.get_mut(bucket);
        for entry in slots.into_iter().flat_map(|slot| slot.entries.values_mut()) {
            let attributes = describe(entry);
            if attributes != entry.attributes {
                *entry = Arc::new(Entry {
                    key: entry.key.clone(),
                    revision: entry.revision,
                    attributes,
                    object: entry.object.clone(),
                });
            }
        }
    }

    /// The number of objects and the watchers of each bucket.
    pub fn counts(&self) -> impl Iterator<Item = (&Bucket, usize, usize)> {
        self.buckets.iter().map(|(bucket, slot)| {
            let watchers = slot
                .fan_out
                .as_ref()
                .map_or(0, broadcast::Sender::receiver_count);
            (bucket, slot.entries.len(), watchers)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(paths: &[(&str, &str)]) -> (Index, Bucket) {
        let bucket = Bucket::new("", "pods");
        let mut index = Index::new(Position {
            revision: 9,
            compacted: 0,
        });
        for (namespace, name) in paths {
            let key = Key::new(&bucket, namespace, name);
            let attributes = Attributes::default();
            index.load(Entry {
                key,
                revision: 1,
                attributes,
                object: Default::default(),
            });
        }
        (index, bucket)
    }

    #[test]
    fn ranges_keep_to_their_namespace() {
        let (index, bucket) = index(&[
            ("a", "1"),
            ("a", "2"),
            ("a-b", "1"),
            ("a.c", "1"),
            ("b", "1"),
        ]);
        let names = |namespace, after| {
            let found = index.range(&bucket, namespace, after);
            found
                .map(|entry| entry.key.path().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(Some("a"), None), ["a/1", "a/2"]);
        assert_eq!(names(Some("a"), Some("a/1")), ["a/2"]);
        assert_eq!(names(Some("b"), Some("a/1")), ["b/1"]);
        assert_eq!(names(Some("c"), None), [""; 0]);
        assert_eq!(names(None, None), ["a-b/1", "a.c/1", "a/1", "a/2", "b/1"]);
        assert_eq!(names(None, Some("a.c/1")), ["a/1", "a/2", "b/1"]);
    }
}
