//! What the collector knows of an object: its metadata, cut down.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;
use serde_json::{Value, json};

use super::kinds::KindId;

/// The finalizer of an owner that waits for its dependents to go first.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an owner whose dependents are to stay.
pub const ORPHAN: &str = "orphan";

/// `.metadata.uid`. Owner references are by uid, since names come back.
pub type Uid = Arc<str>;

/// An object as a watch shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    pub uid: Uid,
    pub version: Box<str>,
    /// `.metadata.deletionTimestamp` is set.
    pub deleting: bool,
    pub finalizers: Box<[Box<str>]>,
    pub owners: Vec<Owner>,
}

/// An owner reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub target: Arc<Target>,
    pub controller: Option<bool>,
    /// `blockOwnerDeletion`: the owner, deleted in the foreground, waits for this dependent.
    pub block: Option<bool>,
}

/// What an owner reference points to; shared by all dependents of one owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub api_version: Box<str>,
    pub kind: Box<str>,
    pub name: Box<str>,
    pub uid: Uid,
}

/// One object and no other, even if its name is used again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pub kind: KindId,
    /// Empty for a cluster-wide object.
    pub namespace: Arc<str>,
    pub name: Box<str>,
    pub uid: Uid,
}

impl Meta {
    pub fn of(meta: ObjectMeta) -> Self {
        let owners = meta.owner_references.unwrap_or_default();
        let finalizers = meta.finalizers.unwrap_or_default();
        Self {
            uid: meta.uid.unwrap_or_default().into(),
            version: meta.resource_version.unwrap_or_default().into(),
            deleting: meta.deletion_timestamp.is_some(),
            finalizers: finalizers.into_iter().map(Box::from).collect(),
            owners: owners.into_iter().map(Owner::of).collect(),
        }
    }

    /// It goes when its dependents are gone.
    pub fn waits_for_dependents(&self) -> bool {
        self.deleting && self.has(FOREGROUND)
    }

    /// It goes when its dependents have let go of it.
    pub fn leaves_dependents(&self) -> bool {
        self.deleting && self.has(ORPHAN)
    }

    pub fn has(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|held| **held == *finalizer)
    }
}

impl Owner {
    fn of(reference: OwnerReference) -> Self {
        Self {
            target: Arc::new(Target {
                api_version: reference.api_version.into(),
                kind: reference.kind.into(),
                name: reference.name.into(),
                uid: reference.uid.into(),
            }),
            controller: reference.controller,
            block: reference.block_owner_deletion,
        }
    }

    /// As it is written into an object.
    pub fn reference(&self) -> Value {
        let mut reference = json!({
            "apiVersion": self.target.api_version,
            "kind": self.target.kind,
            "name": self.target.name,
            "uid": &*self.target.uid,
        });
        if let Some(controller) = self.controller {
            reference["controller"] = json!(controller);
        }
        if let Some(block) = self.block {
            reference["blockOwnerDeletion"] = json!(block);
        }
        reference
    }
}
