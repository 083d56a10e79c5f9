//! What a pod as a whole asks for.

use serde_json::Value;

use crate::amounts::Amounts;

/// A list of an object; empty if there is none.
pub fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

/// A text of an object; empty if there is none.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// All containers of a pod, those that run first included.
pub fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let spec = &pod["spec"];
    items(&spec["containers"])
        .iter()
        .chain(items(&spec["initContainers"]))
}

/// `requests` or `limits` of a pod: those of its containers together, or that of an init container
/// with the sidecars before it, if that is more; and the overhead. What the pod says for itself goes
/// before (KEP-753, KEP-2837).
pub fn total(pod: &Value, part: &str) -> Amounts {
    let spec = &pod["spec"];
    let of = |container: &Value| Amounts::of(&container["resources"][part]);
    let mut total = Amounts::default();
    for container in items(&spec["containers"]) {
        total.add_all(&of(container));
    }
    let (mut sidecars, mut most) = (Amounts::default(), Amounts::default());
    for container in items(&spec["initContainers"]) {
        if container["restartPolicy"] == "Always" {
            sidecars.add_all(&of(container));
            most.raise_to(&sidecars);
        } else {
            let mut with = sidecars.clone();
            with.add_all(&of(container));
            most.raise_to(&with);
        }
    }
    total.add_all(&sidecars);
    total.raise_to(&most);
    for (name, amount) in Amounts::of(&spec["resources"][part]).0 {
        total.0.insert(name, amount);
    }
    let overhead = Amounts::of(&spec["overhead"]);
    match part {
        "requests" => total.add_all(&overhead),
        // An overhead does not make a limit where there is none.
        _ => total.add_all(&overhead.within(&total)),
    }
    total
}

/// Whether a pod takes nothing of its node any longer: it has ended, or it should have been gone by
/// `now`, in seconds since 1970, by the time that `deadline` reads out of its deletion timestamp.
pub fn is_over(pod: &Value, deadline: impl Fn(&str) -> Option<i64>, now_seconds: i64) -> bool {
    let phase = text(&pod["status"]["phase"]);
    let metadata = &pod["metadata"];
    let late = deadline(text(&metadata["deletionTimestamp"]));
    ["Failed", "Succeeded"].contains(&phase) || late.is_some_and(|late| late < now_seconds)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_asks_for_the_most_that_it_needs_at_one_time() {
        let one = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}, "limits": {"memory": "1Mi"}}});
        let side = |cpu: &str| {
            let mut container = one(cpu);
            container["restartPolicy"] = "Always".into();
            container
        };
        let (none, a) = (json!([]), json!([one("100m"), one("300m")]));
        for (init, overhead, expected) in [
            (none.clone(), json!({}), "cpu=400m"),
            (json!([one("350m")]), json!({}), "cpu=400m"),
            (json!([one("1"), one("2")]), json!({}), "cpu=2"),
            (json!([side("100m")]), json!({}), "cpu=500m"),
            (json!([side("100m"), one("1")]), json!({}), "cpu=1100m"),
            (json!([one("1"), side("100m")]), json!({}), "cpu=1"),
            (
                none,
                json!({"cpu": "50m", "memory": "1Mi"}),
                "cpu=450m,memory=1Mi",
            ),
        ] {
            let pod =
                json!({"spec": {"containers": a, "initContainers": init, "overhead": overhead}});
            assert_eq!(total(&pod, "requests").to_string(), expected, "{pod}");
        }
        let pod = json!({"spec": {"containers": a, "overhead": {"cpu": "1"}, "resources": {"limits": {"memory": "5Mi"}}}});
        assert_eq!(total(&pod, "limits").to_string(), "memory=5Mi");
    }

    #[test]
    fn a_pod_is_over_when_it_has_ended_or_should_be_gone() {
        let deadline = |text: &str| text.parse().ok();
        let pod = |phase: &str, until: &str| json!({"metadata": {"deletionTimestamp": until}, "status": {"phase": phase}});
        for (pod, expected) in [
            (pod("Running", ""), false),
            (pod("Succeeded", ""), true),
            (pod("Failed", ""), true),
            (pod("Running", "99"), true),
            (pod("Running", "100"), false),
        ] {
            assert_eq!(is_over(&pod, deadline, 100), expected, "{pod}");
        }
    }
}
