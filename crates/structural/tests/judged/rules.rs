//! What a failed rule says, and what rules may cost.

use sealane_structural::Schema;
use serde_json::json;

use crate::{judged, of_spec, shown};

#[test]
fn a_failed_rule_says_why_and_where() {
    let with = |rule: serde_json::Value| {
        of_spec(json!({
            "type": "object",
            "properties": { "min": { "type": "integer" }, "max": { "type": "integer" }, "a-b": { "type": "string" } },
            "x-kubernetes-validations": [rule],
        }))
    };
    let object = json!({ "min": 3, "max": 1, "a-b": "x" });
    for (rule, expected) in [
        (
            json!({ "rule": "self.min <= self.max" }),
            "spec: Invalid value: failed rule: self.min <= self.max",
        ),
        (
            json!({ "rule": "self.min <= self.max", "message": " min is more " }),
            "spec: Invalid value: min is more",
        ),
        (
            json!({ "rule": "self.min <= self.max", "message": "m", "messageExpression": "'min is %d'.format([self.min])" }),
            "spec: Invalid value: min is 3",
        ),
        (
            json!({ "rule": "self.min <= self.max", "message": "m", "messageExpression": "'a\\nb'" }),
            "spec: Invalid value: m",
        ),
        (
            json!({ "rule": "self.min <= self.max", "fieldPath": ".min", "reason": "FieldValueForbidden", "message": "m" }),
            "spec.min: Forbidden: m",
        ),
        (
            json!({ "rule": "self.a__dash__b == 'y'", "fieldPath": "['a-b']", "reason": "FieldValueRequired", "message": "m" }),
            "spec.a-b: Required value: m",
        ),
        (
            json!({ "rule": "self.min / 0 == 1" }),
            "spec: Invalid value: \"object\": division by zero evaluating rule: self.min / 0 == 1",
        ),
        (
            json!({ "rule": "[1, 2][self.min] == 1", "message": "m" }),
            "spec: Invalid value: \"object\": index out of bounds: 3 evaluating rule: m",
        ),
    ] {
        assert_eq!(
            judged(&with(rule.clone()), object.clone()),
            [expected],
            "{rule}"
        );
    }
}

#[test]
fn rules_wait_until_the_object_has_its_form() {
    let schema = of_spec(json!({
        "type": "object", "required": ["a"], "properties": { "a": { "type": "string" } },
        "x-kubernetes-validations": [{ "rule": "self.a == 'b'" }],
    }));
    assert_eq!(
        judged(&schema, json!({})),
        [
            "spec.a: Required value",
            "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
        ]
    );
}

#[test]
fn rules_of_the_object_know_its_type_and_name() {
    let schema = |rule: &str| {
        let raw = json!({ "type": "object", "x-kubernetes-validations": [{ "rule": rule }] });
        Schema::read(&raw, "schema").map_err(|problems| shown(&problems))
    };
    let object = json!({ "apiVersion": "a.example/v1", "kind": "A", "metadata": { "name": "abc", "labels": { "a": "b" } } });
    for rule in [
        "self.metadata.name.startsWith('a')",
        "self.kind == 'A'",
        "self.apiVersion.endsWith('v1')",
        "!has(self.metadata.generateName)",
    ] {
        assert_eq!(
            shown(&schema(rule).unwrap().validate(&object, None)),
            Vec::<String>::new(),
            "{rule}"
        );
    }
    assert!(
        schema("self.metadata.labels.a == 'b'").unwrap_err()[0]
            .contains("undefined field 'labels'")
    );
}

#[test]
fn a_rule_that_costs_too_much_ends_it() {
    // Taken from the store as it is: when it was posted it would have been refused.
    let raw = |rule: &str| {
        json!({ "type": "object", "properties": { "spec": {
            "type": "array", "items": { "type": "integer" }, "x-kubernetes-validations": [{ "rule": rule }, { "rule": "false" }],
        } } })
    };
    let numbers: Vec<i32> = (0..2000).collect();
    let object = json!({ "spec": numbers });
    for rule in [
        "self.all(a, self.all(b, a + b >= 0))",
        "self.map(a, self.map(b, a)).size() > 0",
        "self.all(a, self.exists(b, b == 1999))",
    ] {
        let found = shown(&Schema::load(&raw(rule)).validate(&object, None));
        let expected = format!(
            "spec: Invalid value: \"array\": 'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: {rule}"
        );
        assert_eq!(found, [expected]);
    }
}
