//! What a pod says about the nodes that it may run on: selector, node affinity, tolerations.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{Effect, Taint, Toleration};

/// What a pod asks of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Placement {
    /// `.spec.nodeSelector`
    pub selector: BTreeMap<String, String>,
    /// Terms of the required node affinity, of which one must hold; none: any node will do.
    pub terms: Option<Vec<Term>>,
    /// Preferred node affinity, with weights from 1 to 100.
    pub preferred: Vec<(i32, Term)>,
    /// Taints that the pod bears.
    pub tolerations: Vec<Toleration>,
}

/// Requirements that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Term {
    /// Of the node's labels.
    pub labels: Vec<Requirement>,
    /// Of the node's name: the only field that there is.
    pub names: Vec<Requirement>,
}

/// `matchExpressions` or `matchFields` of a node selector term.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Requirement {
    /// The label, or `metadata.name`.
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`, `Gt`, `Lt`.
    pub operator: String,
    /// What it is compared with.
    pub values: Vec<String>,
}

impl Placement {
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
        taints
            .iter()
            .filter(counts)
            .find(|taint| !self.bears(taint))
    }

    /// Whether the pod puts up with a taint.
    pub fn bears(&self, taint: &Taint) -> bool {
        self.tolerations.iter().any(|t| t.bears(taint))
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
    /// Whether a node satisfies it. A term without requirements holds for no node.
    pub fn holds(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
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
