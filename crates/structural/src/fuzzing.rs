//! Entrances for fuzzing: bytes in, and what must hold whatever they are.

use serde_json::{Value, json};

use crate::{Schema, definition};

/// A definition, and an object (`object`) with what it replaces (`old`) beside it.
///
/// # Panics
///
/// If pruning or filling in is not stable: that is what is looked for.
pub fn definition(bytes: &[u8]) {
    let Ok(mut given) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    definition::complete(&mut given);
    let problems = definition::check(&given, None);
    let _ = definition::check(&given, Some(&given));
    let raw = given["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    let schema = Schema::load(&raw);
    let mut object = given["object"].clone();
    schema.prune(&mut object);
    let pruned = object.clone();
    assert!(
        schema.prune(&mut object).is_empty() && object == pruned,
        "pruning is stable"
    );
    schema.default(&mut object);
    if problems.is_empty() {
        let defaulted = object.clone();
        schema.default(&mut object);
        assert_eq!(object, defaulted, "defaults are stable");
    }
    let _ = schema.validate(&object, None);
    let _ = schema.validate(&object, Some(&given["old"]));
}

/// The text of a rule, judged on an object with a field of each type.
pub fn rule(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let raw = json!({
        "type": "object",
        "properties": {
            "i": { "type": "integer" },
            "d": { "type": "number" },
            "s": { "type": "string" },
            "e": { "x-kubernetes-int-or-string": true },
            "t": { "type": "string", "format": "date-time" },
            "l": { "type": "array", "items": { "type": "integer" } },
            "m": { "type": "object", "additionalProperties": { "type": "string" } },
            "o": { "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                   "items": { "type": "object", "required": ["k"], "properties": { "k": { "type": "string" } } } },
        },
        "x-kubernetes-validations": [{ "rule": text, "messageExpression": text, "fieldPath": text }],
    });
    let _ = Schema::read(&raw, "schema");
    let object = json!({
        "i": 1, "d": 1.5, "s": "ä", "e": "x", "t": "2024-01-01T00:00:00Z", "l": [1, 2, 3],
        "m": { "a": "b" }, "o": [{ "k": "a" }, { "k": "b" }],
    });
    let schema = Schema::load(&raw);
    let _ = schema.validate(&object, None);
    let _ = schema.validate(&object, Some(&object));
}
