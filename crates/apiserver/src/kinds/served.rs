//! Which kinds are served: those of the table, always, and those that were made at run time.
//!
//! Whoever needs more than one answer takes a [`Served`], which does not change; what is made or goes
//! meanwhile is in the next one.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use sealane_store::Bucket;

use super::{KINDS, Kind, KindRef};

/// The kinds that are served now.
#[derive(Default)]
pub struct Kinds(RwLock<Arc<Served>>);

impl Kinds {
    /// What is served at this moment.
    pub fn now(&self) -> Arc<Served> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Serves these, in the place of all that were made before.
    pub fn set(&self, made: impl IntoIterator<Item = Arc<Kind>>) {
        let served = Arc::new(Served::new(made));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = served;
    }

    /// Finds a kind by its place in a path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<KindRef> {
        self.now().find(group, version, plural)
    }

    /// Finds the kind that is stored in `bucket`.
    pub fn stored_in(&self, bucket: &Bucket) -> Option<KindRef> {
        self.now().stored_in(bucket)
    }
}

/// The kinds that were served at a moment.
#[derive(Default)]
pub struct Served {
    made: BTreeMap<&'static str, Vec<Arc<Kind>>>,
}

impl Served {
    fn new(kinds: impl IntoIterator<Item = Arc<Kind>>) -> Self {
        let mut made: BTreeMap<_, Vec<Arc<Kind>>> = BTreeMap::new();
        for kind in kinds {
            made.entry(kind.group).or_default().push(kind);
        }
        Self { made }
    }

    /// All that clients may ask for: the table in its order, then those that were made.
    pub fn iter(&self) -> impl Iterator<Item = KindRef> + '_ {
        self.all().filter(|kind| kind.is_served())
    }

    /// One for each place where objects are stored.
    pub fn stored(&self) -> impl Iterator<Item = KindRef> + '_ {
        self.all().filter(|kind| kind.is_stored())
    }

    fn all(&self) -> impl Iterator<Item = KindRef> + '_ {
        let made = self.made.values().flatten();
        let made = made.map(|kind| KindRef::Made(kind.clone()));
        KINDS.iter().copied().map(KindRef::Row).chain(made)
    }

    /// Finds a kind by its place in a path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<KindRef> {
        self.of_group(group, |kind| {
            kind.version == version && kind.plural == plural && kind.is_served()
        })
    }

    /// Finds the kind that is stored in `bucket`.
    pub fn stored_in(&self, bucket: &Bucket) -> Option<KindRef> {
        let (group, plural) = bucket.parts();
        self.of_group(group, |kind| kind.is_stored() && kind.plural == plural)
    }

    fn of_group(&self, group: &str, wanted: impl Fn(&Kind) -> bool) -> Option<KindRef> {
        let mut rows = KINDS.iter().copied();
        if let Some(row) = rows.find(|kind| kind.group == group && wanted(kind)) {
            return Some(KindRef::Row(row));
        }
        let made = self.made.get(group)?;
        let found = made.iter().find(|kind| wanted(kind))?;
        Some(KindRef::Made(found.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::PLAIN;

    #[test]
    fn what_is_made_is_found_until_it_is_replaced() {
        let kinds = Kinds::default();
        let made = |plural| {
            Arc::new(Kind {
                group: "example.com",
                plural,
                ..PLAIN
            })
        };
        let before = kinds.now();
        kinds.set([made("mills"), made("inns")]);
        assert!(before.find("example.com", "v1", "mills").is_none());
        assert!(kinds.find("example.com", "v1", "mills").is_some());
        assert!(kinds.find("example.com", "v2", "mills").is_none());
        let bucket = Bucket::new("example.com", "inns");
        assert_eq!(kinds.stored_in(&bucket).unwrap().bucket(), bucket);
        assert_eq!(kinds.now().iter().count(), KINDS.len() + 2);
        kinds.set([made("inns")]);
        assert!(kinds.find("example.com", "v1", "mills").is_none());
        assert!(kinds.find("", "v1", "pods").is_some());
    }
}
