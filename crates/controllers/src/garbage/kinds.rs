//! The kinds that the API server serves, by number: objects of a graph name their kind in two bytes.

/// A place in [`Kinds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindId(u16);

impl KindId {
    pub fn index(self) -> usize {
        self.0.into()
    }
}

/// A kind, as far as the graph cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Empty for the core group.
    pub group: String,
    pub kind: String,
    /// As in paths: `pods`.
    pub plural: String,
    pub namespaced: bool,
}

/// All kinds whose objects can be listed, watched and deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    all: Vec<Kind>,
}

impl Kinds {
    pub fn new(all: Vec<Kind>) -> Self {
        Self { all }
    }

    pub fn ids(&self) -> impl Iterator<Item = KindId> + use<> {
        (0..u16::try_from(self.all.len()).unwrap_or(u16::MAX)).map(KindId)
    }

    pub fn get(&self, id: KindId) -> &Kind {
        &self.all[id.index()]
    }

    /// The kind that an owner reference names. Its version does not matter:
    /// all versions of a kind show the same objects.
    pub fn resolve(&self, api_version: &str, kind: &str) -> Option<KindId> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        self.ids().find(|id| {
            let candidate = self.get(*id);
            candidate.kind == kind && candidate.group == group
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_finds_its_kind_by_group_and_kind_whatever_its_version() {
        let kind = |group: &str, kind: &str| Kind {
            group: group.into(),
            kind: kind.into(),
            plural: format!("{}s", kind.to_lowercase()),
            namespaced: true,
        };
        let kinds = Kinds::new(vec![kind("", "Pod"), kind("apps", "ReplicaSet")]);
        let found = |version, kind| kinds.resolve(version, kind).map(|id| id.0);
        assert_eq!(found("v1", "Pod"), Some(0));
        assert_eq!(found("apps/v1", "ReplicaSet"), Some(1));
        assert_eq!(found("apps/v1beta2", "ReplicaSet"), Some(1));
        assert_eq!(found("v1", "ReplicaSet"), None);
        assert_eq!(found("apps/v1", "Pod"), None);
    }
}
