//! What is to become of one object, by its owners and dependents.
//!
//! | owners | then |
//! |---|---|
//! | one is being deleted and leaves its dependents | that reference is removed |
//! | one stays | references to those that are absent, or wait for this one, are removed |
//! | all are absent, or wait for this one | it is deleted; its own dependents first if an owner waits |
//! | one that no watch has shown | the server is asked before anything else is done |
//!
//! An object that is being deleted itself waits: without dependents that
//! matter, its finalizer is removed, and with the last one it goes.
//!
//! An owner in another namespace does not count as one, and neither does one
//! of another name or kind than the reference says. A reference that cannot be
//! followed (a kind that is not served, or a namespaced owner of a
//! cluster-wide object) keeps its object, as it does in Kubernetes.

use std::collections::HashMap;
use std::time::Instant;

use super::action::{Action, Policy};
use super::graph::{Graph, Object, Presence};
use super::kinds::Kinds;
use super::object::{FOREGROUND, Identity, ORPHAN, Owner};

/// What the server said of owners that no watch has shown.
pub type Looks = HashMap<Identity, Look>;

/// A question to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Asking,
    Found,
    Absent,
    /// It could not be answered.
    AskAgain {
        at: Instant,
    },
}

/// All that a judgement is made from.
pub struct Evidence<'a> {
    pub kinds: &'a Kinds,
    pub graph: &'a Graph,
    pub looks: &'a Looks,
}

/// How things stand with one owner reference.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Stays,
    /// Being deleted, after this dependent.
    Waits,
    /// Being deleted, without its dependents.
    LetsGo,
    Absent,
    WrongNamespace,
    NotAsked(Identity),
    Asked,
}

impl Evidence<'_> {
    /// What is to be done about an object. Nothing, most of the time.
    pub fn judge(&self, object: &Object) -> Vec<Action> {
        let standings: Vec<_> = object
            .meta
            .owners
            .iter()
            .map(|owner| self.standing(object, owner))
            .collect();
        if standings.contains(&Standing::LetsGo) {
            return vec![keep_owners(object, &standings, |s| *s != Standing::LetsGo)];
        }
        if object.meta.deleting {
            return self.let_go(object).into_iter().collect();
        }
        if object.meta.owners.is_empty() {
            return Vec::new();
        }
        self.by_owners(object, standings)
    }

    /// Removes the finalizer of an object whose dependents no longer hold it.
    fn let_go(&self, object: &Object) -> Option<Action> {
        if object.meta.leaves_dependents() {
            let held = self.is_held(object, |_| true);
            (!held).then(|| without_finalizer(object, ORPHAN))
        } else if object.meta.waits_for_dependents() {
            let held = self.is_held(object, |owner| owner.block == Some(true));
            (!held).then(|| without_finalizer(object, FOREGROUND))
        } else {
            None
        }
    }

    /// Whether another object names this one as its owner, and rightly so: a
    /// mistaken reference would hold it for ever.
    fn is_held(&self, object: &Object, by: impl Fn(&Owner) -> bool) -> bool {
        self.graph.dependents(&object.meta.uid).any(|dependent| {
            let reference = dependent.reference_to(&object.meta.uid);
            let holds = |owner: &Owner| by(owner) && self.standing(dependent, owner).is_leaving();
            dependent.meta.uid != object.meta.uid && reference.is_some_and(holds)
        })
    }

    fn by_owners(&self, object: &Object, standings: Vec<Standing>) -> Vec<Action> {
        let unclear = |s: &Standing| matches!(s, Standing::NotAsked(_) | Standing::Asked);
        if standings.iter().any(unclear) {
            return standings.into_iter().filter_map(Standing::look).collect();
        }
        let mut actions = tell_wrong_namespaces(object, &standings);
        let stays = |s: &Standing| *s == Standing::Stays;
        if standings.iter().all(stays) {
            return Vec::new();
        }
        if standings.iter().any(stays) {
            actions.push(keep_owners(object, &standings, stays));
        } else {
            actions.push(self.delete(object, standings.contains(&Standing::Waits)));
        }
        actions
    }

    fn delete(&self, object: &Object, owner_waits: bool) -> Action {
        let mut dependents = self.graph.dependents(&object.meta.uid).peekable();
        if owner_waits && dependents.peek().is_some() {
            // Two that wait for each other would wait for ever.
            let circle = dependents.any(|dependent| dependent.meta.waits_for_dependents());
            let blocks = |owner: &Owner| owner.block == Some(true);
            if circle && object.meta.owners.iter().any(blocks) {
                return unblock(object);
            }
            return delete(object, Policy::Foreground);
        }
        // Finalizers that someone has set in advance say how.
        delete(
            object,
            if object.meta.has(ORPHAN) {
                Policy::Orphan
            } else if object.meta.has(FOREGROUND) {
                Policy::Foreground
            } else {
                Policy::Background
            },
        )
    }

    fn standing(&self, object: &Object, owner: &Owner) -> Standing {
        let target = &owner.target;
        let Some(kind) = self.kinds.resolve(&target.api_version, &target.kind) else {
            return Standing::Stays;
        };
        let namespaced = self.kinds.get(kind).namespaced;
        if namespaced && object.namespace.is_empty() {
            return Standing::Stays;
        }
        let namespace = if namespaced {
            object.namespace.clone()
        } else {
            "".into()
        };
        match self.graph.node(&target.uid).map(|node| &node.presence) {
            Some(Presence::Here(there)) if there.kind != kind || there.name != target.name => {
                Standing::Absent
            }
            Some(Presence::Here(there)) if there.namespace != namespace => Standing::WrongNamespace,
            Some(Presence::Here(there)) => Standing::of_owner(there),
            Some(Presence::Gone) => Standing::Absent,
            Some(Presence::Unseen) | None => self.asked(Identity {
                kind,
                namespace,
                name: target.name.clone(),
                uid: target.uid.clone(),
            }),
        }
    }

    fn asked(&self, owner: Identity) -> Standing {
        match self.looks.get(&owner) {
            Some(Look::Found) => Standing::Stays,
            Some(Look::Absent) => Standing::Absent,
            Some(Look::Asking | Look::AskAgain { .. }) => Standing::Asked,
            None => Standing::NotAsked(owner),
        }
    }
}

impl Standing {
    fn of_owner(owner: &Object) -> Self {
        if owner.meta.leaves_dependents() {
            Self::LetsGo
        } else if owner.meta.waits_for_dependents() {
            Self::Waits
        } else {
            Self::Stays
        }
    }

    /// The owner is there, but not for long.
    fn is_leaving(&self) -> bool {
        matches!(self, Self::Waits | Self::LetsGo)
    }

    fn look(self) -> Option<Action> {
        match self {
            Self::NotAsked(owner) => Some(Action::Look(owner)),
            _ => None,
        }
    }
}

fn delete(object: &Object, policy: Policy) -> Action {
    Action::Delete {
        object: object.identity(),
        version: object.meta.version.clone(),
        policy,
    }
}

fn keep_owners(
    object: &Object,
    standings: &[Standing],
    keep: impl Fn(&Standing) -> bool,
) -> Action {
    let owners = object.meta.owners.iter().zip(standings);
    let kept = owners.filter(|(_, standing)| keep(standing));
    set_owners(object, kept.map(|(owner, _)| owner.clone()).collect())
}

fn unblock(object: &Object) -> Action {
    let unblocked = |owner: &Owner| Owner {
        block: Some(false),
        ..owner.clone()
    };
    set_owners(object, object.meta.owners.iter().map(unblocked).collect())
}

fn set_owners(object: &Object, owners: Vec<Owner>) -> Action {
    Action::SetOwners {
        object: object.identity(),
        version: object.meta.version.clone(),
        owners,
    }
}

fn without_finalizer(object: &Object, finalizer: &str) -> Action {
    let kept = object.meta.finalizers.iter();
    Action::SetFinalizers {
        object: object.identity(),
        version: object.meta.version.clone(),
        finalizers: kept.filter(|held| ***held != *finalizer).cloned().collect(),
    }
}

fn tell_wrong_namespaces(object: &Object, standings: &[Standing]) -> Vec<Action> {
    let owners = object.meta.owners.iter().zip(standings);
    let wrong = owners.filter(|(_, standing)| **standing == Standing::WrongNamespace);
    wrong
        .map(|(owner, _)| Action::TellWrongNamespace {
            object: object.identity(),
            owner: owner.clone(),
        })
        .collect()
}
