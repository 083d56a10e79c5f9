//! ClusterRoles that take in the rules of others, chosen by label (`aggregationRule`).
//!
//! Whoever decides puts the rules together when they are needed, so that a label counts at once. For
//! those who read the object, [`run`] writes them into it a moment later, as a controller of Kubernetes does.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::FutureExt as _;
use sealane_store::{Entry, Watch};
use serde_json::{Value, json};

use super::{Rule, policy::rules_of};
use crate::{
    kinds::CLUSTER_ROLE,
    object,
    owners::Writing,
    server::Server,
    status::ApiError,
    verbs::{Part, replace},
};

/// Pause after a failure: a disk that is full stays so for a while.
const PAUSE: Duration = Duration::from_secs(1);

/// The rules of a ClusterRole. One that takes in others has theirs, those that these take in, and none
/// of its own.
pub fn rules(role: &Value, all: &[Value]) -> Vec<Rule> {
    if role["aggregationRule"].is_null() {
        return rules_of(role);
    }
    let mut seen = vec![object::name(role)];
    let mut rules: Vec<Rule> = Vec::new();
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
            if other["aggregationRule"].is_null() {
                for rule in rules_of(other) {
                    if !rules.contains(&rule) {
                        rules.push(rule);
                    }
                }
            }
            open.push(other);
        }
    }
    rules
}

/// Keeps the rules that stand in such roles up to date, until the server stops.
pub async fn run(server: Arc<Server>) {
    loop {
        tokio::select! {
            () = server.shutdown.cancelled() => return,
            result = follow(&server) => if let Err(cause) = result {
                tracing::warn!("aggregate ClusterRoles: starting over: {cause:#}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn follow(server: &Server) -> anyhow::Result<()> {
    let revision = server.store.revision();
    let mut watch = server.store.watch(&CLUSTER_ROLE.bucket(), revision)?;
    loop {
        let labelled = write(server)
            .await
            .map_err(|error| anyhow::anyhow!(error.message))?;
        next(&mut watch, &labelled).await?;
    }
}

/// Waits for a change of a role that takes in others, or that others may take in or have; what has
/// changed meanwhile is looked at together.
async fn next(watch: &mut Watch, labelled: &BTreeSet<String>) -> anyhow::Result<()> {
    while !concerns(&watch.next().await?.entry, labelled) {}
    while let Some(more) = watch.next().now_or_never() {
        more?;
    }
    Ok(())
}

fn concerns(entry: &Entry, labelled: &BTreeSet<String>) -> bool {
    let role: Value = serde_json::from_slice(&entry.object.unpack()).unwrap_or_default();
    labelled.contains(entry.key.name()) || is_labelled(&role) || !role["aggregationRule"].is_null()
}

fn is_labelled(role: &Value) -> bool {
    !role["metadata"]["labels"].is_null()
}

/// Brings all roles up to date; the names of those with labels.
async fn write(server: &Server) -> Result<BTreeSet<String>, ApiError> {
    let entries = server
        .store
        .list(&CLUSTER_ROLE.bucket(), None, |_| true)
        .entries;
    let read = |entry: &Arc<Entry>| serde_json::from_slice(&entry.object.unpack());
    let all: Vec<Value> = entries
        .iter()
        .filter_map(|entry| read(entry).ok())
        .collect();
    let ours = Writing::ours();
    for role in all.iter().filter(|role| !role["aggregationRule"].is_null()) {
        let rules = json!(rules(role, &all));
        let same = if role["rules"].is_null() {
            json!([])
        } else {
            role["rules"].clone()
        };
        if rules == same {
            continue;
        }
        let mut new = role.clone();
        new["rules"] = rules;
        let name = object::name(role);
        let Some(entry) = entries.iter().find(|entry| entry.key.name() == name) else {
            continue;
        };
        match replace(server, &CLUSTER_ROLE, Part::Main, new, entry, &ours).await {
            // Somebody was faster, which leads to another look.
            Err(error) if ["Conflict", "NotFound"].contains(&error.reason) => {}
            result => drop(result?),
        }
    }
    let labelled = all.iter().filter(|role| is_labelled(role));
    Ok(labelled.map(|role| object::name(role).to_owned()).collect())
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
        assert_eq!(verbs, ["get", "watch"]);
        assert_eq!(rules(&all[1], &all), rules_of(&all[1]));
    }
}
