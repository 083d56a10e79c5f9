//! What `kubectl apply` without `--server-side` left: the last configuration, in an annotation.

use serde_json::{Map, Value};

use crate::{FieldSet, Of, Shape, compare, fields};

/// The annotation.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The one manager that moves from the one way to the other.
const KUBECTL: &str = "kubectl";
/// What all annotations of an object may take together.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// The fields whose conflicts are none for this manager: those of the last configuration that
/// still have its values.
pub(crate) fn allowed<'a, S: Shape<'a>>(
    of: Of<S>,
    live: &Value,
    manager: &str,
    api_version: &str,
) -> FieldSet {
    let last = Some(live)
        .filter(|_| manager == KUBECTL)
        .and_then(|live| live["metadata"]["annotations"][LAST_APPLIED].as_str())
        .and_then(|last| serde_json::from_str::<Value>(last).ok())
        .filter(|last| last["apiVersion"] == api_version);
    let Some(last) = last else {
        return FieldSet::default();
    };
    let change = compare(of, &last, live);
    let unchanged = fields(of, &last);
    [change.modified, change.added, change.removed]
        .iter()
        .fold(unchanged, |left, gone| left.difference(gone))
}

/// Writes the configuration into the annotation, if the object has one.
pub(crate) fn renew(object: &mut Value, config: &Value, manager: &str) {
    let annotations = &object["metadata"]["annotations"];
    let has = annotations[LAST_APPLIED]
        .as_str()
        .is_some_and(|last| !last.is_empty());
    if manager != KUBECTL || !has {
        return;
    }
    let mut config = config.clone();
    if let Some(annotations) = annotations_mut(&mut config) {
        annotations.remove(LAST_APPLIED);
    }
    let Some(annotations) = annotations_mut(object) else {
        return;
    };
    annotations.insert(LAST_APPLIED.into(), format!("{config}\n").into());
    let size: usize = annotations
        .iter()
        .map(|(name, value)| name.len() + value.as_str().map_or(0, str::len))
        .sum();
    if size > ANNOTATIONS_MAX {
        annotations.remove(LAST_APPLIED);
    }
}

fn annotations_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object.pointer_mut("/metadata/annotations")?.as_object_mut()
}
