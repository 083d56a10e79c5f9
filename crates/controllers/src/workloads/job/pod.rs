//! The pods of a Job: what they are called, and what they know of their part of the work.

use serde_json::{Value, json};

use super::plan::New;
use super::spec::Job;
use crate::facts::job::{FAILURES, IGNORED, INDEX, TRACKING};
use crate::workloads::pod::LONGEST_START;

impl Job {
    /// What the name of such a pod begins with: `NAME-` or `NAME-INDEX-`.
    pub fn pod_start(&self, new: New) -> String {
        let end = match new.index {
            Some(index) => format!("-{index}-"),
            None => "-".to_owned(),
        };
        let room = LONGEST_START - end.len();
        let name: String = self.head.name.name.chars().take(room).collect();
        name + &end
    }

    /// The index in the name of a pod that is being made.
    pub fn index_in(&self, pod: &str) -> Option<u32> {
        let (rest, _) = pod.rsplit_once('-').filter(|_| self.indexed)?;
        rest.rsplit_once('-')?.1.parse().ok()
    }

    /// The template of such a pod.
    pub fn pod_template(&self, new: New) -> Value {
        let mut template = self.template.clone();
        let metadata = &mut template["metadata"];
        push(&mut metadata["finalizers"], json!(TRACKING));
        let Some(index) = new.index else {
            return template;
        };
        metadata["labels"][INDEX] = json!(index.to_string());
        metadata["annotations"][INDEX] = json!(index.to_string());
        if let Some((failures, ignored)) = new.failures {
            metadata["annotations"][FAILURES] = json!(failures.to_string());
            if ignored > 0 {
                metadata["annotations"][IGNORED] = json!(ignored.to_string());
            }
        }
        let spec = &mut template["spec"];
        spec["hostname"] = json!(format!("{}-{index}", self.head.name.name));
        for part in ["initContainers", "containers"] {
            let containers = spec.get_mut(part).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                tell_index(container);
            }
        }
        template
    }
}

/// The variable `JOB_COMPLETION_INDEX`, unless the container has one of its own.
fn tell_index(container: &mut Value) {
    const NAME: &str = "JOB_COMPLETION_INDEX";
    let mut own = container["env"].as_array().into_iter().flatten();
    if own.any(|variable| variable["name"] == NAME) {
        return;
    }
    let path = format!("metadata.labels['{INDEX}']");
    let source = json!({"fieldRef": {"apiVersion": "v1", "fieldPath": path}});
    let variable = json!({"name": NAME, "valueFrom": source});
    push(&mut container["env"], variable);
}

/// Adds to a list that may be absent.
fn push(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(list) => list.push(item),
        None => *list = json!([item]),
    }
}
