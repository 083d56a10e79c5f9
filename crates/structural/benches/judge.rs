//! What it costs to read a schema, and to judge objects by it.
//!
//! `cargo bench -p sealane-structural --bench judge`: time of this one thread. The schema is of the kind
//! that routes have: lists of objects in lists of objects, patterns, limits, and rules at four
//! depths.

use std::hint::black_box;
use std::time::{Duration, Instant};

use sealane_structural::{Schema, definition};
use serde_json::{Value, json};

fn main() {
    let raw = schema();
    let definition = definition_of(&raw);
    measure("a definition is checked, rules compiled", 20, || {
        assert!(definition::check(&definition, None).is_empty());
    });
    measure("a schema is read from the store", 200, || {
        drop(Schema::load(&raw))
    });
    let ruled = Schema::load(&raw);
    let plain = Schema::load(&without_rules(&raw));
    for rules in [1, 16] {
        let object = object(rules);
        let bytes = object.to_string().len();
        println!(
            "an object with {rules} rules and {} matches, {bytes} bytes:",
            rules * 4
        );
        measure("  copied and dropped, as the next two are", 2000, || {
            drop(black_box(object.clone()));
        });
        measure("  pruned", 2000, || {
            assert!(ruled.prune(&mut object.clone()).is_empty());
        });
        measure("  defaulted", 2000, || ruled.default(&mut object.clone()));
        measure("  judged by types and limits", 2000, || {
            assert!(plain.validate(black_box(&object), None).is_empty());
        });
        measure("  judged by rules in CEL too", 2000, || {
            assert!(ruled.validate(black_box(&object), None).is_empty());
        });
        measure("  judged as an update", 2000, || {
            assert!(ruled.validate(black_box(&object), Some(&object)).is_empty());
        });
    }
}

fn measure(what: &str, times: u32, mut run: impl FnMut()) {
    run();
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let begun = Instant::now();
        for _ in 0..times {
            run();
        }
        best = best.min(begun.elapsed() / times);
    }
    println!("{what}: {best:.1?}");
}

fn schema() -> Value {
    let name = json!({ "type": "string", "minLength": 1, "maxLength": 253, "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" });
    let path = json!({
        "type": "object",
        "default": { "type": "Prefix", "value": "/" },
        "properties": {
            "type": { "type": "string", "default": "Prefix", "enum": ["Exact", "Prefix", "Regex"] },
            "value": { "type": "string", "default": "/", "maxLength": 1024 },
        },
        "x-kubernetes-validations": [
            { "message": "must be absolute", "rule": "self.type == 'Regex' || self.value.startsWith('/')" },
            { "message": "no double slash", "rule": "self.type == 'Regex' || !self.value.contains('//')" },
            { "message": "only what a path may have", "rule": "self.type == 'Regex' || self.value.matches('^[-A-Za-z0-9/._~%]+$')" },
        ],
    });
    let headers = json!({
        "type": "array", "maxItems": 16, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": { "type": "object", "required": ["name", "value"], "properties": { "name": name.clone(), "value": { "type": "string", "maxLength": 4096 } } },
    });
    let matches = json!({
        "type": "array", "maxItems": 64, "default": [{ "path": { "type": "Prefix", "value": "/" } }],
        "items": { "type": "object", "properties": { "path": path, "headers": headers, "method": { "type": "string", "enum": ["GET", "PUT", "POST"] } } },
    });
    let backends = json!({
        "type": "array", "maxItems": 16,
        "items": {
            "type": "object", "required": ["name"],
            "properties": {
                "group": { "type": "string", "default": "", "maxLength": 253 },
                "kind": { "type": "string", "default": "Service", "maxLength": 63 },
                "name": name.clone(),
                "port": { "type": "integer", "format": "int32", "minimum": 1, "maximum": 65535 },
                "weight": { "type": "integer", "format": "int32", "default": 1, "minimum": 0, "maximum": 1_000_000 },
            },
            "x-kubernetes-validations": [{ "message": "a Service has a port", "rule": "(size(self.group) == 0 && self.kind == 'Service') ? has(self.port) : true" }],
        },
    });
    json!({
        "type": "object", "required": ["spec"],
        "properties": { "spec": {
            "type": "object",
            "properties": {
                "hosts": { "type": "array", "maxItems": 16, "items": name },
                "rules": {
                    "type": "array", "maxItems": 16,
                    "items": {
                        "type": "object",
                        "properties": { "name": { "type": "string", "maxLength": 63 }, "matches": matches, "backends": backends },
                        "x-kubernetes-validations": [{ "message": "matches without a backend", "rule": "!has(self.matches) || has(self.backends)" }],
                    },
                    "x-kubernetes-validations": [
                        { "message": "names are there once", "rule": "self.all(a, !has(a.name) || self.exists_one(b, has(b.name) && a.name == b.name))" },
                        { "message": "at most 128 matches", "rule": "self.map(r, has(r.matches) ? r.matches.size() : 0).sum() <= 128" },
                    ],
                },
            },
        } },
    })
}

fn definition_of(raw: &Value) -> Value {
    let mut definition = json!({
        "metadata": { "name": "routes.bench.example.com" },
        "spec": {
            "group": "bench.example.com", "scope": "Namespaced", "names": { "plural": "routes", "kind": "Route" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": raw } }],
        },
    });
    definition::complete(&mut definition);
    definition
}

fn without_rules(raw: &Value) -> Value {
    match raw {
        Value::Object(map) => {
            let kept = map
                .iter()
                .filter(|(name, _)| *name != "x-kubernetes-validations");
            Value::Object(
                kept.map(|(name, value)| (name.clone(), without_rules(value)))
                    .collect(),
            )
        }
        Value::Array(items) => items.iter().map(without_rules).collect(),
        other => other.clone(),
    }
}

fn object(rules: usize) -> Value {
    let one = |rule: usize| {
        let matches: Vec<Value> = (0..4)
            .map(|at| {
                json!({
                    "path": { "type": "Prefix", "value": format!("/rule-{rule}/part-{at}") },
                    "method": "GET",
                    "headers": [{ "name": "x-a", "value": "1" }, { "name": "x-b", "value": "2" }],
                })
            })
            .collect();
        json!({
            "name": format!("rule-{rule}"), "matches": matches,
            "backends": [
                { "group": "", "kind": "Service", "name": "a", "port": 80, "weight": 1 },
                { "group": "", "kind": "Service", "name": "b", "port": 80, "weight": 2 },
            ],
        })
    };
    let rules: Vec<Value> = (0..rules).map(one).collect();
    json!({
        "apiVersion": "bench.example.com/v1", "kind": "Route", "metadata": { "name": "a" },
        "spec": { "hosts": ["a.example.com"], "rules": rules },
    })
}
