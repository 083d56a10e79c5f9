//! How long a pod bears a node that is not ready or cannot be reached, when it does not say so
//! itself: Kubernetes' admission plugin `DefaultTolerationSeconds`, on creation and on updates.

use serde_json::{Value, json};

use crate::object::elements_mut;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// The seconds that pods get.
#[derive(Clone, Copy, Debug)]
pub struct DefaultTolerations {
    /// On a node that says that it is not ready.
    pub not_ready_seconds: i64,
    /// On a node that says nothing.
    pub unreachable_seconds: i64,
}

impl DefaultTolerations {
    /// Adds the tolerations that a pod has no word about.
    pub fn admit(&self, pod: &mut Value) {
        let spec = &mut pod["spec"];
        if !spec.is_object() {
            return;
        }
        if !spec["tolerations"].is_array() {
            spec["tolerations"] = json!([]);
        }
        for (key, seconds) in [
            (NOT_READY, self.not_ready_seconds),
            (UNREACHABLE, self.unreachable_seconds),
        ] {
            let is_said = elements_mut(spec, "tolerations").any(|toleration| says(toleration, key));
            if let Some(tolerations) = spec["tolerations"].as_array_mut().filter(|_| !is_said) {
                tolerations.push(json!({
                    "key": key, "operator": "Exists", "effect": "NoExecute",
                    "tolerationSeconds": seconds,
                }));
            }
        }
    }
}

/// Whether a toleration is about this taint.
fn says(toleration: &Value, taint: &str) -> bool {
    let key = toleration["key"].as_str().unwrap_or("");
    let effect = toleration["effect"].as_str().unwrap_or("");
    (key.is_empty() || key == taint) && (effect.is_empty() || effect == "NoExecute")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(tolerations: Value) -> Vec<(String, Option<i64>)> {
        let mut pod = json!({"spec": {"tolerations": tolerations}});
        let defaults = DefaultTolerations {
            not_ready_seconds: 300,
            unreachable_seconds: 5,
        };
        defaults.admit(&mut pod);
        let once = pod.clone();
        defaults.admit(&mut pod);
        assert_eq!(pod, once);
        let all = pod["spec"]["tolerations"].as_array().unwrap().iter();
        let word = |t: &Value| {
            t["key"]
                .as_str()
                .unwrap_or("")
                .replace("node.kubernetes.io/", "")
        };
        all.map(|t| (word(t), t["tolerationSeconds"].as_i64()))
            .collect()
    }

    #[test]
    fn a_pod_gets_what_it_has_no_word_about() {
        let word = |key: &str, seconds| (key.to_owned(), seconds);
        let both = [word("not-ready", Some(300)), word("unreachable", Some(5))];
        assert_eq!(seconds(Value::Null), both);
        let own = json!([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 9}]);
        assert_eq!(
            seconds(own),
            [word("unreachable", Some(9)), word("not-ready", Some(300))]
        );
        assert_eq!(seconds(json!([{"operator": "Exists"}])), [word("", None)]);
        let of_scheduling =
            json!([{"key": NOT_READY, "operator": "Exists", "effect": "NoSchedule"}]);
        assert_eq!(seconds(of_scheduling).len(), 3);
    }
}
