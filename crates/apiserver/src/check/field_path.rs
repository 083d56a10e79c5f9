//! Paths into objects, as the rows of the kind table write them.
//!
//! `spec.{containers,initContainers}[].ports[].protocol`: names by dots, alternatives in braces,
//! `[]` for each element of a list, `[*]` for each value of a map. A walk visits the last part
//! wherever its parent exists, present or not, and tells its place as Kubernetes writes it:
//! `spec.containers[0].ports[1].protocol`.

use std::{
    collections::HashMap,
    fmt,
    sync::{LazyLock, PoisonError, RwLock},
};

use serde_json::{Map, Value};

/// A path that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Names(Vec<&'static str>),
    Items,
    Values,
}

/// A place that a path leads to. It is put into words only where something is wrong there.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// The object itself.
    Root,
    /// A field.
    Field(&'a Place<'a>, &'a str),
    /// An element of a list.
    Item(&'a Place<'a>, usize),
    /// A value of a map.
    Key(&'a Place<'a>, &'a str),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Place::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
            Self::Key(parent, key) => write!(f, "{parent}[{key}]"),
        }
    }
}

/// The paths of the table, each read once.
static READ: LazyLock<RwLock<HashMap<&'static str, &'static FieldPath>>> =
    LazyLock::new(RwLock::default);

impl FieldPath {
    /// The path that a row of the table writes so.
    pub fn of(text: &'static str) -> &'static Self {
        let read = READ.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = read.get(text) {
            return path;
        }
        drop(read);
        let mut read = READ.write().unwrap_or_else(PoisonError::into_inner);
        // Rows are static, so this is bounded by the size of the table.
        read.entry(text)
            .or_insert_with(|| Box::leak(Box::new(Self::parse(text))))
    }

    fn parse(text: &'static str) -> Self {
        let mut steps = Vec::new();
        for part in split_dots(text) {
            let (names, suffix) = part.split_at(part.find('[').unwrap_or(part.len()));
            if let Some(alternatives) = names.strip_prefix('{') {
                steps.push(Step::Names(
                    alternatives.trim_end_matches('}').split(',').collect(),
                ));
            } else if !names.is_empty() {
                steps.push(Step::Names(vec![names]));
            }
            match suffix {
                "[]" => steps.push(Step::Items),
                "[*]" => steps.push(Step::Values),
                _ => {}
            }
        }
        Self(steps)
    }

    /// Visits each place that this path leads to, with what is there; an explicit null counts as
    /// absent.
    pub fn visit<'v>(
        &self,
        object: &'v Value,
        mut visit: impl FnMut(&Place<'_>, Option<&'v Value>),
    ) {
        walk(object, &self.0, &Place::Root, &mut visit);
    }

    /// The first value that this path leads to, for paths without lists.
    pub fn get<'v>(&self, object: &'v Value) -> Option<&'v Value> {
        let mut found = None;
        self.visit(object, |_, value| found = found.or(value));
        found
    }

    /// Shows each parent of the last name, with that name, so that it can be set or removed.
    pub fn visit_mut(
        &self,
        object: &mut Value,
        mut edit: impl FnMut(&mut Map<String, Value>, &str),
    ) {
        walk_mut(object, &self.0, &mut edit);
    }
}

/// Splits at dots outside of braces.
fn split_dots(text: &'static str) -> impl Iterator<Item = &'static str> {
    let mut braces = 0;
    text.split(move |c| {
        match c {
            '{' => braces += 1,
            '}' => braces -= 1,
            _ => {}
        }
        c == '.' && braces == 0
    })
}

fn walk<'v>(
    value: &'v Value,
    steps: &[Step],
    at: &Place<'_>,
    visit: &mut impl FnMut(&Place<'_>, Option<&'v Value>),
) {
    let Some((step, rest)) = steps.split_first() else {
        return visit(at, Some(value).filter(|value| !value.is_null()));
    };
    match (step, value) {
        (Step::Names(names), Value::Object(map)) => {
            for name in names {
                let place = Place::Field(at, name);
                match map.get(*name) {
                    Some(child) => walk(child, rest, &place, visit),
                    None if rest.is_empty() => visit(&place, None),
                    None => {}
                }
            }
        }
        (Step::Items, Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, rest, &Place::Item(at, index), visit);
            }
        }
        (Step::Values, Value::Object(map)) => {
            for (key, child) in map {
                walk(child, rest, &Place::Key(at, key), visit);
            }
        }
        _ => {}
    }
}

fn walk_mut(
    value: &mut Value,
    steps: &[Step],
    edit: &mut impl FnMut(&mut Map<String, Value>, &str),
) {
    let Some((step, rest)) = steps.split_first() else {
        return;
    };
    match (step, value) {
        (Step::Names(names), Value::Object(map)) => {
            for name in names {
                if rest.is_empty() {
                    edit(map, name);
                } else if let Some(child) = map.get_mut(*name) {
                    walk_mut(child, rest, edit);
                }
            }
        }
        (Step::Items, Value::Array(items)) => {
            items.iter_mut().for_each(|item| walk_mut(item, rest, edit));
        }
        (Step::Values, Value::Object(map)) => {
            map.values_mut()
                .for_each(|child| walk_mut(child, rest, edit));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn places(path: &'static str, object: &Value) -> Vec<(String, Option<Value>)> {
        let mut places = Vec::new();
        FieldPath::of(path).visit(object, |place, value| {
            places.push((place.to_string(), value.cloned()))
        });
        places
    }

    #[test]
    fn a_path_leads_wherever_its_parent_exists() {
        let pod = json!({"spec": {
            "containers": [{"name": "a", "ports": [{"protocol": "UDP"}, {}]}, {"name": "b"}],
            "nodeSelector": {"x": "1"},
            "empty": null,
        }});
        for (path, expected) in [
            ("spec", vec![("spec", Some(pod["spec"].clone()))]),
            ("spec.restartPolicy", vec![("spec.restartPolicy", None)]),
            ("spec.empty", vec![("spec.empty", None)]),
            ("status.phase", vec![]),
            (
                "spec.{containers,initContainers}[].name",
                vec![
                    ("spec.containers[0].name", Some(json!("a"))),
                    ("spec.containers[1].name", Some(json!("b"))),
                ],
            ),
            (
                "spec.containers[].ports[].protocol",
                vec![
                    ("spec.containers[0].ports[0].protocol", Some(json!("UDP"))),
                    ("spec.containers[0].ports[1].protocol", None),
                ],
            ),
            (
                "spec.nodeSelector[*]",
                vec![("spec.nodeSelector[x]", Some(json!("1")))],
            ),
        ] {
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(at, value)| (at.to_string(), value))
                .collect();
            assert_eq!(places(path, &pod), expected, "{path}");
        }
    }

    #[test]
    fn edits_reach_each_parent() {
        let mut pod = json!({"spec": {"containers": [{}, {"x": 1}]}});
        FieldPath::of("spec.{containers,initContainers}[].{x,y}").visit_mut(
            &mut pod,
            |map, name| {
                map.entry(name).or_insert(json!(2));
            },
        );
        assert_eq!(
            pod,
            json!({"spec": {"containers": [{"x": 2, "y": 2}, {"x": 1, "y": 2}]}})
        );
    }
}
