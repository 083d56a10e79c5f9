//! Among which pods one is spread that does not say: those of its Services and of its owner.

use std::collections::BTreeMap;
use std::sync::Arc;

use sealane_kube::Change;
use sealane_objects::{ObjectName, Selector};

use crate::action::Kind;
use crate::view::PodView;
use crate::workloads::news::News;

/// Selectors of Services and of those who keep pods.
#[derive(Default)]
pub struct Spreading {
    /// By namespace and name.
    services: BTreeMap<String, BTreeMap<String, Selector>>,
    owners: BTreeMap<Kind, BTreeMap<ObjectName, Selector>>,
}

impl Spreading {
    /// Takes in what watches tell.
    pub fn hear(&mut self, news: &News) {
        match news {
            News::Services(change) => self.services_changed(change),
            News::ReplicaSets(change) => {
                self.owners_changed(Kind::ReplicaSet, change, |set| &set.selector);
            }
            News::Controllers(change) => {
                self.owners_changed(Kind::ReplicationController, change, |set| &set.selector);
            }
            News::StatefulSets(change) => {
                self.owners_changed(Kind::StatefulSet, change, |set| &set.selector);
            }
            _ => {}
        }
    }

    /// What the pods have in common among which this one is spread; none: nothing selects it.
    pub fn like(&self, namespace: &str, pod: &PodView) -> Option<Selector> {
        let mut like = Selector::default();
        let services = self.services.get(namespace);
        let services = services.into_iter().flat_map(BTreeMap::values);
        for selector in services.filter(|selector| selector.matches(&pod.facts.labels)) {
            like.match_labels.extend(selector.match_labels.clone());
        }
        if let Some(owner) = self.owner(namespace, pod) {
            like.match_labels.extend(owner.match_labels.clone());
            like.match_expressions
                .extend(owner.match_expressions.clone());
        }
        (!like.is_empty()).then_some(like)
    }

    fn owner(&self, namespace: &str, pod: &PodView) -> Option<&Selector> {
        let owner = pod.facts.controller.as_ref()?;
        let mut kinds = self.owners.iter();
        let (_, all) = kinds.find(|(kind, _)| kind.to_string() == owner.kind)?;
        all.get(&ObjectName::new(namespace, &owner.name))
    }

    fn services_changed(&mut self, change: &Change<Arc<crate::endpoints::Service>>) {
        match change {
            Change::Reset(all) => {
                self.services.clear();
                for (name, service) in all {
                    self.set_service(name, service.selector.as_ref());
                }
            }
            Change::Applied(name, service) => self.set_service(name, service.selector.as_ref()),
            Change::Deleted(name, _) => self.set_service(name, None),
        }
    }

    fn set_service(&mut self, name: &ObjectName, selector: Option<&Selector>) {
        let there = self.services.entry(name.namespace.clone()).or_default();
        match selector {
            Some(selector) => there.insert(name.name.clone(), selector.clone()),
            None => there.remove(&name.name),
        };
    }

    fn owners_changed<T>(
        &mut self,
        kind: Kind,
        change: &Change<Arc<T>>,
        selector: impl Fn(&T) -> &Selector,
    ) {
        let all = self.owners.entry(kind).or_default();
        match change {
            Change::Reset(listed) => {
                let selectors = listed.iter();
                let selectors = selectors.map(|(name, set)| (name.clone(), selector(set).clone()));
                *all = selectors.collect();
            }
            Change::Applied(name, set) => {
                all.insert(name.clone(), selector(set).clone());
            }
            Change::Deleted(name, _) => {
                all.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::endpoints::Service;
    use crate::facts::{Controller, PodFacts};
    use crate::testing::{name, pod};

    #[test]
    fn services_and_the_owner_say_together_who_is_alike() {
        let mut spreading = Spreading::default();
        let service = |selector| {
            let object = json!({"metadata": {"name": "s"}, "spec": {"selector": selector}});
            Arc::new(Service::of(serde_json::from_value(object).unwrap()))
        };
        let services = vec![
            (name("default", "web"), service(json!({"app": "web"}))),
            (name("default", "db"), service(json!({"app": "db"}))),
            (name("other", "web"), service(json!({"tier": "x"}))),
        ];
        spreading.hear(&News::Services(Change::Reset(services)));
        let set = json!({"metadata": {"name": "web-1"}, "spec": {"selector": {"matchLabels": {"hash": "1"}}}});
        let set = crate::workloads::replica_set::ReplicaSet::of(
            Kind::ReplicaSet,
            serde_json::from_value(set).unwrap(),
        );
        let change = Change::Applied(name("default", "web-1"), Arc::new(set));
        spreading.hear(&News::ReplicaSets(change));

        let labels = [("app", "web"), ("hash", "1"), ("tier", "x")];
        let facts = PodFacts {
            labels: Arc::new(labels.map(|(k, v)| (k.into(), v.into())).into()),
            controller: Some(Arc::new(Controller {
                api_version: "apps/v1".into(),
                kind: "ReplicaSet".into(),
                name: "web-1".into(),
                uid: "u".into(),
            })),
            ..PodFacts::default()
        };
        let view = PodView {
            facts: facts.into(),
            ..pod("u")
        };
        let expected = [("app", "web"), ("hash", "1")].map(|(k, v)| (k.into(), v.into()));
        let like = spreading.like("default", &view).unwrap();
        assert_eq!(like.match_labels, expected.into());
        assert_eq!(spreading.like("default", &pod("u")), None);
    }
}
