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
    /// Bytes of all objects, before they are packed.
    held: u64,
    /// The revision of the newest change in this bucket since the start.
    changed: u64,
    /// Made by the first watcher.
    fan_out: Option<broadcast::Sender<Arc<Change>>>,
}

impl Slot {
    fn put(&mut self, entry: Arc<Entry>) {
        self.held += entry.object.len() as u64;
        let old = self.entries.insert(entry.key.path().clone(), entry);
        self.let_go(old);
    }

    fn remove(&mut self, path: &Arc<str>) {
        let old = self.entries.remove(path);
        self.let_go(old);
    }

    fn let_go(&mut self, old: Option<Arc<Entry>>) {
        self.held -= old.map_or(0, |entry| entry.object.len() as u64);
    }
}

impl Index {
    pub fn new(position: Position) -> Self {
        Self {
            loaded: position.revision,
            position,
            buckets: HashMap::new(),
        }
    }

    pub fn load(&mut self, entry: Arc<Entry>) {
        let slot = self.buckets.entry(entry.key.bucket().clone()).or_default();
        slot.put(entry);
    }

    /// Bytes of all objects of `bucket`, before they are packed.
    pub fn held(&self, bucket: &Bucket) -> u64 {
        self.buckets.get(bucket).map_or(0, |slot| slot.held)
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
            ChangeKind::Deleted => slot.remove(entry.key.path()),
            ChangeKind::Created | ChangeKind::Updated => slot.put(entry.clone()),
        }
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
    use crate::Packed;

    fn index(paths: &[(&str, &str)]) -> (Index, Bucket) {
        let bucket = Bucket::new("", "pods");
        let mut index = Index::new(Position {
            revision: 9,
            compacted: 0,
        });
        for (namespace, name) in paths {
            let key = Key::new(&bucket, namespace, name);
            let attributes = Attributes::default();
            index.load(Arc::new(Entry {
                key,
                revision: 1,
                attributes,
                object: Packed::from(&[][..]),
            }));
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
