//! The Corefile of the cluster: ConfigMaps `coredns` and `coredns-custom` of `kube-system`.

use std::pin::pin;

use futures::{Stream, StreamExt, stream};
use sealane_kube::k8s_openapi::api::core::v1::{ConfigMap, ObjectReference};
use sealane_kube::{Api, Change, Client, Filter, watch_as};
use tokio::sync::watch;

use super::files::Keys;

/// Where they are.
pub const NAMESPACE: &str = "kube-system";
/// The one with the Corefile.
pub const NAME: &str = "coredns";
/// What is imported from `custom/`, as in AKS and k3s.
pub const CUSTOM: &str = "coredns-custom";
/// The key of the Corefile.
pub const KEY: &str = "Corefile";

/// Both of them, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maps {
    /// `None`: not yet.
    pub coredns: Option<Map>,
    /// `None`: not yet.
    pub custom: Option<Map>,
}

/// A ConfigMap; without data it is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map {
    pub uid: Option<String>,
    pub data: Keys,
}

impl Maps {
    /// What is known when both have been looked for.
    pub fn known(&self) -> Option<(&Map, &Map)> {
        self.coredns.as_ref().zip(self.custom.as_ref())
    }

    /// What an Event about the first one says it is about.
    pub fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("ConfigMap".into()),
            namespace: Some(NAMESPACE.into()),
            name: Some(NAME.into()),
            uid: self.coredns.as_ref().and_then(|map| map.uid.clone()),
            ..ObjectReference::default()
        }
    }
}

/// Follows both, until nobody listens.
pub async fn follow(client: Client, maps: watch::Sender<Maps>) {
    let one = |name: &'static str| changes(&client, name).map(move |change| (name, change));
    let mut changes = pin!(stream::select(one(NAME), one(CUSTOM)));
    while let Some((name, change)) = changes.next().await {
        if maps.is_closed() {
            return;
        }
        maps.send_modify(|maps| {
            let map = if name == NAME {
                &mut maps.coredns
            } else {
                &mut maps.custom
            };
            take(map, change);
        });
    }
}

fn changes(client: &Client, name: &str) -> impl Stream<Item = Change<Map>> + use<> {
    let api = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    let filter = Filter::fields(format!("metadata.name={name}"));
    watch_as(api, &filter, |map| Map {
        uid: map.metadata.uid,
        data: map.data.unwrap_or_default(),
    })
}

/// One that is taken away stays as it was, since it is made anew a moment later when somebody
/// replaces it, and names of others should not fail meanwhile.
fn take(map: &mut Option<Map>, change: Change<Map>) {
    match change {
        Change::Applied(_, new) => *map = Some(new),
        Change::Reset(all) => match all.into_iter().next() {
            Some((_, new)) => *map = Some(new),
            None => {
                map.get_or_insert_default();
            }
        },
        Change::Deleted(name, _) => {
            tracing::warn!("ConfigMap {name} is deleted; what it said stays in force");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealane_objects::ObjectName;

    #[test]
    fn a_map_that_is_deleted_stays_in_force_and_one_that_never_was_is_known_to_be_absent() {
        let name = || ObjectName::new(NAMESPACE, NAME);
        let new = |text: &str| Map {
            uid: None,
            data: [(KEY.to_owned(), text.to_owned())].into(),
        };
        let mut map = None;
        take(&mut map, Change::Reset(vec![]));
        assert_eq!(map, Some(Map::default()));
        take(&mut map, Change::Applied(name(), new("a")));
        take(&mut map, Change::Deleted(name(), new("a")));
        take(&mut map, Change::Reset(vec![]));
        assert_eq!(map, Some(new("a")));
        take(&mut map, Change::Reset(vec![(name(), new("b"))]));
        assert_eq!(map, Some(new("b")));
    }
}
