//! What a write changed.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::{
    Element, FieldSet, Form, Listing, Member, Of, Shape,
    list::{grouped, items},
};

/// What a write changed: no path is in two of the sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// What was not there before.
    pub added: FieldSet,
    /// What was and is there, with another value.
    pub modified: FieldSet,
    /// What is no longer there.
    pub removed: FieldSet,
}

/// An empty struct: what a field that is always there is when nothing is said.
static EMPTY: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));
static NULL: Value = Value::Null;

/// Compares two states of an object.
pub fn compare<'a, S: Shape<'a>>(of: Of<S>, old: &Value, new: &Value) -> Change {
    let marks = walk(of, Some(old), Some(new));
    Change {
        added: marks.added.below,
        modified: marks.modified.below,
        removed: marks.removed.below,
    }
}

/// What changed at one path and below it.
#[derive(Default)]
struct Marks {
    added: Mark,
    modified: Mark,
    removed: Mark,
}

#[derive(Default)]
struct Mark {
    here: bool,
    below: FieldSet,
}

impl Marks {
    fn push(&mut self, element: &Element, marks: Self) {
        let Self {
            added,
            modified,
            removed,
        } = marks;
        self.added.push(element, added);
        self.modified.push(element, modified);
        self.removed.push(element, removed);
    }
}

impl Mark {
    fn push(&mut self, element: &Element, mark: Self) {
        if mark.here || !mark.below.is_empty() {
            self.below.push(element.clone(), mark.here, mark.below);
        }
    }
}

fn walk<'a, S: Shape<'a>>(of: Of<S>, old: Option<&Value>, new: Option<&Value>) -> Marks {
    let mut marks = Marks::default();
    match (old, new) {
        (old, new) if old == new => {}
        (None, Some(new)) => marks.added = all(of, new),
        (Some(old), None) => marks.removed = all(of, old),
        (Some(old), Some(new)) => both(of, old, new, &mut marks),
        (None, None) => {}
    }
    marks
}

/// The value and everything in it.
fn all<'a, S: Shape<'a>>(of: Of<S>, value: &Value) -> Mark {
    let mut mark = Mark {
        here: true,
        ..Mark::default()
    };
    match (of.form(value), value) {
        (Form::Map { whole: false }, Value::Object(members)) => {
            for (name, value) in members {
                mark.push(&Element::field(name), all(of.member(name).of, value));
            }
        }
        (Form::List(listing @ (Listing::Keys | Listing::Values)), Value::Array(items)) => {
            for (element, same) in grouped(of, listing, items) {
                mark.push(&element, all_same(of, &same));
            }
        }
        _ => {}
    }
    mark
}

/// All items of one element of a list: what is there twice is owned as one.
fn all_same<'a, S: Shape<'a>>(of: Of<S>, same: &[&Value]) -> Mark {
    match same {
        [one] => all(of.element(), one),
        _ => Mark {
            here: true,
            ..Mark::default()
        },
    }
}

fn both<'a, S: Shape<'a>>(of: Of<S>, old: &Value, new: &Value, marks: &mut Marks) {
    let form = of.form(if new.is_null() { old } else { new });
    match (form, old, new) {
        (Form::Map { whole: false }, old, new) => match (members(old), members(new)) {
            (Some(old), Some(new)) if !(old.is_empty() && new.is_empty()) => {
                maps(of, old, new, marks);
            }
            (Some(_), Some(_)) => marks.modified.here = true,
            _ => replaced(of, old, new, marks),
        },
        (Form::List(listing @ (Listing::Keys | Listing::Values)), old, new) => {
            match (items(old), items(new)) {
                (Some(old), Some(new)) if !(old.is_empty() && new.is_empty()) => {
                    lists(of, listing, old, new, marks);
                }
                (Some(_), Some(_)) => marks.modified.here = true,
                _ => replaced(of, old, new, marks),
            }
        }
        _ if matches!(of, Of::Any) && old.is_object() => {
            replaced(of, old, new, marks);
        }
        _ => marks.modified.here = true,
    }
}

/// A value of another kind: what was in the old one is gone, what is in the new one is new.
fn replaced<'a, S: Shape<'a>>(of: Of<S>, old: &Value, new: &Value, marks: &mut Marks) {
    marks.modified.here = true;
    marks.removed.below = all(of, old).below;
    marks.added.below = all(of, new).below;
}

/// The members of a value that should be a map; none of null.
fn members(value: &Value) -> Option<&Map<String, Value>> {
    match value {
        Value::Null => EMPTY.as_object(),
        value => value.as_object(),
    }
}

fn maps<'a, S: Shape<'a>>(
    of: Of<S>,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    marks: &mut Marks,
) {
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    for name in new.keys().chain(gone) {
        let (before, after) = (old.get(name), new.get(name));
        if before == after {
            continue;
        }
        let member = of.member(name);
        let (before, after) = (
            before.or_else(|| nothing(&member, after)),
            after.or_else(|| nothing(&member, before)),
        );
        marks.push(&Element::field(name), walk(member.of, before, after));
    }
}

/// What stands for a field that is always there, and is left out where it is empty.
fn nothing<S>(member: &Member<S>, other: Option<&Value>) -> Option<&'static Value> {
    match other {
        Some(Value::Object(_)) if member.kept => Some(&EMPTY),
        Some(Value::Array(_)) if member.kept => Some(&NULL),
        _ => None,
    }
}

fn lists<'a, S: Shape<'a>>(
    of: Of<S>,
    listing: Listing,
    old: &[Value],
    new: &[Value],
    marks: &mut Marks,
) {
    let old = grouped(of, listing, old);
    let mut old: std::collections::BTreeMap<Element, Vec<&Value>> = old.into_iter().collect();
    for (element, after) in grouped(of, listing, new) {
        let before = old.remove(&element).unwrap_or_default();
        marks.push(&element, items_of_one(of, &before, &after));
    }
    for (element, before) in old {
        marks.push(&element, items_of_one(of, &before, &[]));
    }
}

/// Compares the items of one element of a list: more than one are owned as one.
fn items_of_one<'a, S: Shape<'a>>(of: Of<S>, before: &[&Value], after: &[&Value]) -> Marks {
    let mut marks = Marks::default();
    match (before, after) {
        ([] | [_], [] | [_]) => {
            return walk(
                of.element(),
                before.first().copied(),
                after.first().copied(),
            );
        }
        ([_, _, ..], [_, _, ..]) => marks.modified.here = before != after,
        ([_, _, ..], after) => {
            marks.removed.here = true;
            if let [one] = after {
                marks.added.below = all(of.element(), one).below;
            }
        }
        (before, _) => {
            marks.added.here = true;
            if let [one] = before {
                marks.removed.below = all(of.element(), one).below;
            }
        }
    }
    marks
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::THING;

    #[test]
    fn changes_are_told_by_path() {
        let none = || json!({});
        for (old, new, added, modified, removed) in [
            (
                json!({"text": "a"}),
                json!({"text": "a"}),
                none(),
                none(),
                none(),
            ),
            (
                none(),
                json!({"text": "a"}),
                json!({"f:text": {}}),
                none(),
                none(),
            ),
            (
                json!({"text": "a"}),
                json!({"text": "b"}),
                none(),
                json!({"f:text": {}}),
                none(),
            ),
            (
                json!({"text": "a"}),
                none(),
                none(),
                none(),
                json!({"f:text": {}}),
            ),
            // A new map is owned, with its entries; a struct that is always there is not.
            (
                none(),
                json!({"labels": {"a": "b"}}),
                json!({"f:labels": {".": {}, "f:a": {}}}),
                none(),
                none(),
            ),
            (
                none(),
                json!({"spec": {"text": "x"}}),
                json!({"f:spec": {"f:text": {}}}),
                none(),
                none(),
            ),
            (none(), json!({"spec": {}}), none(), none(), none()),
            (
                none(),
                json!({"kept": [{"name": "a"}]}),
                json!({"f:kept": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}}}}),
                none(),
                none(),
            ),
            (
                json!({"items": [{"name": "a", "value": 1}, {"name": "b"}]}),
                json!({"items": [{"name": "c"}, {"name": "a", "value": 2}]}),
                json!({"f:items": {"k:{\"name\":\"c\"}": {".": {}, "f:name": {}}}}),
                json!({"f:items": {"k:{\"name\":\"a\"}": {"f:value": {}}}}),
                json!({"f:items": {"k:{\"name\":\"b\"}": {".": {}, "f:name": {}}}}),
            ),
            (
                json!({"list": [1]}),
                json!({"list": [1, 2]}),
                none(),
                json!({"f:list": {}}),
                none(),
            ),
            (
                json!({"tags": ["a", "b"]}),
                json!({"tags": ["b", "a", "c", "c"]}),
                json!({"f:tags": {"v:\"c\"": {}}}),
                none(),
                none(),
            ),
            (
                json!({"whole": {"x": 1}}),
                json!({"whole": {"x": 1, "y": 2}}),
                none(),
                json!({"f:whole": {}}),
                none(),
            ),
            (
                json!({"anything": {"a": {"b": 1}}}),
                json!({"anything": {"a": 1}}),
                none(),
                json!({"f:anything": {"f:a": {}}}),
                json!({"f:anything": {"f:a": {"f:b": {}}}}),
            ),
        ] {
            let change = compare(THING, &old, &new);
            let shown = [&change.added, &change.modified, &change.removed];
            let expected = [&added, &modified, &removed];
            assert_eq!(
                shown.map(FieldSet::to_fields_v1).each_ref(),
                expected,
                "{old} {new}"
            );
        }
    }
}
