//! ClusterRoles that take in the rules of others, chosen by label (`aggregationRule`).
//!
//! The rules are put together when they are needed, and are not written into the object as a
//! controller of Kubernetes does: what is read from the API is what was applied.

use serde_json::Value;

use super::{Rule, policy::rules_of};
use crate::object;

/// The rules of a ClusterRole, with those that it takes in, and those that these take in.
pub fn rules(role: &Value, all: &[Value]) -> Vec<Rule> {
    let mut seen = vec![object::name(role)];
    let mut rules = rules_of(role);
    let mut open = vec![role];
    while let Some(taker) = open.pop() {
        let selectors = taker["aggregationRule"]["clusterRoleSelectors"].as_array();
        let selectors: Vec<&Value> = selectors.into_iter().flatten().collect();
        for other in all {
            let chosen = |selector: &&Value| selects(selector, &other["metadata"]["labels"]);
            if !selectors.iter().any(chosen) || seen.contains(&object::name(other)) {
                continue;
            }
            seen.push(object::name(other));
            rules.extend(rules_of(other));
            open.push(other);
        }
    }
    rules
}

/// Whether a `LabelSelector` chooses these labels.
fn selects(selector: &Value, labels: &Value) -> bool {
    let equal = selector["matchLabels"].as_object().into_iter().flatten();
    let expressions = selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten();
    equal.into_iter().all(|(key, value)| labels[key] == *value)
        && expressions.into_iter().all(|expression| {
            let label = &labels[expression["key"].as_str().unwrap_or("")];
            let values = expression["values"].as_array();
            let among = values.is_some_and(|values| values.contains(label));
            match expression["operator"].as_str() {
                Some("In") => among,
                Some("NotIn") => !among,
                Some("Exists") => !label.is_null(),
                Some("DoesNotExist") => label.is_null(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_choose_the_roles_that_are_taken_in() {
        let role = |name: &str, labels: Value, verb: &str| json!({"metadata": {"name": name, "labels": labels}, "rules": [{"verbs": [verb]}]});
        let mut sum = role("sum", json!({}), "own");
        sum["aggregationRule"]["clusterRoleSelectors"] = json!([
            {"matchLabels": {"to": "sum"}},
            {"matchExpressions": [{"key": "level", "operator": "In", "values": ["1", "2"]}]},
        ]);
        let mut all = [
            sum.clone(),
            role("a", json!({"to": "sum"}), "get"),
            role("b", json!({"level": "2"}), "list"),
            role("c", json!({"level": "3"}), "delete"),
            role("d", json!({"to": "b"}), "watch"),
        ];
        // In circles, too.
        all[2]["aggregationRule"]["clusterRoleSelectors"] = json!([
            {"matchLabels": {"to": "b"}}, {"matchLabels": {"to": "sum"}},
        ]);
        let all = all;
        let verbs: Vec<String> = rules(&sum, &all)
            .into_iter()
            .flat_map(|rule| rule.verbs)
            .collect();
        assert_eq!(verbs, ["own", "get", "list", "watch"]);
    }
}
