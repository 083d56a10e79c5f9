//! Whole Kubernetes objects inside an object (`x-kubernetes-embedded-resource`): their type and
//! metadata are held to what holds for all objects.

use sealane_objects::format;
use serde_json::{Map, Value};

use crate::correlate::old_item;
use crate::node::Node;
use crate::path::Path;
use crate::problem::Problem;

pub(super) fn check(
    node: &Node,
    value: &Value,
    old: Option<&Value>,
    at: &Path<'_>,
    problems: &mut Vec<Problem>,
) {
    if !node.below.embedded || old == Some(value) {
        return;
    }
    match value {
        Value::Object(map) => {
            if node.embedded {
                check_object(map, at, problems);
            }
            for (name, value) in map {
                let Some(member) = node.member(name) else {
                    continue;
                };
                let place = match node.properties.contains_key(name.as_str()) {
                    true => at.field(name),
                    false => at.key(name),
                };
                let old = old.and_then(|old| old.get(name));
                check(member, value, old, &place, problems);
            }
        }
        Value::Array(items) => {
            if let Some(member) = &node.items {
                for (index, item) in items.iter().enumerate() {
                    let old = old.and_then(|old| old_item(&node.list, old, item));
                    check(member, item, old, &at.index(index), problems);
                }
            }
        }
        _ => {}
    }
}

fn check_object(object: &Map<String, Value>, at: &Path<'_>, problems: &mut Vec<Problem>) {
    check_text(object, "apiVersion", at, problems, |version| {
        let wrong = version.split('/').count() > 2;
        let why = || format!("unexpected GroupVersion string: {version}");
        wrong.then(why).into_iter().collect()
    });
    check_text(object, "kind", at, problems, |kind| {
        let wrong = format::dns_1035_label(&kind.to_ascii_lowercase());
        if wrong.is_empty() {
            return wrong;
        }
        vec![format!(
            "may have mixed case, but should otherwise match: {}",
            wrong.join(",")
        )]
    });
    if let Some(metadata) = object.get("metadata") {
        check_metadata(metadata, &at.field("metadata"), problems);
    }
}

fn check_text(
    object: &Map<String, Value>,
    name: &str,
    at: &Path<'_>,
    problems: &mut Vec<Problem>,
    judge: impl Fn(&str) -> Vec<String>,
) {
    let place = at.field(name);
    match object.get(name) {
        None => problems.push(Problem::required(place, "")),
        Some(Value::String(text)) if text.is_empty() => {
            problems.push(Problem::invalid(place, "", "must not be empty"));
        }
        Some(Value::String(text)) => {
            let wrong = judge(text).into_iter();
            problems.extend(wrong.map(|why| Problem::invalid(place, text.as_str(), why)));
        }
        Some(other) => problems.push(Problem::invalid(place, other.clone(), "must be a string")),
    }
}

fn check_metadata(metadata: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    let Some(metadata) = metadata.as_object() else {
        problems.push(Problem::invalid(at, metadata.clone(), "must be an object"));
        return;
    };
    type Judge = fn(&str) -> Vec<String>;
    let names: [(&str, Judge); 3] = [
        ("name", format::path_segment),
        ("generateName", format::path_segment),
        ("namespace", format::dns_label),
    ];
    for (name, judge) in names {
        match metadata.get(name) {
            None => {}
            Some(Value::String(text)) if text.is_empty() => {}
            Some(Value::String(text)) => {
                let wrong = judge(text).into_iter();
                problems
                    .extend(wrong.map(|why| Problem::invalid(at.field(name), text.as_str(), why)));
            }
            Some(other) => {
                let detail = "must be a string";
                problems.push(Problem::invalid(at.field(name), other.clone(), detail));
            }
        }
    }
    for (name, values) in [
        ("labels", format::label_value as Judge),
        ("annotations", |_| Vec::new()),
    ] {
        let place = at.field(name);
        match metadata.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::Object(map)) => {
                for (key, value) in map {
                    let mut wrong = format::qualified_name(key);
                    match value.as_str() {
                        Some(text) => wrong.extend(values(text)),
                        None => wrong.push("must be a string".into()),
                    }
                    let shown = key.as_str();
                    problems.extend(
                        wrong
                            .into_iter()
                            .map(|why| Problem::invalid(place, shown, why)),
                    );
                }
            }
            Some(other) => {
                problems.push(Problem::invalid(place, other.clone(), "must be an object"));
            }
        }
    }
}
