//! LimitRanges: what pods get that say nothing, and what they may not ask for.

use serde_json::{Value, json};

use sealane_objects::Quantity;

use crate::amounts::Amounts;
use crate::pod::{items, text, total};

/// The annotation that says what a pod was given.
pub const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Gives the containers of a new pod the requests and limits that they do not say. What a container
/// says as a limit only is its request, too.
pub fn fill(pod: &mut Value, ranges: &[Value]) {
    for range in ranges {
        let (mut requests, mut limits) = (Amounts::default(), Amounts::default());
        for limit in items(&range["spec"]["limits"])
            .iter()
            .filter(|one| one["type"] == "Container")
        {
            requests.0.extend(Amounts::of(&limit["defaultRequest"]).0);
            limits.0.extend(Amounts::of(&limit["default"]).0);
        }
        let mut said = Vec::new();
        for (part, called) in [
            ("containers", "container"),
            ("initContainers", "init container"),
        ] {
            let Some(containers) = pod["spec"].get_mut(part).and_then(Value::as_array_mut) else {
                continue;
            };
            for container in containers {
                let name = text(&container["name"]).to_owned();
                let own = container["resources"]["limits"].clone();
                let requested = give(container, "requests", &requests, &own);
                let limited = give(container, "limits", &limits, &Value::Null);
                for (what, given) in [("request", requested), ("limit", limited)] {
                    if !given.is_empty() {
                        said.push(format!("{} {what} for {called} {name}", given.join(", ")));
                    }
                }
            }
        }
        if !said.is_empty() {
            let said = format!("LimitRanger plugin set: {}", said.join("; "));
            annotate(pod, said);
        }
    }
}

/// Gives what is missing; `own` has amounts that stand in its place. The names of what was given.
fn give(container: &mut Value, part: &str, defaults: &Amounts, own: &Value) -> Vec<String> {
    let mut given = Vec::new();
    for (name, amount) in &defaults.0 {
        if !container["resources"][part][name].is_null() || !own[name].is_null() {
            continue;
        }
        container["resources"][part][name] = amount.to_string().into();
        given.push(name.clone());
    }
    given
}

fn annotate(pod: &mut Value, said: String) {
    if !pod["metadata"]["annotations"].is_object() {
        pod["metadata"]["annotations"] = json!({});
    }
    pod["metadata"]["annotations"][ANNOTATION] = said.into();
}

/// Everything that a complete pod asks for and may not.
pub fn check(pod: &Value, ranges: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    let limits = ranges
        .iter()
        .flat_map(|range| items(&range["spec"]["limits"]));
    for limit in limits {
        let kind = text(&limit["type"]);
        let mut judge = |requests: &Amounts, limits: &Amounts| {
            wrong.extend(
                Judge {
                    kind,
                    requests,
                    limits,
                }
                .judge(limit),
            );
        };
        match kind {
            "Container" => {
                for container in crate::pod::containers(pod) {
                    let of = |part: &str| Amounts::of(&container["resources"][part]);
                    judge(&of("requests"), &of("limits"));
                }
            }
            "Pod" => judge(&total(pod, "requests"), &total(pod, "limits")),
            _ => {}
        }
    }
    wrong
}

/// What one container or pod asks for.
struct Judge<'a> {
    kind: &'a str,
    requests: &'a Amounts,
    limits: &'a Amounts,
}

impl Judge<'_> {
    fn judge(&self, limit: &Value) -> Vec<String> {
        let (min, max) = (Amounts::of(&limit["min"]), Amounts::of(&limit["max"]));
        let ratio = Amounts::of(&limit["maxLimitRequestRatio"]);
        let min = min
            .0
            .iter()
            .filter_map(|(name, bound)| self.min(name, *bound));
        let max = max
            .0
            .iter()
            .filter_map(|(name, bound)| self.max(name, *bound));
        let ratio = ratio
            .0
            .iter()
            .filter_map(|(name, bound)| self.ratio(name, *bound));
        min.chain(max).chain(ratio).collect()
    }

    fn min(&self, name: &str, bound: Quantity) -> Option<String> {
        let kind = self.kind;
        let is = format!("minimum {name} usage per {kind} is {bound}");
        let low = |amount: &Quantity| amount.milli < bound.milli;
        let Some(request) = self.requests.get(name) else {
            return Some(format!("{is}.  No request is specified"));
        };
        if low(&request) {
            return Some(format!("{is}, but request is {request}"));
        }
        let limit = self.limits.get(name).filter(low)?;
        Some(format!("{is}, but limit is {limit}"))
    }

    fn max(&self, name: &str, bound: Quantity) -> Option<String> {
        let kind = self.kind;
        let is = format!("maximum {name} usage per {kind} is {bound}");
        let high = |amount: &Quantity| amount.milli > bound.milli;
        let Some(limit) = self.limits.get(name) else {
            return Some(format!("{is}.  No limit is specified"));
        };
        if high(&limit) {
            return Some(format!("{is}, but limit is {limit}"));
        }
        let request = self.requests.get(name).filter(high)?;
        Some(format!("{is}, but request is {request}"))
    }

    fn ratio(&self, name: &str, bound: Quantity) -> Option<String> {
        let kind = self.kind;
        let is = format!("{name} max limit to request ratio per {kind} is {bound}");
        let (request, limit) = (self.requests.milli(name), self.limits.milli(name));
        if request == 0 {
            return Some(format!("{is}, but no request is specified or request is 0"));
        }
        if limit == 0 {
            return Some(format!("{is}, but no limit is specified or limit is 0"));
        }
        let high = limit.saturating_mul(1000) > bound.milli.saturating_mul(request);
        high.then(|| {
            let ratio = limit as f64 / request as f64;
            format!("{is}, but provided ratio is {ratio:.6}")
        })
    }
}

/// Completes the defaults of a LimitRange itself: a limit is that of `max`, a request that of the
/// limit, or of `min`.
pub fn complete(range: &mut Value) {
    let Some(limits) = range["spec"]
        .get_mut("limits")
        .and_then(Value::as_array_mut)
    else {
        return;
    };
    for limit in limits
        .iter_mut()
        .filter(|limit| limit["type"] == "Container")
    {
        for (to, from) in [
            ("default", "max"),
            ("defaultRequest", "default"),
            ("defaultRequest", "min"),
        ] {
            for (name, amount) in limit[from].as_object().cloned().unwrap_or_default() {
                if limit[to][&name].is_null() {
                    limit[to][&name] = amount;
                }
            }
        }
        if let Some(limit) = limit.as_object_mut() {
            limit.retain(|_, value| !value.is_null());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(limits: Value) -> Value {
        let mut range = json!({"spec": {"limits": [limits]}});
        complete(&mut range);
        range
    }

    fn pod(resources: Value) -> Value {
        json!({"metadata": {}, "spec": {"containers": [{"name": "c", "resources": resources}]}})
    }

    #[test]
    fn containers_get_what_they_do_not_say() {
        let range = range(
            json!({"type": "Container", "default": {"cpu": "1", "memory": "1Gi"}, "defaultRequest": {"cpu": "500m"}}),
        );
        for (own, expected, said) in [
            (
                json!({}),
                json!({"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}),
                "LimitRanger plugin set: cpu, memory request for container c; cpu, memory limit for container c",
            ),
            (
                json!({"limits": {"cpu": "2"}}),
                json!({"requests": {"memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}}),
                "LimitRanger plugin set: memory request for container c; memory limit for container c",
            ),
            (
                json!({"limits": {"cpu": "2", "memory": "1"}}),
                json!({"limits": {"cpu": "2", "memory": "1"}}),
                "",
            ),
        ] {
            let mut pod = pod(own);
            fill(&mut pod, std::slice::from_ref(&range));
            assert_eq!(pod["spec"]["containers"][0]["resources"], expected);
            assert_eq!(text(&pod["metadata"]["annotations"][ANNOTATION]), said);
        }
    }

    #[test]
    fn a_range_is_completed_from_its_bounds() {
        let range = range(
            json!({"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1", "memory": "1Mi"}}),
        );
        let expected = json!({"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1", "memory": "1Mi"},
            "default": {"cpu": "2"}, "defaultRequest": {"cpu": "2", "memory": "1Mi"}});
        assert_eq!(range["spec"]["limits"][0], expected);
    }

    #[test]
    fn what_is_out_of_bounds_is_said_in_known_words() {
        let both = |request: &str, limit: &str| json!({"requests": {"cpu": request}, "limits": {"cpu": limit}});
        let plain = |limit: Value| json!({"spec": {"limits": [limit]}});
        let container =
            |part: &str, bound: &str| plain(json!({"type": "Container", part: {"cpu": bound}}));
        for (range, resources, expected) in [
            (container("min", "100m"), both("100m", "1"), vec![]),
            (
                container("min", "100m"),
                both("50m", "1"),
                vec!["minimum cpu usage per Container is 100m, but request is 50m"],
            ),
            (
                container("min", "100m"),
                json!({}),
                vec!["minimum cpu usage per Container is 100m.  No request is specified"],
            ),
            (container("max", "500m"), both("100m", "500m"), vec![]),
            (
                container("max", "500m"),
                both("100m", "1"),
                vec!["maximum cpu usage per Container is 500m, but limit is 1"],
            ),
            (
                container("max", "500m"),
                json!({}),
                vec!["maximum cpu usage per Container is 500m.  No limit is specified"],
            ),
            (
                container("maxLimitRequestRatio", "2"),
                both("1", "2"),
                vec![],
            ),
            (
                container("maxLimitRequestRatio", "2"),
                both("1", "2500m"),
                vec![
                    "cpu max limit to request ratio per Container is 2, but provided ratio is 2.500000",
                ],
            ),
            (
                container("maxLimitRequestRatio", "2"),
                json!({}),
                vec![
                    "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0",
                ],
            ),
            (
                plain(json!({"type": "Pod", "max": {"cpu": "1"}})),
                both("1", "2"),
                vec!["maximum cpu usage per Pod is 1, but limit is 2"],
            ),
        ] {
            assert_eq!(check(&pod(resources), &[range]), expected);
        }
    }
}
