//! ControllerRevisions: what the template of a StatefulSet or DaemonSet was.

use std::sync::Arc;

use kube::api::DynamicObject;
use serde::Deserialize;
use serde_json::{Value, json};

use super::head::Head;
use super::pod::safe_text;
use super::replica_set::take;
use super::rollout::fnv;
use crate::action::Kind;

/// Label of a pod that says which revision it was made from.
pub const HASH_LABEL: &str = "controller-revision-hash";

/// A ControllerRevision.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    pub head: Head,
    pub revision: i64,
    pub template: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    template: Value,
}

impl Revision {
    pub fn of(mut object: DynamicObject) -> Self {
        let data: Data = take(&mut object.data, "data");
        let mut template = data.spec.template;
        if let Some(template) = template.as_object_mut() {
            template.remove("$patch");
        }
        Self {
            revision: take(&mut object.data, "revision"),
            template,
            head: Head::of(Kind::ControllerRevision, object.metadata),
        }
    }

    /// What pods carry in [`HASH_LABEL`]: its name.
    pub fn name(&self) -> &str {
        &self.head.name.name
    }

    /// The hash at the end of its name, as a DaemonSet's pods carry it.
    pub fn hash(&self) -> &str {
        self.name().rsplit('-').next().unwrap_or_default()
    }
}

/// All revisions of one owner.
pub struct History {
    /// Oldest first.
    all: Vec<Arc<Revision>>,
}

impl History {
    pub fn new(mut all: Vec<Arc<Revision>>) -> Self {
        all.sort_by(|a, b| (a.revision, a.name()).cmp(&(b.revision, b.name())));
        Self { all }
    }

    pub fn get(&self, name: &str) -> Option<&Arc<Revision>> {
        self.all.iter().find(|revision| revision.name() == name)
    }

    /// The latest revision with this template.
    pub fn of_template(&self, template: &Value) -> Option<&Arc<Revision>> {
        let mut same = self.all.iter().rev();
        same.find(|revision| revision.template == *template)
    }

    /// The number of the next revision.
    pub fn next(&self) -> i64 {
        self.all.last().map_or(0, |last| last.revision) + 1
    }

    /// Whether it is the one with the highest number.
    pub fn is_last(&self, revision: &Revision) -> bool {
        revision.revision + 1 == self.next()
    }

    /// Revisions that nobody uses, the oldest first, beyond the limit.
    pub fn surplus(&self, limit: usize, used: impl Fn(&Revision) -> bool) -> Vec<Arc<Revision>> {
        let unused: Vec<_> = self.all.iter().filter(|r| !used(r)).collect();
        let count = unused.len().saturating_sub(limit);
        unused.into_iter().take(count).cloned().collect()
    }
}

/// The name of the revision with this template.
pub fn name(owner: &Head, template: &Value, collisions: u32) -> String {
    let mut hash = fnv(0x811c_9dc5, template.to_string().as_bytes());
    if collisions > 0 {
        hash = fnv(hash, &collisions.to_le_bytes());
    }
    format!("{}-{}", owner.name.name, safe_text(hash))
}

/// A revision to be made. kubectl undoes a rollout by applying its data as a patch.
pub fn object(owner: &Head, template: &Value, name: &str, revision: i64) -> Value {
    let mut kept = template.clone();
    kept["$patch"] = json!("replace");
    let mut labels = template["metadata"]["labels"].clone();
    labels[HASH_LABEL] = json!(name.rsplit('-').next());
    json!({
        "apiVersion": Kind::ControllerRevision.api_version(),
        "kind": Kind::ControllerRevision.to_string(),
        "metadata": {
            "name": name,
            "namespace": owner.name.namespace,
            "labels": labels,
            "annotations": owner.annotations,
            "ownerReferences": [owner.reference()],
        },
        "data": {"spec": {"template": kept}},
        "revision": revision,
    })
}
