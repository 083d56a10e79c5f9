//! What a schema may not be.

use sealane_structural::Schema;
use serde_json::{Value, json};

use crate::shown;

/// What is wrong with a schema.
fn wrong(raw: &Value) -> Vec<String> {
    Schema::read(raw, "schema")
        .err()
        .map(|problems| shown(&problems))
        .unwrap_or_default()
}

fn wrong_spec(spec: Value) -> Vec<String> {
    wrong(&json!({ "type": "object", "properties": { "spec": spec } }))
}

#[test]
fn the_root_is_an_object() {
    for (raw, expected) in [
        (
            json!({}),
            "schema.type: Required value: must not be empty at the root",
        ),
        (
            json!({ "type": "array", "items": { "type": "string" } }),
            "schema.type: Invalid value: \"array\": must be object at the root",
        ),
        (
            json!({ "type": "object", "additionalProperties": { "type": "string" } }),
            "schema.additionalProperties: Forbidden: must not be used at the root",
        ),
        (
            json!({ "type": "object", "oneOf": [{ "properties": { "a": { "minimum": 1 } } }] }),
            "schema.properties[a]: Required value: because it is defined in schema.oneOf[0].properties[a]",
        ),
        (
            json!({ "type": "object", "nullable": true }),
            "schema.nullable: Forbidden: nullable cannot be true at the root",
        ),
        (
            json!({ "type": "object", "properties": { "metadata": { "type": "object", "properties": { "labels": { "type": "object" } } } } }),
            "schema.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
        ),
    ] {
        assert!(
            wrong(&raw).contains(&expected.to_owned()),
            "{raw}: {:?}",
            wrong(&raw)
        );
    }
    let names = json!({ "type": "object", "properties": { "metadata": { "type": "object", "properties": { "name": { "type": "string", "maxLength": 8 } } } } });
    assert_eq!(wrong(&names), Vec::<String>::new());
}

#[test]
fn every_place_has_a_type_and_what_narrows_has_none() {
    let at = "schema.properties[spec]";
    for (spec, expected) in [
        (
            json!({}),
            "type: Required value: must not be empty for specified object fields",
        ),
        (
            json!({ "type": "array", "items": {} }),
            "items.type: Required value: must not be empty for specified array items",
        ),
        (
            json!({ "type": "array" }),
            "items: Required value: must be specified",
        ),
        (
            json!({ "type": "text" }),
            "type: Unsupported value: \"text\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
        ),
        (
            json!({ "type": "object", "anyOf": [{ "type": "object" }] }),
            "anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            json!({ "type": "object", "not": { "default": 1 } }),
            "not.default: Forbidden: must be undefined to be structural",
        ),
        (
            json!({ "type": "object", "allOf": [{ "x-kubernetes-validations": [{ "rule": "true" }] }] }),
            "allOf[0].x-kubernetes-validations: Forbidden: must be empty to be structural",
        ),
        (
            json!({ "type": "string", "pattern": "(" }),
            "pattern: Invalid value: \"(\": must be a valid regular expression, but isn't: error parsing regexp: unclosed group: `(`",
        ),
        (
            json!({ "type": "object", "properties": { "a": { "type": "string" } }, "additionalProperties": { "type": "string" } }),
            "additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
        ),
        (
            json!({ "type": "array", "items": { "type": "string" }, "uniqueItems": true }),
            "uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ),
        (
            json!({ "type": "object", "patternProperties": { "a": {} } }),
            "patternProperties: Forbidden: patternProperties is not supported",
        ),
        (
            json!({ "$ref": "#/a", "type": "object" }),
            "$ref: Forbidden: $ref is not supported",
        ),
        (
            json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": false }),
            "x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined",
        ),
        (
            json!({ "type": "object", "x-kubernetes-embedded-resource": true }),
            "properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
        ),
        (
            json!({ "x-kubernetes-int-or-string": true, "x-kubernetes-preserve-unknown-fields": true }),
            "x-kubernetes-preserve-unknown-fields: Invalid value: true: must be false if x-kubernetes-int-or-string is true",
        ),
    ] {
        let found = wrong_spec(spec.clone());
        assert!(
            found.contains(&format!("{at}.{expected}")),
            "{spec}: {found:#?}"
        );
    }
    for right in [
        json!({ "x-kubernetes-int-or-string": true, "anyOf": [{ "type": "integer" }, { "type": "string" }] }),
        json!({ "x-kubernetes-int-or-string": true, "allOf": [{ "anyOf": [{ "type": "integer" }, { "type": "string" }] }, { "pattern": "^a" }] }),
        json!({ "x-kubernetes-preserve-unknown-fields": true }),
        json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true, "x-kubernetes-embedded-resource": true }),
        json!({ "type": "object", "properties": { "a": { "type": "string" } }, "oneOf": [{ "required": ["a"] }, { "properties": { "a": { "enum": ["b"] } } }] }),
    ] {
        assert_eq!(wrong_spec(right.clone()), Vec::<String>::new(), "{right}");
    }
}

#[test]
fn members_of_lists_are_told_apart_by_fields_that_are_there() {
    let item =
        |key: Value| json!({ "type": "object", "required": ["a"], "properties": { "a": key } });
    let map = |items: Value| json!({ "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a"], "items": items });
    for (spec, expected) in [
        (
            json!({ "type": "array", "items": { "type": "string" }, "x-kubernetes-list-type": "bag" }),
            "x-kubernetes-list-type: Unsupported value: \"bag\": supported values: \"atomic\", \"set\", \"map\"",
        ),
        (
            json!({ "type": "object", "x-kubernetes-list-type": "set" }),
            "type: Invalid value: \"object\": must be array if x-kubernetes-list-type is specified",
        ),
        (
            json!({ "type": "array", "x-kubernetes-list-type": "map", "items": item(json!({ "type": "string" })) }),
            "x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
        ),
        (
            map(json!({ "type": "string" })),
            "items.type: Invalid value: \"string\": must be object if parent array's x-kubernetes-list-type is map",
        ),
        (
            map(json!({ "type": "object", "properties": { "b": { "type": "string" } } })),
            "x-kubernetes-list-map-keys: Invalid value: [\"a\"]: entries must all be names of item properties",
        ),
        (
            map(item(json!({ "type": "object" }))),
            "items.properties[a].type: Invalid value: \"object\": must be a scalar type if parent array's x-kubernetes-list-type is map",
        ),
        (
            map(json!({ "type": "object", "properties": { "a": { "type": "string" } } })),
            "items.properties[a].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
        ),
        (
            json!({ "type": "array", "x-kubernetes-list-type": "set", "items": { "type": "object" } }),
            "items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with x-kubernetes-list-type=set",
        ),
        (
            json!({ "type": "array", "x-kubernetes-list-type": "set", "items": { "type": "string", "nullable": true } }),
            "items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is set",
        ),
    ] {
        let found = wrong_spec(spec.clone());
        assert!(
            found.contains(&format!("schema.properties[spec].{expected}")),
            "{spec}: {found:#?}"
        );
    }
    assert_eq!(
        wrong_spec(map(item(json!({ "type": "string" })))),
        Vec::<String>::new()
    );
}

#[test]
fn defaults_are_right_values() {
    for (spec, expected) in [
        (
            json!({ "type": "string", "default": 1 }),
            "default: Invalid value: \"integer\": schema.properties[spec].default in body must be of type string: \"integer\"",
        ),
        (
            json!({ "type": "object", "properties": { "a": { "type": "string" } }, "default": { "b": "c" } }),
            "default: Invalid value: {\"b\":\"c\"}: must not have unknown fields",
        ),
        (
            json!({ "type": "integer", "minimum": 2, "default": 1 }),
            "default: Invalid value: 1: schema.properties[spec].default in body should be greater than or equal to 2",
        ),
        (
            json!({ "type": "integer", "default": 1, "x-kubernetes-validations": [{ "rule": "self > 1" }] }),
            "default: Invalid value: 1: failed rule: self > 1",
        ),
    ] {
        let found = wrong_spec(spec.clone());
        assert!(
            found.contains(&format!("schema.properties[spec].{expected}")),
            "{spec}: {found:#?}"
        );
    }
    let top =
        json!({ "type": "object", "properties": { "kind": { "type": "string", "default": "A" } } });
    assert_eq!(
        wrong(&top),
        ["schema.properties[kind].default: Forbidden: must not be set in top-level kind"]
    );
}

#[test]
fn rules_compile_and_are_cheap() {
    let rule = |kind: Value, rule: Value| {
        let mut spec = kind;
        spec["x-kubernetes-validations"] = json!([rule]);
        wrong_spec(spec)
    };
    let at = "schema.properties[spec].x-kubernetes-validations[0]";
    let text = || json!({ "type": "string", "maxLength": 10 });
    for (kind, given, expected) in [
        (
            text(),
            json!({ "rule": "" }),
            "rule: Required value: rule is not specified",
        ),
        (
            text(),
            json!({ "rule": "true", "message": " " }),
            "message: Invalid value: \" \": must be non-empty if specified",
        ),
        (
            text(),
            json!({ "rule": "true", "message": "a\nb" }),
            "message: Invalid value: \"a\\nb\": must not contain line breaks",
        ),
        (
            text(),
            json!({ "rule": "true\n" , "reason": "Because" }),
            "reason: Unsupported value: \"Because\": supported values: \"FieldValueDuplicate\", \"FieldValueForbidden\", \"FieldValueInvalid\", \"FieldValueRequired\"",
        ),
        (
            text(),
            json!({ "rule": "true", "fieldPath": ".a" }),
            "fieldPath: Invalid value: \".a\": must be a valid path",
        ),
        (
            text(),
            json!({ "rule": "self == 1" }),
            "rule: Invalid value: {\"rule\":\"self == 1\"}: compilation failed: ERROR: <input>:1:6: found no matching overload for '_==_' applied to '(string, int)'\n | self == 1\n | .....^",
        ),
        (
            text(),
            json!({ "rule": "self.a" }),
            "rule: Invalid value: {\"rule\":\"self.a\"}: compilation failed: ERROR: <input>:1:5: type 'string' does not support field selection\n | self.a\n | ....^",
        ),
        (
            text(),
            json!({ "rule": "self" }),
            "rule: Invalid value: {\"rule\":\"self\"}: cel expression must evaluate to a bool",
        ),
        (
            text(),
            json!({ "rule": "true", "messageExpression": "1" }),
            "messageExpression: Invalid value: {\"messageExpression\":\"1\",\"rule\":\"true\"}: messageExpression must evaluate to a string",
        ),
        (
            text(),
            json!({ "rule": "true", "optionalOldSelf": true }),
            "optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule",
        ),
        (
            json!({ "type": "array", "items": { "type": "string" } }),
            json!({ "rule": "self.all(a, self.all(b, a == b))" }),
            "rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)",
        ),
    ] {
        let found = rule(kind, given.clone());
        assert!(
            found.contains(&format!("{at}.{expected}")),
            "{given}: {found:#?}"
        );
    }
    let list = json!({ "type": "array", "maxItems": 4, "items": { "type": "string", "maxLength": 9, "x-kubernetes-validations": [{ "rule": "self == oldSelf" }] } });
    assert_eq!(
        wrong_spec(list),
        [
            "schema.properties[spec].items.x-kubernetes-validations[0].rule: Invalid value: \"self == oldSelf\": oldSelf cannot be used on the uncorrelatable portion of the schema within schema.properties[spec]"
        ]
    );
    let bounded =
        json!({ "type": "array", "maxItems": 16, "items": { "type": "string", "maxLength": 63 } });
    assert_eq!(
        rule(
            bounded,
            json!({ "rule": "self.all(a, self.exists_one(b, a == b))" })
        ),
        Vec::<String>::new()
    );
}
