//! What a definition is told about itself.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{CLEANUP, names::Conflict};
use crate::object;

/// Reason and message of names that were accepted.
pub const NO_CONFLICTS: (&str, &str) = ("NoConflicts", "no conflicts found");
/// Reason and message of a definition that is served.
pub const ESTABLISHED: (&str, &str) = (
    "InitialNamesAccepted",
    "the initial names have been accepted",
);

/// Sets a condition of a definition's status. Its time is that of the last change of what it says.
pub fn set_condition(
    status: &mut Value,
    name: &str,
    is: bool,
    (reason, message): (&str, &str),
    now: Timestamp,
) {
    let is = if is { "True" } else { "False" };
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(conditions) = status["conditions"].as_array_mut() else {
        return;
    };
    let mut condition = json!({
        "type": name, "status": is, "reason": reason, "message": message,
        "lastTransitionTime": object::time(now),
    });
    match conditions.iter_mut().find(|one| one["type"] == name) {
        None => conditions.push(condition),
        Some(before) => {
            if before["status"] == is {
                condition["lastTransitionTime"] = before["lastTransitionTime"].take();
            }
            *before = condition;
        }
    }
}

/// Says whether the names of a definition were accepted.
pub fn set_names_accepted(status: &mut Value, conflict: Option<&Conflict>, now: Timestamp) {
    let (is, said) = match conflict {
        None => (true, NO_CONFLICTS),
        Some(conflict) => (false, (conflict.reason, conflict.message.as_str())),
    };
    set_condition(status, "NamesAccepted", is, said, now);
}

/// Says whether a definition is served, or why it is not.
pub fn set_established(status: &mut Value, why_not: Option<(&str, &str)>, now: Timestamp) {
    let said = why_not.unwrap_or(ESTABLISHED);
    set_condition(status, "Established", why_not.is_none(), said, now);
}

/// Has a definition that is to go wait until its objects are gone.
pub fn wait_for_objects(definition: &mut Value, now: Timestamp) {
    let metadata = object::metadata_mut(definition);
    let finalizers = metadata.entry("finalizers").or_insert_with(|| json!([]));
    if let Some(finalizers) = finalizers.as_array_mut()
        && !finalizers.contains(&json!(CLEANUP))
    {
        finalizers.push(CLEANUP.into());
    }
    let said = (
        "InstanceDeletionPending",
        "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
    );
    set_condition(&mut definition["status"], "Terminating", true, said, now);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_time_until_it_changes() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let mut status = json!({});
        let conflict = Conflict {
            reason: "PluralConflict",
            message: "\"x\" is already in use".into(),
        };
        set_names_accepted(&mut status, Some(&conflict), at(1));
        set_established(
            &mut status,
            Some(("NotAccepted", "not all names are accepted")),
            at(1),
        );
        set_names_accepted(&mut status, Some(&conflict), at(2));
        assert_eq!(
            status["conditions"][0],
            json!({
                "type": "NamesAccepted", "status": "False", "reason": "PluralConflict",
                "message": "\"x\" is already in use", "lastTransitionTime": "1970-01-01T00:00:01Z",
            })
        );
        set_names_accepted(&mut status, None, at(3));
        set_established(&mut status, None, at(3));
        let times: Vec<_> = status["conditions"].as_array().unwrap().iter().collect();
        assert_eq!(times.len(), 2);
        assert!(times.iter().all(|one| {
            one["status"] == "True" && one["lastTransitionTime"] == "1970-01-01T00:00:03Z"
        }));
    }
}
