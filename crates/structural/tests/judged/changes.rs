//! What holds of an update: rules about changes, and what was wrong before.

use sealane_structural::Schema;
use serde_json::{Value, json};

use crate::{of_spec, shown};

fn update(schema: &Schema, old: Value, new: Value) -> Vec<String> {
    shown(&schema.validate(&json!({ "spec": new }), Some(&json!({ "spec": old }))))
}

#[test]
fn what_did_not_change_keeps_passing() {
    let schema = of_spec(json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "pattern": "^[a-z]*$" },
            "count": { "type": "integer", "x-kubernetes-validations": [{ "rule": "self < 5" }] },
            "keyed": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                "items": { "type": "object", "required": ["id"], "properties": { "id": { "type": "string" }, "size": { "type": "integer", "maximum": 3 } } },
            },
            "plain": { "type": "array", "maxItems": 4, "items": { "type": "integer", "maximum": 3 } },
            "set": { "type": "array", "x-kubernetes-list-type": "set", "items": { "type": "string" } },
        },
    }));
    let old = json!({
        "name": "A", "count": 9,
        "keyed": [{ "id": "a", "size": 9 }, { "id": "b", "size": 1 }],
        "plain": [9, 1], "set": ["x", "x"],
    });
    let changed = |name: &str, value: Value| {
        let mut new = old.clone();
        new[name] = value;
        new
    };
    let none = Vec::<String>::new();
    assert_eq!(update(&schema, old.clone(), old.clone()), none);
    assert_eq!(
        update(&schema, old.clone(), changed("name", json!("b"))),
        none
    );
    assert_eq!(
        update(&schema, old.clone(), changed("name", json!("B"))),
        ["spec.name: Invalid value: \"B\": spec.name in body should match '^[a-z]*$'"]
    );
    assert_eq!(
        update(&schema, old.clone(), changed("count", json!(8))),
        ["spec.count: Invalid value: 8: failed rule: self < 5"]
    );
    // Members that are told apart are compared each with its own.
    let reordered = json!([{ "id": "b", "size": 2 }, { "id": "a", "size": 9 }]);
    assert_eq!(
        update(&schema, old.clone(), changed("keyed", reordered)),
        none
    );
    let larger = json!([{ "id": "a", "size": 8 }]);
    assert_eq!(
        update(&schema, old.clone(), changed("keyed", larger)),
        [
            "spec.keyed[0].size: Invalid value: 8: spec.keyed[0].size in body should be less than or equal to 3"
        ]
    );
    // Others are not.
    assert_eq!(
        update(&schema, old.clone(), changed("plain", json!([9, 2]))),
        [
            "spec.plain[0]: Invalid value: 9: spec.plain[0] in body should be less than or equal to 3"
        ]
    );
    assert_eq!(
        update(
            &schema,
            old.clone(),
            changed("set", json!(["x", "x", "y", "y"]))
        ),
        none
    );
    assert_eq!(
        update(&schema, json!({}), json!({ "set": ["x", "x"] })),
        ["spec.set[1]: Duplicate value: \"x\""]
    );
}

#[test]
fn rules_about_changes_need_something_that_was_there() {
    let schema = of_spec(json!({
        "type": "object",
        "properties": {
            "fixed": { "type": "string", "x-kubernetes-validations": [{ "rule": "self == oldSelf", "message": "may not change" }] },
            "growing": { "type": "integer", "x-kubernetes-validations": [{ "rule": "!oldSelf.hasValue() || self >= oldSelf.value()", "optionalOldSelf": true }] },
            "keyed": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"], "maxItems": 8,
                "items": {
                    "type": "object", "required": ["id"],
                    "properties": { "id": { "type": "string" }, "size": { "type": "integer" } },
                    "x-kubernetes-validations": [{ "rule": "self.size >= oldSelf.size", "fieldPath": ".size" }],
                },
            },
            "maps": { "type": "object", "maxProperties": 4, "additionalProperties": { "type": "integer", "x-kubernetes-validations": [{ "rule": "self >= oldSelf" }] } },
        },
        "x-kubernetes-validations": [{ "rule": "!has(oldSelf.fixed) || has(self.fixed)", "message": "fixed stays", "reason": "FieldValueRequired", "fieldPath": ".fixed" }],
    }));
    let none = Vec::<String>::new();
    assert_eq!(
        shown(&schema.validate(&json!({ "spec": { "fixed": "a", "growing": 1 } }), None)),
        none
    );
    for (old, new, expected) in [
        (
            json!({ "fixed": "a" }),
            json!({ "fixed": "b" }),
            vec!["spec.fixed: Invalid value: \"b\": may not change"],
        ),
        (json!({}), json!({ "fixed": "b" }), vec![]),
        (
            json!({ "fixed": "a" }),
            json!({}),
            vec!["spec.fixed: Required value: fixed stays"],
        ),
        (
            json!({ "growing": 2 }),
            json!({ "growing": 1 }),
            vec![
                "spec.growing: Invalid value: 1: failed rule: !oldSelf.hasValue() || self >= oldSelf.value()",
            ],
        ),
        (
            json!({ "keyed": [{ "id": "a", "size": 2 }, { "id": "b", "size": 5 }] }),
            json!({ "keyed": [{ "id": "b", "size": 4 }, { "id": "a", "size": 2 }, { "id": "c", "size": 0 }] }),
            vec!["spec.keyed[0].size: Invalid value: failed rule: self.size >= oldSelf.size"],
        ),
        (
            json!({ "maps": { "a": 2 } }),
            json!({ "maps": { "a": 1, "b": 0 } }),
            vec!["spec.maps[a]: Invalid value: 1: failed rule: self >= oldSelf"],
        ),
    ] {
        assert_eq!(
            update(&schema, old.clone(), new.clone()),
            expected,
            "{old} -> {new}"
        );
    }
}
