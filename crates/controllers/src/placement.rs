//! What a pod says about the nodes that it may run on, and what nodes say about pods.
//!
//! Node affinity, taints and tolerations, read once when a pod or node
//! arrives. Only what is *required* counts here: preferences are not kept.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use serde::Serialize;

/// What a pod asks of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// `.spec.nodeSelector`
    pub selector: BTreeMap<String, String>,
    /// Terms of the required node affinity, of which one must hold; none: any node will do.
    pub terms: Option<Vec<Term>>,
    pub tolerations: Vec<Toleration>,
}

/// Requirements that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Term {
    labels: Vec<Requirement>,
    /// Of the node's name: the only field that there is.
    names: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: String,
    values: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Toleration {
    pub key: String,
    /// Any value will do.
    pub exists: bool,
    pub value: String,
    /// None: every effect.
    pub effect: Option<Effect>,
    /// How long a taint is borne; none: for ever.
    pub seconds: Option<i64>,
}

/// What keeps pods off a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Taint {
    pub key: String,
    pub value: String,
    pub effect: Effect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Effect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

impl Placement {
    pub fn of(spec: &core::PodSpec) -> Self {
        let affinity = spec.affinity.as_ref();
        let affinity = affinity.and_then(|affinity| affinity.node_affinity.as_ref());
        let required = affinity.and_then(|affinity| {
            let required = affinity
                .required_during_scheduling_ignored_during_execution
                .as_ref();
            Some(&required?.node_selector_terms)
        });
        Self {
            selector: spec.node_selector.clone().unwrap_or_default(),
            terms: required.map(|terms| terms.iter().map(Term::of).collect()),
            tolerations: spec
                .tolerations
                .iter()
                .flatten()
                .map(Toleration::of)
                .collect(),
        }
    }

    /// Whether selector and affinity let the pod run on a node of this name with these labels.
    pub fn allows(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        let equal = |(key, value): (&String, &String)| labels.get(key) == Some(value);
        let terms = self.terms.as_ref();
        self.selector.iter().all(equal)
            && terms.is_none_or(|terms| terms.iter().any(|term| term.holds(name, labels)))
    }

    /// The first taint with one of these effects that the pod does not bear.
    pub fn untolerated<'a>(&self, taints: &'a [Taint], effects: &[Effect]) -> Option<&'a Taint> {
        let counts = |taint: &&Taint| effects.contains(&taint.effect);
        let borne = |taint: &Taint| self.tolerations.iter().any(|t| t.bears(taint));
        taints.iter().filter(counts).find(|taint| !borne(taint))
    }

    /// The one node that the affinity names.
    pub fn only_node(&self) -> Option<&str> {
        let [term] = self.terms.as_deref()? else {
            return None;
        };
        let [name] = term.names.as_slice() else {
            return None;
        };
        match name.values.as_slice() {
            [only] if name.operator == "In" => Some(only),
            _ => None,
        }
    }
}

impl Term {
    fn of(term: &core::NodeSelectorTerm) -> Self {
        let requirements = |all: &Option<Vec<core::NodeSelectorRequirement>>| {
            let all = all.iter().flatten();
            all.map(Requirement::of).collect::<Vec<_>>()
        };
        Self {
            labels: requirements(&term.match_expressions),
            names: requirements(&term.match_fields),
        }
    }

    /// A term without requirements holds for no node.
    fn holds(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        let of_name = |requirement: &Requirement| {
            requirement.key == "metadata.name" && requirement.holds(Some(name))
        };
        let of_label = |requirement: &Requirement| {
            requirement.holds(labels.get(&requirement.key).map(String::as_str))
        };
        !(self.labels.is_empty() && self.names.is_empty())
            && self.labels.iter().all(of_label)
            && self.names.iter().all(of_name)
    }
}

impl Requirement {
    fn of(requirement: &core::NodeSelectorRequirement) -> Self {
        Self {
            key: requirement.key.clone(),
            operator: requirement.operator.clone(),
            values: requirement.values.clone().unwrap_or_default(),
        }
    }

    fn holds(&self, value: Option<&str>) -> bool {
        let listed = value.is_some_and(|value| self.values.iter().any(|v| v == value));
        match &*self.operator {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            "Gt" => self
                .compare(value)
                .is_some_and(|(value, limit)| value > limit),
            "Lt" => self
                .compare(value)
                .is_some_and(|(value, limit)| value < limit),
            _ => false,
        }
    }

    fn compare(&self, value: Option<&str>) -> Option<(i64, i64)> {
        Some((value?.parse().ok()?, self.values.first()?.parse().ok()?))
    }
}

impl Toleration {
    fn of(toleration: &core::Toleration) -> Self {
        Self {
            key: toleration.key.clone().unwrap_or_default(),
            exists: toleration.operator.as_deref() == Some("Exists"),
            value: toleration.value.clone().unwrap_or_default(),
            effect: toleration.effect.as_deref().and_then(Effect::of),
            seconds: toleration.toleration_seconds,
        }
    }

    /// An empty key with `Exists` bears everything.
    fn bears(&self, taint: &Taint) -> bool {
        let key = self.key == taint.key || (self.key.is_empty() && self.exists);
        let effect = self.effect.is_none_or(|effect| effect == taint.effect);
        key && effect && (self.exists || self.value == taint.value)
    }
}

impl Taint {
    pub fn of(taint: &core::Taint) -> Option<Self> {
        Some(Self {
            key: taint.key.clone(),
            value: taint.value.clone().unwrap_or_default(),
            effect: Effect::of(&taint.effect)?,
        })
    }

    /// What `spec.unschedulable` amounts to.
    pub fn unschedulable() -> Self {
        Self {
            key: "node.kubernetes.io/unschedulable".into(),
            value: String::new(),
            effect: Effect::NoSchedule,
        }
    }
}

impl Effect {
    fn of(text: &str) -> Option<Self> {
        match text {
            "NoSchedule" => Some(Self::NoSchedule),
            "PreferNoSchedule" => Some(Self::PreferNoSchedule),
            "NoExecute" => Some(Self::NoExecute),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn placement(spec: Value) -> Placement {
        let mut spec = spec;
        spec["containers"] = json!([]);
        Placement::of(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn one_term_must_hold_with_all_its_requirements() {
        let allows = |terms: Value| {
            let required = json!({"nodeSelectorTerms": terms});
            let affinity = json!({"requiredDuringSchedulingIgnoredDuringExecution": required});
            let labels =
                BTreeMap::from([("zone".into(), "a".into()), ("cores".into(), "8".into())]);
            placement(json!({"affinity": {"nodeAffinity": affinity}})).allows("node-1", &labels)
        };
        let label = |key: &str, operator: &str, values: Value| json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]);
        assert!(allows(label("zone", "In", json!(["a", "b"]))));
        assert!(!allows(label("zone", "NotIn", json!(["a"]))));
        assert!(allows(label("disk", "DoesNotExist", json!(null))));
        assert!(!allows(label("disk", "Exists", json!(null))));
        assert!(allows(label("cores", "Gt", json!(["4"]))));
        assert!(!allows(label("cores", "Lt", json!(["4"]))));
        let named = |name: &str| json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]});
        assert!(allows(json!([named("node-1")])));
        assert!(!allows(json!([named("node-2")])));
        assert!(allows(json!([named("node-2"), named("node-1")])));
        assert!(!allows(json!([{}])));
    }

    #[test]
    fn a_taint_is_borne_by_key_value_and_effect() {
        let taint = Taint {
            key: "dedicated".into(),
            value: "db".into(),
            effect: Effect::NoSchedule,
        };
        let bears = |toleration: Value| {
            let placement = placement(json!({"tolerations": [toleration]}));
            let effects = [Effect::NoSchedule, Effect::NoExecute];
            placement
                .untolerated(std::slice::from_ref(&taint), &effects)
                .is_none()
        };
        assert!(bears(json!({"key": "dedicated", "value": "db"})));
        assert!(bears(json!({"key": "dedicated", "operator": "Exists"})));
        assert!(bears(json!({"operator": "Exists"})));
        assert!(!bears(json!({"key": "dedicated", "value": "web"})));
        assert!(!bears(
            json!({"key": "dedicated", "value": "db", "effect": "NoExecute"})
        ));
        assert!(!bears(json!({"key": "other", "operator": "Exists"})));
    }
}
