//! An applied configuration merged into the live object.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::{
    Element, Form, Listing, Of, Shape,
    list::{element_of, items},
};

/// The live value with all that the configuration says. Nothing is removed.
///
/// A list of elements with owners keeps its order where the configuration says nothing of it;
/// the elements of the configuration come in the order that it gives them.
pub(crate) fn merge<'a, S: Shape<'a>>(
    of: Of<S>,
    live: Option<&Value>,
    config: Option<&Value>,
) -> Option<Value> {
    let (live, config) = match (live, config) {
        (live, None) => return live.cloned(),
        (None, Some(config)) => return Some(config.clone()),
        (Some(live), Some(config)) => (live, config),
    };
    let merged = match (of.form(config), live, config) {
        (Form::Map { whole: false }, Value::Object(live), Value::Object(config))
            if !(live.is_empty() && config.is_empty()) =>
        {
            Value::Object(maps(of, live, config))
        }
        (Form::Map { whole: false }, Value::Object(_), Value::Null) => live.clone(),
        (Form::List(listing @ (Listing::Keys | Listing::Values)), live, config) => {
            match (items(live), items(config)) {
                (Some(live), Some(config)) if !(live.is_empty() && config.is_empty()) => {
                    Value::Array(lists(of, listing, live, config))
                }
                _ => config.clone(),
            }
        }
        _ => config.clone(),
    };
    Some(merged)
}

fn maps<'a, S: Shape<'a>>(
    of: Of<S>,
    live: &Map<String, Value>,
    config: &Map<String, Value>,
) -> Map<String, Value> {
    let mut merged = live.clone();
    for (name, value) in config {
        let value = merge(of.member(name).of, live.get(name), Some(value));
        merged.extend(value.map(|value| (name.clone(), value)));
    }
    merged
}

/// Both lists' elements, each once, but for those that the live one has more than once and the
/// configuration does not name.
fn lists<'a, S: Shape<'a>>(
    of: Of<S>,
    listing: Listing,
    live: &[Value],
    config: &[Value],
) -> Vec<Value> {
    let index = |items: &'_ [Value]| -> Vec<(Element, usize)> {
        let of_item = |(at, item)| Some((element_of(of, listing, item).ok()?, at));
        items.iter().enumerate().filter_map(of_item).collect()
    };
    let (live_index, config_index) = (index(live), index(config));
    let mut in_live: BTreeMap<&Element, Vec<usize>> = BTreeMap::new();
    for (element, at) in &live_index {
        in_live.entry(element).or_default().push(*at);
    }
    let in_config: BTreeSet<&Element> = config_index.iter().map(|(element, _)| element).collect();
    let both = |element: &Element, at: usize| {
        // What is there twice is replaced, not merged with.
        let live = match in_live.get(element).map(Vec::as_slice) {
            Some([one]) => Some(&live[*one]),
            _ => None,
        };
        merge(of.element(), live, Some(&config[at]))
    };
    let mut shared = config_index
        .iter()
        .map(|(element, _)| element)
        .filter(|element| in_live.contains_key(element));
    let mut next_shared = shared.next();
    let mut merged = Vec::with_capacity(live.len().max(config.len()));
    let mut done = BTreeSet::new();
    let (mut left, mut right) = (live_index.iter().peekable(), config_index.iter().peekable());
    loop {
        if let (Some((ours, _)), Some((theirs, at))) = (left.peek(), right.peek()) {
            if ours == theirs {
                merged.extend(both(theirs, *at));
                done.insert(theirs);
                left.next();
                right.next();
                next_shared = shared.next();
                continue;
            }
            if in_config.contains(ours) && next_shared.is_some_and(|next| next != ours) {
                // Its turn comes where the configuration has it.
                left.next();
                continue;
            }
        }
        if let Some((ours, at)) = left.peek() {
            if !in_config.contains(ours) {
                merged.push(live[*at].clone());
                left.next();
                continue;
            }
            if done.contains(ours) {
                left.next();
            }
        }
        match right.next() {
            Some((theirs, at)) => {
                merged.extend(both(theirs, *at));
                done.insert(theirs);
                if next_shared == Some(theirs) {
                    next_shared = shared.next();
                }
            }
            None if left.peek().is_none() => return merged,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::THING;

    #[test]
    fn configurations_are_merged_by_the_shape() {
        let items = |names: &[&str]| -> Value {
            let items: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
            json!({"items": items})
        };
        for (live, config, expected) in [
            (
                json!({"text": "a", "count": 1}),
                json!({"text": "b"}),
                json!({"text": "b", "count": 1}),
            ),
            (
                json!({"labels": {"a": "1"}, "whole": {"a": 1}, "list": [1]}),
                json!({"labels": {"b": "2"}, "whole": {"b": 2}, "list": [2]}),
                json!({"labels": {"a": "1", "b": "2"}, "whole": {"b": 2}, "list": [2]}),
            ),
            (
                json!({"items": [{"name": "a", "value": 1}]}),
                json!({"items": [{"name": "a", "text": "x"}]}),
                json!({"items": [{"name": "a", "value": 1, "text": "x"}]}),
            ),
            (
                json!({"ports": [{"port": 1, "protocol": "TCP"}]}),
                json!({"ports": [{"port": 1, "name": "x"}]}),
                json!({"ports": [{"port": 1, "protocol": "TCP", "name": "x"}]}),
            ),
            (
                json!({"text": "a"}),
                json!({"text": null}),
                json!({"text": null}),
            ),
            (
                json!({"labels": {}}),
                json!({"labels": {}}),
                json!({"labels": {}}),
            ),
            (
                json!({"tags": ["a", "b"]}),
                json!({"tags": ["c", "a"]}),
                json!({"tags": ["c", "a", "b"]}),
            ),
            // Orders, as upstream's tests have them.
            (
                items(&["a", "b", "c"]),
                items(&["b"]),
                items(&["a", "b", "c"]),
            ),
            (
                items(&["a", "b", "c"]),
                items(&["c", "b", "a"]),
                items(&["c", "b", "a"]),
            ),
            (
                items(&["a", "b"]),
                items(&["c", "b"]),
                items(&["a", "c", "b"]),
            ),
            (items(&["a", "b"]), items(&["c"]), items(&["a", "b", "c"])),
            (
                items(&["a", "b", "c", "d"]),
                items(&["d", "x", "a"]),
                items(&["b", "c", "d", "x", "a"]),
            ),
            (
                items(&["a", "a", "b"]),
                items(&["b"]),
                items(&["a", "a", "b"]),
            ),
            (items(&["a", "a", "b"]), items(&["a"]), items(&["a", "b"])),
            (
                json!({"anything": {"a": {"x": 1}, "l": [1]}}),
                json!({"anything": {"a": {"y": 2}, "l": [2]}}),
                json!({"anything": {"a": {"x": 1, "y": 2}, "l": [2]}}),
            ),
        ] {
            let merged = merge(THING, Some(&live), Some(&config)).unwrap();
            assert_eq!(merged, expected, "{live} {config}");
        }
    }
}
