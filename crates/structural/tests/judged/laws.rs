//! What holds of every schema and every object.

use proptest::prelude::*;
use sealane_structural::Schema;
use serde_json::{Map, Value, json};

use crate::shown;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..3).prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
    ]
}

/// Any value of those names.
fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(&NAMES[..]), inner, 0..4).prop_map(
                |map| {
                    Value::Object(
                        map.into_iter()
                            .map(|(name, value)| (name.to_owned(), value))
                            .collect(),
                    )
                }
            ),
        ]
    })
}

/// A schema; some have defaults that fit.
fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({ "type": "string" })),
        Just(json!({ "type": "string", "default": "x", "maxLength": 1 })),
        Just(json!({ "type": "string", "nullable": true })),
        Just(json!({ "type": "integer", "default": 0, "minimum": -2 })),
        Just(json!({ "type": "boolean" })),
        Just(json!({ "x-kubernetes-int-or-string": true })),
        Just(json!({ "x-kubernetes-preserve-unknown-fields": true })),
        Just(
            json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true, "default": {} })
        ),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::btree_map(prop::sample::select(&NAMES[..]), inner.clone(), 1..4)
                .prop_map(|map| {
                    let properties: Map<String, Value> = map
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect();
                    json!({ "type": "object", "properties": properties })
                }),
            inner
                .clone()
                .prop_map(|items| json!({ "type": "array", "items": items })),
            inner.prop_map(|member| json!({ "type": "object", "additionalProperties": member })),
        ]
    })
}

proptest! {
    #[test]
    fn pruning_and_defaults_are_stable(spec in schema(), given in value()) {
        let raw = json!({ "type": "object", "properties": { "spec": spec } });
        let schema = Schema::read(&raw, "").map_err(|problems| shown(&problems)).unwrap();
        let mut object = json!({ "spec": given });
        schema.prune(&mut object);
        let pruned = object.clone();
        prop_assert_eq!(schema.prune(&mut object), Vec::<String>::new());
        prop_assert_eq!(&object, &pruned);
        schema.default(&mut object);
        let defaulted = object.clone();
        schema.default(&mut object);
        prop_assert_eq!(&object, &defaulted);
        prop_assert_eq!(schema.prune(&mut object), Vec::<String>::new(), "defaults are known");
        // What did not change is let pass, whatever it is.
        prop_assert_eq!(shown(&schema.validate(&object, Some(&object))), Vec::<String>::new());
    }

    #[test]
    fn whatever_a_schema_says_it_is_read_without_a_panic(raw in value(), object in value()) {
        let _ = Schema::read(&raw, "");
        let schema = Schema::load(&raw);
        let mut object = object;
        schema.prune(&mut object);
        schema.default(&mut object);
        let _ = schema.validate(&object, None);
    }
}
