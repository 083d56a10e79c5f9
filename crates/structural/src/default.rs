//! Filling in what was not given.

use serde_json::Value;

use crate::node::{Additional, Node};

/// Removes `null` where it may not stand and nothing takes its place, then fills in defaults.
pub(crate) fn default(root: &Node, object: &mut Value) {
    drop_nulls(Some(root), object);
    fill(root, object);
}

fn drop_nulls(node: Option<&Node>, value: &mut Value) {
    match value {
        Value::Object(map) => map.retain(|name, value| {
            let below = node.and_then(|node| node.member(name)).map(AsRef::as_ref);
            if value.is_null()
                && below.is_some_and(|below| !below.nullable && below.default.is_none())
            {
                return false;
            }
            drop_nulls(below, value);
            true
        }),
        Value::Array(items) => {
            let below = node.and_then(|node| node.items.as_deref());
            items.iter_mut().for_each(|item| drop_nulls(below, item));
        }
        _ => {}
    }
}

fn fill(node: &Node, value: &mut Value) {
    if !node.below.defaults {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, property) in &node.properties {
                let Some(default) = &property.default else {
                    continue;
                };
                let given = map.get(name.as_ref());
                if given.is_none_or(|given| given.is_null() && !property.nullable) {
                    map.insert(name.to_string(), default.clone());
                }
            }
            for (name, value) in map {
                match (node.properties.get(name.as_str()), &node.additional) {
                    (Some(property), _) => fill(property, value),
                    (None, Some(Additional::Schema(member))) => replace_null(member, value),
                    _ => {}
                }
            }
        }
        Value::Array(items) => {
            if let Some(member) = &node.items {
                items.iter_mut().for_each(|item| replace_null(member, item));
            }
        }
        _ => {}
    }
}

fn replace_null(member: &Node, value: &mut Value) {
    if value.is_null()
        && !member.nullable
        && let Some(default) = &member.default
    {
        *value = default.clone();
    }
    fill(member, value);
}
