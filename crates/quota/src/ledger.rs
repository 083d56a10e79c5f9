//! What a ResourceQuota allows, and what is used of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::amounts::Amounts;
use crate::pod::{containers, text};
use crate::scope;
use crate::usage::{self, Resource};

/// What a write would do to a quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charge {
    /// Nothing.
    None,
    /// This much is used then.
    Used(Amounts),
}

/// An object that is written, as it is and as it was.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Of which kind it is.
    pub resource: Resource<'a>,
    /// What it is to be.
    pub new: &'a Value,
    /// What it is; none if it is made.
    pub old: Option<&'a Value>,
}

/// What a quota allows: `spec.hard`.
pub fn hard(quota: &Value) -> Amounts {
    Amounts::of(&quota["spec"]["hard"])
}

/// Whether a quota is about objects of this kind at all.
pub fn concerns(quota: &Value, resource: Resource<'_>) -> bool {
    (resource.is_pods() || !scope::any(quota))
        && hard(quota).0.keys().any(|name| resource.is_meant_by(name))
}

/// Charges a quota with a change.
///
/// # Errors
/// Why it cannot be, in kube-apiserver's words: more than is allowed, or a pod that does not say
/// what it asks for.
pub fn charge(quota: &Value, used: &Amounts, change: &Change<'_>) -> Result<Charge, String> {
    let Change { resource, new, old } = *change;
    let chosen = |object: &Value| !resource.is_pods() || scope::chooses_pod(quota, object);
    if !concerns(quota, resource) || !chosen(new) {
        return Ok(Charge::None);
    }
    let hard = hard(quota);
    let name = text(&quota["metadata"]["name"]);
    if resource.is_pods() && old.is_none() {
        constrain(new, &hard).map_err(|why| format!("failed quota: {name}: {why}"))?;
    }
    let taken = usage::of(resource, new, false);
    let taken = match old.filter(|old| chosen(old)) {
        Some(old) => taken.minus(&usage::of(resource, old, false)),
        None => taken,
    };
    let requested = taken.within(&hard).only(|_, amount| amount.milli != 0);
    if requested.is_empty() {
        return Ok(Charge::None);
    }
    let mut then = used.clone();
    then.add_all(&requested);
    let exceeded = |name: &str| requested.milli(name) > 0 && then.milli(name) > hard.milli(name);
    let only = |amounts: &Amounts| amounts.only(|name, _| exceeded(name));
    let too_much = only(&requested);
    if !too_much.is_empty() {
        return Err(format!(
            "exceeded quota: {name}, requested: {too_much}, used: {}, limited: {}",
            only(used),
            only(&hard)
        ));
    }
    Ok(Charge::Used(then))
}

/// Where a quota counts what pods ask for, each container has to say it.
fn constrain(pod: &Value, hard: &Amounts) -> Result<(), String> {
    let own = &pod["spec"]["resources"];
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for name in hard.0.keys() {
        let (part, resource) = match name.split_once('.') {
            _ if ["cpu", "memory"].contains(&name.as_str()) => ("requests", name.as_str()),
            Some((part @ ("requests" | "limits"), resource @ ("cpu" | "memory"))) => {
                (part, resource)
            }
            _ => continue,
        };
        if !own[part][resource].is_null() {
            continue;
        }
        let silent = containers(pod).filter(|one| one["resources"][part][resource].is_null());
        for container in silent {
            missing
                .entry(name)
                .or_default()
                .insert(text(&container["name"]));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let said = missing.into_iter().map(|(name, containers)| {
        let containers: Vec<&str> = containers.into_iter().collect();
        format!("{name} for: {}", containers.join(","))
    });
    Err(format!(
        "must specify {}",
        said.collect::<Vec<_>>().join("; ")
    ))
}

/// What of a quota is used: all names that it limits, with what objects take of them.
#[derive(Clone, Debug)]
pub struct Count<'a> {
    quota: &'a Value,
    hard: Amounts,
    used: Amounts,
}

impl<'a> Count<'a> {
    /// Nothing yet.
    pub fn new(quota: &'a Value) -> Self {
        let hard = hard(quota);
        let zero = |amount: &sealane_objects::Quantity| amount.with_milli(0);
        let used = hard
            .0
            .iter()
            .map(|(name, amount)| (name.clone(), zero(amount)));
        Self {
            used: Amounts(used.collect()),
            quota,
            hard,
        }
    }

    /// Adds an object of the namespace; `is_over` as in [`usage::of`].
    pub fn add(&mut self, resource: Resource<'_>, object: &Value, is_over: bool) {
        if resource.is_pods() && !scope::chooses_pod(self.quota, object) {
            return;
        }
        let taken = usage::of(resource, object, is_over).within(&self.hard);
        self.used.add_all(&taken);
    }

    /// `status.used`
    pub fn used(self) -> Amounts {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PODS: Resource<'_> = Resource {
        group: "",
        plural: "pods",
    };

    fn pod(cpu: &str) -> Value {
        let requests = match cpu {
            "" => json!({}),
            cpu => json!({"requests": {"cpu": cpu}}),
        };
        json!({"spec": {"containers": [{"name": "c", "resources": requests}]}, "status": {"qosClass": "Burstable"}})
    }

    fn quota(hard: Value) -> Value {
        json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})
    }

    fn tried(
        quota: &Value,
        used: Value,
        resource: Resource<'_>,
        new: &Value,
        old: Option<&Value>,
    ) -> Result<String, String> {
        let change = Change { resource, new, old };
        charge(quota, &Amounts::of(&used), &change).map(|charge| match charge {
            Charge::None => String::new(),
            Charge::Used(used) => used.to_string(),
        })
    }

    #[test]
    fn a_quota_is_charged_or_refuses_in_known_words() {
        let both = quota(json!({"pods": "2", "requests.cpu": "1"}));
        let memory = quota(json!({"limits.memory": "1Gi", "limits.cpu": "1"}));
        let secrets = quota(json!({"secrets": "1", "count/deployments.apps": "0"}));
        let deployments = Resource {
            group: "apps",
            plural: "deployments",
        };
        let some = Resource {
            group: "",
            plural: "secrets",
        };
        for (quota, used, resource, new, expected) in [
            (
                &both,
                json!({"pods": "1", "requests.cpu": "500m"}),
                PODS,
                pod("500m"),
                Ok("pods=2,requests.cpu=1"),
            ),
            (
                &both,
                json!({"pods": "2", "requests.cpu": "600m"}),
                PODS,
                pod("500m"),
                Err(
                    "exceeded quota: q, requested: pods=1,requests.cpu=500m, used: pods=2,requests.cpu=600m, limited: pods=2,requests.cpu=1",
                ),
            ),
            (
                &both,
                json!({"pods": "2", "requests.cpu": "0"}),
                PODS,
                pod("500m"),
                Err("exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"),
            ),
            (
                &both,
                json!({}),
                PODS,
                pod(""),
                Err("failed quota: q: must specify requests.cpu for: c"),
            ),
            (
                &memory,
                json!({}),
                PODS,
                pod("1"),
                Err("failed quota: q: must specify limits.cpu for: c; limits.memory for: c"),
            ),
            (
                &secrets,
                json!({"secrets": "0"}),
                some,
                json!({}),
                Ok("secrets=1"),
            ),
            (
                &secrets,
                json!({"count/deployments.apps": "0"}),
                deployments,
                json!({}),
                Err(
                    "exceeded quota: q, requested: count/deployments.apps=1, used: count/deployments.apps=0, limited: count/deployments.apps=0",
                ),
            ),
            (&secrets, json!({}), PODS, pod(""), Ok("")),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(tried(quota, used, resource, &new, None), expected);
        }
    }

    #[test]
    fn a_change_is_charged_by_the_difference() {
        let services = Resource {
            group: "",
            plural: "services",
        };
        let of = |kind: &str| json!({"spec": {"type": kind, "ports": [{"port": 1}]}});
        let quota = quota(json!({"services": "1", "services.nodeports": "1"}));
        let used = json!({"services": "1", "services.nodeports": "0"});
        let open = tried(
            &quota,
            used.clone(),
            services,
            &of("NodePort"),
            Some(&of("ClusterIP")),
        );
        assert_eq!(open, Ok("services=1,services.nodeports=1".into()));
        let same = tried(
            &quota,
            used,
            services,
            &of("ClusterIP"),
            Some(&of("ClusterIP")),
        );
        assert_eq!(same, Ok(String::new()));
        let used = json!({"services": "5", "services.nodeports": "1"});
        let less = tried(
            &quota,
            used.clone(),
            services,
            &of("ClusterIP"),
            Some(&of("NodePort")),
        );
        assert_eq!(less, Ok("services=5,services.nodeports=0".into()));
        let more = tried(
            &quota,
            used,
            services,
            &of("NodePort"),
            Some(&of("ClusterIP")),
        );
        let refused = "exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1";
        assert_eq!(more, Err(refused.into()));
    }

    #[test]
    fn what_is_used_is_counted_within_the_scopes() {
        let mut quota = quota(json!({"pods": "5", "cpu": "2", "secrets": "3", "memory": "1Gi"}));
        let mut count = Count::new(&quota);
        count.add(PODS, &pod("300m"), false);
        count.add(PODS, &pod("300m"), true);
        count.add(
            Resource {
                group: "",
                plural: "secrets",
            },
            &json!({}),
            false,
        );
        assert_eq!(
            count.used().to_string(),
            "cpu=300m,memory=0,pods=1,secrets=1"
        );
        quota["spec"]["scopes"] = json!(["BestEffort"]);
        let mut count = Count::new(&quota);
        count.add(PODS, &pod("300m"), false);
        assert_eq!(count.used().to_string(), "cpu=0,memory=0,pods=0,secrets=0");
        assert!(concerns(&quota, PODS));
        assert!(!concerns(
            &quota,
            Resource {
                group: "",
                plural: "secrets"
            }
        ));
    }
}
