//! Members that are there twice in a list whose members are told apart.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::node::{Additional, List, Node};
use crate::path::Path;
use crate::problem::Problem;

pub(super) fn check(node: &Node, value: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    if !node.below.keyed_lists {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                match (node.properties.get(name.as_str()), &node.additional) {
                    (Some(property), _) => check(property, value, &at.field(name), problems),
                    (None, Some(Additional::Schema(member))) => {
                        check(member, value, &at.key(name), problems);
                    }
                    _ => {}
                }
            }
        }
        Value::Array(items) => {
            check_list(&node.list, items, at, problems);
            if let Some(member) = &node.items {
                for (index, item) in items.iter().enumerate() {
                    check(member, item, &at.index(index), problems);
                }
            }
        }
        _ => {}
    }
}

fn check_list(list: &List, items: &[Value], at: &Path<'_>, problems: &mut Vec<Problem>) {
    match list {
        List::Atomic => {}
        List::Set => {
            let doubled = doubles(items.iter())
                .map(|index| Problem::duplicate(at.index(index), items[index].clone()));
            problems.extend(doubled);
        }
        List::Map(keys) => {
            let strange = items
                .iter()
                .position(|item| !item.is_object() && !item.is_null());
            if let Some(index) = strange {
                let detail = "must be an object for an array of list-type map";
                problems.push(Problem::invalid(
                    at.index(index),
                    items[index].clone(),
                    detail,
                ));
                return;
            }
            let keys: Vec<Value> = items.iter().map(|item| key(keys, item)).collect();
            let doubled = doubles(keys.iter());
            problems.extend(
                doubled.map(|index| Problem::duplicate(at.index(index), keys[index].clone())),
            );
        }
    }
}

/// The fields of an item that tell it apart.
fn key(keys: &[Box<str>], item: &Value) -> Value {
    let given = keys
        .iter()
        .filter_map(|key| Some((key.to_string(), item.get(key.as_ref())?.clone())));
    Value::Object(given.collect::<Map<_, _>>())
}

/// Where values stand that stood before: each value is told once.
pub(super) fn doubles<'a>(values: impl Iterator<Item = &'a Value>) -> impl Iterator<Item = usize> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut doubled = Vec::new();
    for (index, value) in values.enumerate() {
        let times = seen.entry(value.to_string()).or_default();
        *times += 1;
        if *times == 2 {
            doubled.push(index);
        }
    }
    doubled.into_iter()
}
