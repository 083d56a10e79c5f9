//! Pruning, defaults, types and limits.

use sealane_structural::{List, Schema};
use serde_json::{Value, json};

use crate::{judged, of_spec, shown};

#[test]
fn unknown_fields_go_unless_they_are_kept() {
    let schema = of_spec(json!({
        "type": "object",
        "properties": {
            "known": { "type": "string" },
            "list": { "type": "array", "items": { "type": "object", "properties": { "a": { "type": "string" } } } },
            "map": { "type": "object", "additionalProperties": { "type": "object", "properties": { "a": { "type": "string" } } } },
            "kept": { "type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": { "inner": { "type": "object", "properties": { "a": { "type": "string" } } } } },
            "any": { "type": "object", "additionalProperties": true },
            "whole": { "type": "object", "x-kubernetes-embedded-resource": true, "properties": { "spec": { "type": "object" } } },
        },
    }));
    let mut object = json!({
        "apiVersion": "a/v1", "kind": "A", "metadata": { "name": "a" }, "more": 1,
        "spec": {
            "known": "a", "unknown": 1,
            "list": [{ "a": "1", "b": 1 }],
            "map": { "x": { "a": "1", "b": 1 } },
            "kept": { "free": { "deep": 1 }, "inner": { "a": "1", "b": 1 } },
            "any": { "x": { "y": 1 }, "z": 1 },
            "whole": { "apiVersion": "v1", "kind": "B", "metadata": { "labels": {} }, "spec": {}, "status": {} },
        },
    });
    let unknown = schema.prune(&mut object);
    assert_eq!(
        unknown,
        [
            "more",
            "spec.any.x.y",
            "spec.kept.inner.b",
            "spec.list[0].b",
            "spec.map.x.b",
            "spec.unknown",
            "spec.whole.status"
        ]
    );
    assert_eq!(object["spec"]["kept"]["free"], json!({ "deep": 1 }));
    assert_eq!(object["metadata"], json!({ "name": "a" }));
    assert_eq!(schema.prune(&mut object), Vec::<String>::new());
}

#[test]
fn defaults_fill_in_and_nulls_give_way() {
    let schema = of_spec(json!({
        "type": "object",
        "default": {},
        "properties": {
            "count": { "type": "integer", "default": 1 },
            "name": { "type": "string" },
            "maybe": { "type": "string", "nullable": true, "default": "x" },
            "ports": { "type": "array", "items": { "type": "object", "properties": { "protocol": { "type": "string", "default": "TCP" } } } },
        },
    }));
    for (given, expected) in [
        (json!({}), json!({ "spec": { "count": 1, "maybe": "x" } })),
        (
            json!({ "spec": { "count": null, "name": null, "maybe": null } }),
            json!({ "spec": { "count": 1, "maybe": null } }),
        ),
        (
            json!({ "spec": { "count": 2, "ports": [{}, { "protocol": "UDP" }] } }),
            json!({ "spec": { "count": 2, "maybe": "x", "ports": [{ "protocol": "TCP" }, { "protocol": "UDP" }] } }),
        ),
    ] {
        let mut object = given;
        schema.default(&mut object);
        assert_eq!(object, expected);
    }
}

#[test]
fn values_are_held_to_types_and_limits() {
    let path = |detail: &str| format!("spec: {detail}");
    let cases: Vec<(Value, Value, Vec<String>)> = vec![
        (json!({ "type": "string" }), json!(1), vec![path("Invalid value: \"integer\": spec in body must be of type string: \"integer\"")]),
        (json!({ "type": "string" }), Value::Null, vec![path("Invalid value: \"null\": spec in body must be of type string: \"null\"")]),
        (json!({ "type": "string", "nullable": true }), Value::Null, vec![]),
        (json!({ "type": "integer" }), json!(1.0), vec![]),
        (json!({ "type": "integer" }), json!(1.5), vec![path("Invalid value: \"number\": spec in body must be of type integer: \"number\"")]),
        (json!({ "type": "number" }), json!(1), vec![]),
        (json!({ "x-kubernetes-int-or-string": true }), json!(true), vec![path("Invalid value: \"boolean\": spec in body must be of type integer,string: \"boolean\"")]),
        (json!({ "type": "string", "maxLength": 2 }), json!("äöü"), vec![path("Too long: may not be more than 2 bytes")]),
        (json!({ "type": "string", "maxLength": 3 }), json!("äöü"), vec![]),
        (json!({ "type": "string", "minLength": 2 }), json!("a"), vec![path("Invalid value: \"a\": spec in body should be at least 2 chars long")]),
        (json!({ "type": "string", "pattern": "^a+$" }), json!("b"), vec![path("Invalid value: \"b\": spec in body should match '^a+$'")]),
        (json!({ "type": "string", "format": "ipv4" }), json!("a"), vec![path("Invalid value: \"a\": spec in body must be of type ipv4: \"a\"")]),
        (json!({ "type": "string", "format": "of-no-one" }), json!("a"), vec![]),
        (json!({ "type": "string", "enum": ["a", "b"] }), json!("c"), vec![path("Unsupported value: \"c\": supported values: \"a\", \"b\"")]),
        (json!({ "type": "integer", "minimum": 1 }), json!(0), vec![path("Invalid value: 0: spec in body should be greater than or equal to 1")]),
        (json!({ "type": "integer", "minimum": 1, "exclusiveMinimum": true }), json!(1), vec![path("Invalid value: 1: spec in body should be greater than 1")]),
        (json!({ "type": "integer", "maximum": 1 }), json!(2), vec![path("Invalid value: 2: spec in body should be less than or equal to 1")]),
        (json!({ "type": "number", "maximum": 1.5, "exclusiveMaximum": true }), json!(1.5), vec![path("Invalid value: 1.5: spec in body should be less than 1.5")]),
        (json!({ "type": "integer", "multipleOf": 3 }), json!(4), vec![path("Invalid value: 4: spec in body should be a multiple of 3")]),
        (json!({ "type": "number", "multipleOf": 0.1 }), json!(0.3), vec![]),
        (json!({ "type": "integer", "format": "int32" }), json!(1i64 << 40), vec!["<nil>: Invalid value: \"\": Checked value must be of type integer with format int32".into()]),
        (json!({ "type": "array", "items": { "type": "string" }, "maxItems": 1 }), json!(["a", "b"]), vec![path("Too many: 2: must have at most 1 item")]),
        (json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 }), json!([]), vec![path("Invalid value: 0: spec in body should have at least 1 items")]),
        (json!({ "type": "array", "items": { "type": "string" } }), json!([1]), vec!["spec[0]: Invalid value: \"integer\": spec[0] in body must be of type string: \"integer\"".into()]),
        (json!({ "type": "object", "additionalProperties": { "type": "string" }, "maxProperties": 1 }), json!({ "a": "b", "c": 1 }), vec![path("Too many: 2: must have at most 1 item"), "spec.c: Invalid value: \"integer\": spec.c in body must be of type string: \"integer\"".into()]),
        (json!({ "type": "object", "additionalProperties": { "type": "string" }, "minProperties": 1 }), json!({}), vec![path("Invalid value: 0: spec in body should have at least 1 properties")]),
        (json!({ "type": "object", "required": ["a"], "properties": { "a": { "type": "string" } } }), json!({}), vec!["spec.a: Required value".into()]),
        (
            json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": { "type": "string" } }, "oneOf": [{ "required": ["a"] }, { "required": ["b"] }] }),
            json!({ "a": "", "b": "" }),
            vec!["<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). Found 2 valid alternatives".into()],
        ),
        (
            json!({ "type": "integer", "anyOf": [{ "minimum": 5 }, { "maximum": 1 }] }),
            json!(3),
            vec!["<nil>: Invalid value: \"\": \"spec\" must validate at least one schema (anyOf)".into(), path("Invalid value: 3: spec in body should be greater than or equal to 5")],
        ),
        (
            json!({ "type": "integer", "allOf": [{ "minimum": 5 }, { "minimum": 1 }] }),
            json!(3),
            vec![path("Invalid value: 3: spec in body should be greater than or equal to 5"), "<nil>: Invalid value: \"\": \"spec\" must validate all the schemas (allOf)".into()],
        ),
        (json!({ "type": "integer", "not": { "minimum": 1 } }), json!(3), vec!["<nil>: Invalid value: \"\": \"spec\" must not validate the schema (not)".into()]),
        (json!({ "type": "array", "x-kubernetes-list-type": "set", "items": { "type": "string" } }), json!(["a", "b", "a", "a"]), vec!["spec[2]: Duplicate value: \"a\"".into()]),
        (
            json!({ "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"], "items": { "type": "object", "required": ["a", "b"], "properties": { "a": { "type": "string" }, "b": { "type": "integer" } } } }),
            json!([{ "a": "x", "b": 1 }, { "a": "x", "b": 2 }, { "a": "x", "b": 1 }]),
            vec!["spec[2]: Duplicate value: {\"a\":\"x\",\"b\":1}".into()],
        ),
    ];
    for (spec, value, expected) in cases {
        let schema = of_spec(spec.clone());
        assert_eq!(judged(&schema, value.clone()), expected, "{spec} {value}");
    }
}

#[test]
fn embedded_objects_are_objects() {
    let schema = of_spec(
        json!({ "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true }),
    );
    assert_eq!(
        judged(&schema, json!({})),
        [
            "spec.apiVersion: Required value",
            "spec.kind: Required value"
        ]
    );
    assert_eq!(
        judged(
            &schema,
            json!({ "apiVersion": "a/b/c", "kind": "", "metadata": { "name": "a/b", "labels": { "a": 1 } } })
        ),
        [
            "spec.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
            "spec.kind: Invalid value: \"\": must not be empty",
            "spec.metadata.name: Invalid value: \"a/b\": may not contain '/'",
            "spec.metadata.labels: Invalid value: \"a\": must be a string",
        ]
    );
    assert_eq!(
        judged(
            &schema,
            json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a" }, "x": 1 })
        ),
        Vec::<String>::new()
    );
}

#[test]
fn whoever_merges_is_told_how() {
    let schema = of_spec(json!({
        "type": "object",
        "properties": {
            "ports": { "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"], "items": { "type": "object", "required": ["port"], "properties": { "port": { "type": "integer" } } } },
            "whole": { "type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": { "type": "string" } },
        },
    }));
    let spec = schema.root().member("spec").unwrap();
    assert_eq!(
        spec.member("ports").unwrap().list,
        List::Map(vec!["port".into()])
    );
    assert!(spec.member("whole").unwrap().atomic_map);
    assert!(!spec.atomic_map);
}

#[test]
fn nothing_is_known_of_an_object_without_a_schema() {
    let schema = Schema::load(&Value::Null);
    let mut object = json!({ "metadata": {}, "a": 1 });
    assert_eq!(schema.prune(&mut object), ["a"]);
    schema.default(&mut object);
    assert_eq!(shown(&schema.validate(&object, None)), Vec::<String>::new());
}
