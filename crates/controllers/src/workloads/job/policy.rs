//! The policies of a Job: what a failed pod means for it, and which indexes are enough.

use serde::Deserialize;

use super::indexes::Indexes;
use crate::facts::job::JobPod;

/// `.spec.podFailurePolicy`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct FailurePolicy {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    action: Action,
    on_exit_codes: Option<ExitCodes>,
    #[serde(default)]
    on_pod_conditions: Vec<PodCondition>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExitCodes {
    container_name: Option<String>,
    operator: String,
    #[serde(default)]
    values: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct PodCondition {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    status: Option<String>,
}

/// What a failed pod means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Action {
    /// One failure more.
    Count,
    /// Nothing: it is replaced.
    Ignore,
    /// No other pod of its index will do better.
    FailIndex,
    /// No other pod at all will.
    FailJob,
}

impl FailurePolicy {
    /// What the first rule that matches says of a failed pod; `name` is for the message why.
    pub fn judge(&self, pod: &JobPod, name: &str) -> (Action, String) {
        for (index, rule) in self.rules.iter().enumerate() {
            if let Some(what) = rule.matches(pod, name) {
                let why = format!("{what} matching {:?} rule at index {index}", rule.action);
                return (rule.action, why);
            }
        }
        (Action::Count, String::new())
    }
}

impl Rule {
    fn matches(&self, pod: &JobPod, name: &str) -> Option<String> {
        if let Some(codes) = &self.on_exit_codes {
            let mut exits = pod.exits.iter();
            let exit = exits.find(|exit| {
                let named = codes.container_name.as_ref();
                let is_meant = named.is_none_or(|name| *name == exit.container);
                let is_listed = codes.values.contains(&exit.code);
                is_meant && is_listed == (codes.operator == "In")
            })?;
            let (container, code) = (&exit.container, exit.code);
            return Some(format!(
                "Container {container} for pod {name} failed with exit code {code}"
            ));
        }
        let holds = |wanted: &&PodCondition| {
            let status = wanted.status.as_deref().unwrap_or("True");
            let mut conditions = pod.conditions.iter();
            conditions.any(|(kind, is)| *kind == wanted.kind && is == status)
        };
        let condition = self.on_pod_conditions.iter().find(holds)?;
        Some(format!("Pod {name} has condition {}", condition.kind))
    }
}

/// `.spec.successPolicy`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SuccessPolicy {
    rules: Vec<Enough>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Enough {
    succeeded_indexes: Option<String>,
    succeeded_count: Option<u32>,
}

impl SuccessPolicy {
    /// Why these indexes are enough, if they are.
    pub fn judge(&self, completed: &Indexes) -> Option<String> {
        let index = self.rules.iter().position(|rule| rule.is_met(completed))?;
        Some(format!("Matched rules at index {index}"))
    }
}

impl Enough {
    fn is_met(&self, completed: &Indexes) -> bool {
        let (there, all) = match &self.succeeded_indexes {
            Some(text) => {
                let wanted = Indexes::parse(text);
                (completed.shared(&wanted), Some(wanted.count()))
            }
            None => (completed.count(), None),
        };
        self.succeeded_count
            .or(all)
            .is_some_and(|enough| there >= enough)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::facts::job::Exit;

    #[test]
    fn the_first_rule_that_matches_counts() {
        let policy: FailurePolicy = serde_json::from_value(json!({"rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
            {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}},
            {"action": "FailIndex", "onExitCodes": {"operator": "NotIn", "values": [1, 42]}},
        ]}))
        .unwrap();
        let pod = |container: &str, code, conditions: &[(&str, &str)]| JobPod {
            exits: vec![Exit {
                container: container.into(),
                code,
            }],
            conditions: conditions
                .iter()
                .map(|(kind, status)| ((*kind).into(), (*status).into()))
                .collect(),
            ..JobPod::default()
        };
        let disrupted = [("Ready", "False"), ("DisruptionTarget", "True")];
        for (pod, action, why) in [
            (pod("main", 1, &[]), Action::Count, ""),
            (
                pod("main", 42, &disrupted),
                Action::Ignore,
                "Pod shop/p has condition DisruptionTarget matching Ignore rule at index 0",
            ),
            (
                pod("main", 42, &[]),
                Action::FailJob,
                "Container main for pod shop/p failed with exit code 42 matching FailJob rule at index 1",
            ),
            (pod("side", 42, &[]), Action::Count, ""),
            (
                pod("side", 3, &[("DisruptionTarget", "False")]),
                Action::FailIndex,
                "Container side for pod shop/p failed with exit code 3 matching FailIndex rule at index 2",
            ),
        ] {
            assert_eq!(policy.judge(&pod, "shop/p"), (action, why.to_owned()));
        }
    }

    #[test]
    fn some_indexes_can_be_enough() {
        let policy: SuccessPolicy = serde_json::from_value(json!({"rules": [
            {"succeededIndexes": "0,2"}, {"succeededCount": 3},
            {"succeededIndexes": "5-9", "succeededCount": 1},
        ]}))
        .unwrap();
        for (completed, expected) in [
            ("0", None),
            ("0,2", Some("Matched rules at index 0")),
            ("0,1,3", Some("Matched rules at index 1")),
            ("7", Some("Matched rules at index 2")),
        ] {
            let met = policy.judge(&Indexes::parse(completed));
            assert_eq!(met.as_deref(), expected, "{completed}");
        }
        assert_eq!(SuccessPolicy::default().judge(&Indexes::parse("0-9")), None);
    }
}
