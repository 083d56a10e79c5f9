//! Metadata that all workload objects share, and conditions.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;
use sealane_objects::ObjectName;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::action::Kind;
use crate::facts::{Controller, controller_of};

/// `.metadata`, as far as controllers read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub kind: Kind,
    pub name: ObjectName,
    pub uid: String,
    pub version: String,
    pub generation: i64,
    pub created: Option<Timestamp>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub controller: Option<Controller>,
    pub deleting: bool,
}

impl Head {
    pub fn of(kind: Kind, meta: ObjectMeta) -> Self {
        Self {
            kind,
            name: ObjectName::new(
                meta.namespace.unwrap_or_default(),
                meta.name.unwrap_or_default(),
            ),
            uid: meta.uid.unwrap_or_default(),
            version: meta.resource_version.unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            created: meta.creation_timestamp.map(|time| time.0),
            labels: meta.labels.unwrap_or_default(),
            annotations: meta.annotations.unwrap_or_default(),
            controller: controller_of(meta.owner_references.as_deref()),
            deleting: meta.deletion_timestamp.is_some(),
        }
    }

    pub fn is_controlled_by(&self, uid: &str) -> bool {
        self.controller.as_ref().is_some_and(|c| c.uid == uid)
    }

    /// The reference by which it owns what it keeps.
    pub fn reference(&self) -> Value {
        json!({
            "apiVersion": self.kind.api_version(),
            "kind": self.kind.to_string(),
            "name": self.name.name,
            "uid": self.uid,
            "controller": true,
            "blockOwnerDeletion": true,
        })
    }
}

/// An entry of `.status.conditions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_probe_time: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// The condition of a type.
pub fn condition<'a>(all: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    all.iter().find(|condition| condition.kind == kind)
}

/// A merge patch that turns the status `old` into `new`; none when they are the same.
///
/// Numbers that are zero are left out of a status, so what is left out now and was not before is removed.
pub fn status_patch<S: Serialize>(head: &Head, old: &S, new: &S) -> Option<Value> {
    let old = serde_json::to_value(old).unwrap_or_default();
    let new = serde_json::to_value(new).unwrap_or_default();
    if old == new {
        return None;
    }
    let mut status = new;
    for (field, _) in old.as_object().into_iter().flatten() {
        if status.get(field).is_none() {
            status[field] = Value::Null;
        }
    }
    Some(json!({"metadata": {"uid": head.uid}, "status": status}))
}

/// A merge patch that turns the status `old` into `new`, in that very version of its object; none when
/// they are the same.
///
/// For statuses that others write too, or that would be wrong if they were made from an older one.
pub fn status_change<S: Serialize>(head: &Head, old: &S, new: &S) -> Option<Value> {
    let old = serde_json::to_value(old).unwrap_or_default();
    let new = serde_json::to_value(new).unwrap_or_default();
    let change = merge_patch(&old, &new)?;
    let this = json!({"uid": head.uid, "resourceVersion": head.version});
    Some(json!({"metadata": this, "status": change}))
}

/// RFC 7386.
fn merge_patch(old: &Value, new: &Value) -> Option<Value> {
    if old == new {
        return None;
    }
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        return Some(new.clone());
    };
    let mut changes = Map::new();
    for (field, value) in after {
        let change = match before.get(field) {
            Some(before) => merge_patch(before, value),
            None => Some(value.clone()),
        };
        changes.extend(change.map(|change| (field.clone(), change)));
    }
    let gone = before.keys().filter(|field| !after.contains_key(*field));
    changes.extend(gone.map(|field| (field.clone(), Value::Null)));
    Some(Value::Object(changes))
}

/// For `skip_serializing_if`.
pub fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}
