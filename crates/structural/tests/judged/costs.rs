//! Which rules are too dear for a definition, by one of the kind that meshes have for hosts outside of them: hosts,
//! addresses, ports and endpoints, in lists of which not all have a limit.
//!
//! What is taken and refused is what kube-apiserver 1.34 takes and refuses, by the costs that it counts.

use sealane_structural::Schema;
use sealane_structural::definition::{check, complete};
use serde_json::{Value, json};

use crate::shown;

/// A definition in which lists have `limits` in them, and the rule stands at a place of its `spec`.
fn definition(place: &[&str], rule: &str, limited: bool) -> Value {
    let limit = |mut list: Value, most: u64| {
        if limited {
            list["maxItems"] = json!(most);
        }
        list
    };
    let text = |most: u64| match limited {
        true => json!({ "type": "string", "maxLength": most }),
        false => json!({ "type": "string" }),
    };
    let mut labels = json!({ "type": "object", "additionalProperties": text(63) });
    if limited {
        labels["maxProperties"] = json!(256);
    }
    let port = json!({
        "type": "object", "required": ["number", "name"],
        "properties": {
            "number": { "type": "integer", "maximum": 4_294_967_295_u64, "minimum": 0 },
            "name": text(256), "protocol": text(256), "targetPort": { "type": "integer" },
        },
    });
    let endpoint = json!({
        "type": "object",
        "properties": {
            "address": text(256), "labels": labels, "weight": { "type": "integer" }, "network": text(2048),
            "ports": { "type": "object", "additionalProperties": { "type": "integer" } },
        },
    });
    let mut spec = json!({
        "type": "object", "required": ["hosts"],
        "properties": {
            "hosts": limit(json!({ "type": "array", "items": text(256) }), 256),
            "addresses": limit(json!({ "type": "array", "items": text(64) }), 256),
            "ports": limit(json!({ "type": "array", "items": port, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"] }), 256),
            "endpoints": limit(json!({ "type": "array", "items": endpoint }), 4096),
            "resolution": { "type": "string", "enum": ["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN"] },
            "location": { "type": "string", "enum": ["MESH_EXTERNAL", "MESH_INTERNAL"] },
            "workloadSelector": { "type": "object", "properties": { "labels": labels } },
        },
    });
    let at = place.iter().fold(&mut spec, |at, step| match *step {
        "*" => &mut at["items"],
        field => &mut at["properties"][field],
    });
    at["x-kubernetes-validations"] = json!([{ "rule": rule }]);
    json!({ "type": "object", "properties": { "spec": spec } })
}

/// How many times too dear a rule is; nothing if it is not.
fn too_dear(place: &[&str], rule: &str, limited: bool) -> Option<String> {
    let problems = Schema::read(&definition(place, rule, limited), "schema").err()?;
    let problems = shown(&problems);
    let (of_all, of_one): (Vec<_>, Vec<_>) =
        (problems.iter()).partition(|problem| problem.contains("estimated rule cost total"));
    assert!(of_all.len() < 2, "{of_all:?}");
    let [problem] = &of_one[..] else {
        panic!("{rule}: {problems:?}");
    };
    let (_, factor) = problem.split_once("estimated rule cost exceeds budget by factor of ")?;
    Some(factor.split(" (").next()?.to_owned())
}

#[test]
fn what_kubernetes_takes_without_limits_is_taken() {
    for (place, rule) in [
        // Fields beside each other.
        (
            &[][..],
            "has(self.workloadSelector) && has(self.endpoints) ? false : true",
        ),
        (
            &[],
            "!(self.resolution == 'NONE' && has(self.endpoints)) && size(self.hosts) > 0",
        ),
        (
            &[],
            "!has(self.location) || self.location in ['MESH_EXTERNAL', 'MESH_INTERNAL']",
        ),
        // One way through a list.
        (&["hosts"], "self.all(host, size(host) > 0)"),
        (&["hosts"], "self.all(host, host != '' && host != '*')"),
        (
            &["ports"],
            "self.all(port, port.number > 0 && port.number <= 65535)",
        ),
        (&["ports"], "self.exists(port, has(port.targetPort))"),
        (
            &["endpoints"],
            "self.all(one, has(one.address) || has(one.network))",
        ),
        (
            &["workloadSelector", "labels"],
            "self.all(key, size(key) > 0)",
        ),
        // At each member, by itself.
        (
            &["ports", "*"],
            "self.number <= 65535 && (!has(self.targetPort) || self.targetPort > 0)",
        ),
        (
            &["endpoints", "*"],
            "!has(self.address) || !self.address.startsWith('unix://')",
        ),
        (&["addresses", "*"], "isURL('dns://' + self) || true"),
    ] {
        let short = place != ["addresses", "*"];
        let found = too_dear(place, rule, false);
        assert!(found.is_none() == short, "{rule}: {found:?}");
        assert_eq!(too_dear(place, rule, true), None, "{rule}");
    }
}

#[test]
fn what_kubernetes_takes_with_limits_alone_is_refused_without() {
    for (place, rule, factor) in [
        // Each text of a list is gone through, and may be as long as a request.
        (
            &["hosts"][..],
            "self.all(host, host.contains('.'))",
            "more than 100x",
        ),
        (
            &["hosts"],
            "self.all(host, host.matches('^[a-z0-9.*-]+$'))",
            "more than 100x",
        ),
        (
            &["addresses"],
            "self.all(address, isIP(address) || isCIDR(address))",
            "more than 100x",
        ),
        (
            &["addresses"],
            "self.all(address, isCIDR(address) && cidr(address).prefixLength() > 8)",
            "more than 100x",
        ),
        (
            &["hosts", "*"],
            "self.matches('^[a-z0-9.*-]+$')",
            "more than 100x",
        ),
        (&["addresses", "*"], "isIP(self)", "more than 100x"),
        // Each member with each.
        (
            &["ports"],
            "self.all(a, self.exists_one(b, a.number == b.number))",
            "more than 100x",
        ),
        (
            &[],
            "self.hosts.all(host, self.endpoints.all(one, one.address != host))",
            "more than 100x",
        ),
        (
            &["endpoints"],
            "self.all(one, !has(one.ports) || one.ports.all(name, name != ''))",
            "more than 100x",
        ),
        (
            &["workloadSelector", "labels"],
            "self.all(key, self[key].matches('^[a-z]*$'))",
            "more than 100x",
        ),
    ] {
        assert_eq!(
            too_dear(place, rule, false).as_deref(),
            Some(factor),
            "{rule}"
        );
        let limited = too_dear(place, rule, true);
        // 256 times 4,096 hosts with endpoints, each as long as 256 letters; and ports of an endpoint have no limit.
        let too_many = rule.contains("hosts.all") || rule.contains("one.ports");
        assert_eq!(limited.is_some(), too_many, "{rule}: {limited:?}");
    }
}

/// A text of a member, which may be as long as a request, but then there is one member.
#[test]
fn how_much_too_dear_is_told_to_the_last_digit() {
    for (place, rule, limited, factor) in [
        (
            &["hosts"][..],
            "self.all(a, a.size() > 1 && a.size() < 5 && a != '*' && a != '')",
            false,
            Some("1.258290x"),
        ),
        (
            &["ports"],
            "self.all(a, a.name != '' && a.number > 0)",
            false,
            None,
        ),
        (
            &["hosts"],
            "self.all(a, self.all(b, a == b || a.contains(b)))",
            true,
            Some("70.2x"),
        ),
    ] {
        assert_eq!(too_dear(place, rule, limited).as_deref(), factor, "{rule}");
    }
}

#[test]
fn a_message_is_made_once_and_counts_so() {
    let mut raw = definition(&["hosts", "*"], "self != ''", false);
    let item = &mut raw["properties"]["spec"]["properties"]["hosts"]["items"];
    item["x-kubernetes-validations"][0]["messageExpression"] = json!("self + ' is no host'");
    assert!(Schema::read(&raw, "schema").is_ok());
}

/// A version of ours that reckons otherwise than the one before must not keep a definition from being changed.
#[test]
fn a_schema_that_was_taken_before_is_not_too_dear() {
    let named = |name: &str, rule: &str| {
        let schema = definition(&["hosts"], rule, false);
        let mut one = json!({
            "metadata": { "name": "hosts.example.com" },
            "spec": {
                "group": "example.com", "scope": "Namespaced", "names": { "plural": "hosts", "kind": "Host" },
                "versions": [{ "name": name, "served": true, "storage": true, "schema": { "openAPIV3Schema": schema } }],
            },
        });
        complete(&mut one);
        one
    };
    let old = named("v1", "self.all(host, host.contains('.'))");
    assert!(!check(&old, None).is_empty());
    let mut new = old.clone();
    new["spec"]["names"]["shortNames"] = json!(["ho"]);
    assert_eq!(shown(&check(&new, Some(&old))), [""; 0]);
    for other in [
        named("v2", "self.all(host, host.contains('.'))"),
        named("v1", "self.all(host, host.contains('x'))"),
    ] {
        assert!(!check(&other, Some(&old)).is_empty());
    }
}
