//! What the collector wants done, and how it ended: values that can be printed and compared.

use std::fmt::{self, Display};
use std::sync::Arc;

use super::kinds::Kinds;
use super::object::{Identity, Owner, Uid};

/// One request. All but looks carry the version that they were decided on,
/// so that a decision made from old news changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask whether an owner exists that no watch has shown.
    Look(Identity),
    Delete {
        object: Identity,
        version: Box<str>,
        policy: Policy,
    },
    SetOwners {
        object: Identity,
        version: Box<str>,
        owners: Vec<Owner>,
    },
    SetFinalizers {
        object: Identity,
        version: Box<str>,
        finalizers: Vec<Box<str>>,
    },
    /// Record an Event: an owner is named that lives in another namespace.
    TellWrongNamespace { object: Identity, owner: Owner },
}

/// What becomes of the dependents of what is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Background,
    Foreground,
    Orphan,
}

/// How an action ended. A server that does not answer is not an end: it is asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; or, of a look, found.
    Done,
    /// No such object (any more).
    Gone,
    /// The object has changed since; a watch will tell.
    Outdated,
    Refused(String),
}

impl Action {
    /// The object that is to be changed, and the version of it that was judged.
    pub fn judged(&self) -> Option<(&Uid, &str)> {
        match self {
            Self::Look(_) | Self::TellWrongNamespace { .. } => None,
            Self::Delete {
                object, version, ..
            }
            | Self::SetOwners {
                object, version, ..
            }
            | Self::SetFinalizers {
                object, version, ..
            } => Some((&object.uid, version)),
        }
    }

    /// In words.
    pub fn show(&self, kinds: &Kinds) -> impl Display {
        let name = |object: &Identity| show(object, kinds);
        match self {
            Self::Look(owner) => format!("look for owner {}", name(owner)),
            Self::Delete { object, policy, .. } => {
                let how = match policy {
                    Policy::Background => "",
                    Policy::Foreground => ", its dependents first",
                    Policy::Orphan => ", not its dependents",
                };
                format!("delete {}, whose owners are gone{how}", name(object))
            }
            Self::SetOwners { object, owners, .. } => {
                let left: Vec<_> = owners.iter().map(|o| &*o.target.name).collect();
                format!("leave {} the owners [{}]", name(object), left.join(", "))
            }
            Self::SetFinalizers {
                object, finalizers, ..
            } => format!(
                "leave {} the finalizers [{}]",
                name(object),
                finalizers.join(", ")
            ),
            Self::TellWrongNamespace { object, owner } => {
                format!("record event: {} names {owner} as an owner", name(object))
            }
        }
    }
}

fn show(object: &Identity, kinds: &Kinds) -> String {
    let kind = &kinds.get(object.kind).plural;
    let namespace: &Arc<str> = &object.namespace;
    if namespace.is_empty() {
        format!("{kind} {}", object.name)
    } else {
        format!("{kind} {namespace}/{}", object.name)
    }
}

impl Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = &self.target;
        write!(
            f,
            "{}/{} {} (uid {})",
            target.api_version, target.kind, target.name, target.uid
        )
    }
}
