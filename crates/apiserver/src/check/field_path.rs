//! Paths into objects, as the rows of the kind table write them.
//!
//! `spec.{containers,initContainers}[].ports[].protocol`: names by dots, alternatives in braces,
//! `[]` for each element of a list, `[*]` for each value of a map. A walk visits the last part
//! wherever its parent exists, present or not, and tells its place as Kubernetes writes it:
//! `spec.containers[0].ports[1].protocol`.

use serde_json::{Map, Value};

/// A parsed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Names(Vec<&'static str>),
    Items,
    Values,
}

/// One place that a path leads to.
#[derive(Debug)]
pub struct Visit<'a> {
    /// The place, as messages name it.
    pub field: String,
    /// What is there; an explicit null counts as absent.
    pub value: Option<&'a Value>,
}

impl FieldPath {
    /// Reads a path from a row of the table.
    pub fn parse(text: &'static str) -> Self {
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

    /// Visits each place that this path leads to.
    pub fn visit<'a>(&self, object: &'a Value, mut visit: impl FnMut(Visit<'a>)) {
        walk(object, &self.0, String::new(), &mut visit);
    }

    /// The first place that this path leads to, for paths without lists.
    pub fn get<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        let mut found = None;
        self.visit(object, |visit| found = found.or(visit.value));
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

fn walk<'a>(value: &'a Value, steps: &[Step], at: String, visit: &mut impl FnMut(Visit<'a>)) {
    let Some((step, rest)) = steps.split_first() else {
        let value = Some(value).filter(|value| !value.is_null());
        return visit(Visit { field: at, value });
    };
    match (step, value) {
        (Step::Names(names), Value::Object(map)) => {
            for name in names {
                let field = if at.is_empty() {
                    (*name).into()
                } else {
                    format!("{at}.{name}")
                };
                match map.get(*name) {
                    Some(child) => walk(child, rest, field, visit),
                    None if rest.is_empty() => visit(Visit { field, value: None }),
                    None => {}
                }
            }
        }
        (Step::Items, Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, rest, format!("{at}[{index}]"), visit);
            }
        }
        (Step::Values, Value::Object(map)) => {
            for (key, child) in map {
                walk(child, rest, format!("{at}[{key}]"), visit);
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
        FieldPath::parse(path).visit(object, |visit| {
            places.push((visit.field, visit.value.cloned()))
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
        FieldPath::parse("spec.{containers,initContainers}[].{x,y}").visit_mut(
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
