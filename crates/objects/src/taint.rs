//! What keeps pods off a node, and what pods put up with.

use serde::Serialize;

/// What keeps pods off a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Taint {
    /// The taint's name.
    pub key: String,
    /// Its value, often empty.
    pub value: String,
    /// What it does to pods.
    pub effect: Effect,
}

/// What a taint does to pods that do not bear it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Effect {
    /// New ones stay away.
    NoSchedule,
    /// New ones go elsewhere if they can.
    PreferNoSchedule,
    /// New ones stay away and old ones leave.
    NoExecute,
}

/// Taints that a pod bears.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Toleration {
    /// The taint's name; empty with `exists`: any.
    pub key: String,
    /// Any value will do.
    pub exists: bool,
    /// The taint's value.
    pub value: String,
    /// None: every effect.
    pub effect: Option<Effect>,
    /// How long a taint is borne; none: for ever.
    pub seconds: Option<i64>,
}

impl Taint {
    /// What `spec.unschedulable` amounts to.
    pub fn unschedulable() -> Self {
        Self::no_schedule("node.kubernetes.io/unschedulable")
    }

    /// A taint without a value that keeps new pods away.
    pub fn no_schedule(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            value: String::new(),
            effect: Effect::NoSchedule,
        }
    }
}

impl Effect {
    /// The effect of this name.
    pub fn of(text: &str) -> Option<Self> {
        match text {
            "NoSchedule" => Some(Self::NoSchedule),
            "PreferNoSchedule" => Some(Self::PreferNoSchedule),
            "NoExecute" => Some(Self::NoExecute),
            _ => None,
        }
    }
}

impl Toleration {
    /// Whether it covers this taint. An empty key with `Exists` bears everything.
    pub fn bears(&self, taint: &Taint) -> bool {
        let key = self.key == taint.key || (self.key.is_empty() && self.exists);
        let effect = self.effect.is_none_or(|effect| effect == taint.effect);
        key && effect && (self.exists || self.value == taint.value)
    }
}
