//! How important pods are: what a pod gets from its PriorityClass when it is made, as Kubernetes'
//! admission plugin `Priority` gives it, and that there is one default class at most.

use serde_json::{Value, json};

use crate::{
    kinds::{POD, PRIORITY_CLASS},
    object,
    server::Server,
    status::ApiError,
};

/// What pods that name no class have, where there is no default one.
const DEFAULT_POLICY: &str = "PreemptLowerPriority";

/// Gives a new pod the number of its class; one that names none has the default class, if there is one.
///
/// # Errors
///
/// 403 when there is no such class, or the pod says another number than its class.
pub fn admit(server: &Server, pod: &mut Value) -> Result<(), ApiError> {
    if !pod["spec"].is_object() {
        return Ok(());
    }
    let class = match pod["spec"]["priorityClassName"].as_str().unwrap_or("") {
        "" => default_class(server),
        name => Some(named(server, name).ok_or_else(|| {
            let why = format!("no PriorityClass with name {name} was found");
            refuse(pod, &why)
        })?),
    };
    give(&mut pod["spec"], class.as_ref()).map_err(|why| refuse(pod, &why))
}

/// An update that says nothing of a pod's priority leaves it.
pub fn keep(new: &mut Value, old: &Value) {
    for field in ["priority", "preemptionPolicy"] {
        if new["spec"].is_object() && new["spec"][field].is_null() && !old["spec"][field].is_null()
        {
            new["spec"][field] = old["spec"][field].clone();
        }
    }
}

/// Refuses a second default class.
///
/// # Errors
///
/// 403, naming the other one.
pub fn check_default(server: &Server, class: &Value) -> Result<(), ApiError> {
    if !is_default(class) {
        return Ok(());
    }
    let name = object::name(class);
    let others = all(server).filter(is_default);
    let mut others = others.filter(|other| object::name(other) != name);
    let Some(other) = others.next() else {
        return Ok(());
    };
    let why = format!(
        "PriorityClass {} is already marked as default. Only one default can exist",
        object::name(&other)
    );
    Err(ApiError::forbidden(&PRIORITY_CLASS, name, why))
}

/// Pure: what the class has for the pod.
fn give(spec: &mut Value, class: Option<&Value>) -> Result<(), String> {
    let of = |field: &str| class.map_or(Value::Null, |class| class[field].clone());
    let priority = of("value").as_i64().unwrap_or(0);
    let policy = of("preemptionPolicy");
    let policy = policy.as_str().unwrap_or(DEFAULT_POLICY);
    let own = spec["priority"].as_i64();
    if let Some(own) = own.filter(|own| *own != priority) {
        return Err(format!(
            "the integer value of priority ({own}) must not be provided in pod spec; priority \
             admission controller computed {priority} from the given PriorityClass name"
        ));
    }
    let own = spec["preemptionPolicy"].as_str();
    if let Some(own) = own.filter(|own| *own != policy) {
        return Err(format!(
            "the string value of PreemptionPolicy ({own}) must not be provided in pod spec; \
             priority admission controller computed {policy} from the given PriorityClass name"
        ));
    }
    if let Some(class) = class {
        spec["priorityClassName"] = object::name(class).into();
    }
    spec["priority"] = json!(priority);
    spec["preemptionPolicy"] = policy.into();
    Ok(())
}

fn is_default(class: &Value) -> bool {
    class["globalDefault"] == json!(true)
}

fn named(server: &Server, name: &str) -> Option<Value> {
    let entry = server.store.get(&PRIORITY_CLASS.key("", name))?;
    serde_json::from_slice(&entry.object.unpack()).ok()
}

/// Of several, which a race may leave, the one with the lowest value.
fn default_class(server: &Server) -> Option<Value> {
    let value = |class: &Value| class["value"].as_i64();
    all(server).filter(is_default).min_by_key(value)
}

fn all(server: &Server) -> impl Iterator<Item = Value> + use<> {
    let listing = server.store.list(&PRIORITY_CLASS.bucket(), None, |_| true);
    let entries = listing.entries.into_iter();
    entries.filter_map(|entry| serde_json::from_slice(&entry.object.unpack()).ok())
}

fn refuse(pod: &Value, why: &str) -> ApiError {
    let name = match object::name(pod) {
        "" => object::meta(pod, "generateName"),
        name => name,
    };
    ApiError::forbidden(&POD, name, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_gets_the_number_of_its_class_and_may_not_say_another() {
        let class =
            json!({"metadata": {"name": "high"}, "value": 1000, "preemptionPolicy": "Never"});
        let given = |mut spec: Value, class: Option<&Value>| give(&mut spec, class).map(|()| spec);
        assert_eq!(
            given(json!({}), Some(&class)),
            Ok(json!({"priorityClassName": "high", "priority": 1000, "preemptionPolicy": "Never"}))
        );
        assert_eq!(
            given(json!({"priority": 0}), None),
            Ok(json!({"priority": 0, "preemptionPolicy": "PreemptLowerPriority"}))
        );
        let refused = given(json!({"priority": 7}), Some(&class)).unwrap_err();
        assert!(refused.starts_with("the integer value of priority (7) must not be provided"));
        let refused = given(json!({"preemptionPolicy": "Never"}), None).unwrap_err();
        assert!(
            refused.contains("computed PreemptLowerPriority"),
            "{refused}"
        );
    }
}
