//! JSON patch: RFC 6902, with pointers of RFC 6901.

use serde::Deserialize;
use serde_json::Value;

use super::PatchError;

/// More operations than this are refused, as kube-apiserver does.
const OPERATIONS_MAX: usize = 10_000;

/// What all copies together may add: a few of them can double an object over and over.
const COPIED_MAX_BYTES: usize = 3 << 20;

/// What is looked at to know how deep it is, in all: moves that go deeper may take the same again and again.
const WALKED_MAX_BYTES: usize = 32 << 20;

/// Values within values. More cannot be read from JSON any more, and each is a call within a call wherever an object
/// is written, copied or dropped; a copy into itself can double it.
const DEEPEST: usize = 127;

/// One operation.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Operation {
    /// Puts a value somewhere.
    Add { path: String, value: Value },
    /// Takes what is somewhere away.
    Remove { path: String },
    /// Puts a value in another's place.
    Replace { path: String, value: Value },
    /// Takes what is somewhere elsewhere.
    Move { from: String, path: String },
    /// Puts what is somewhere also elsewhere.
    Copy { from: String, path: String },
    /// Goes on only if a value is somewhere.
    Test { path: String, value: Value },
}

/// Reads the operations.
pub fn parse(patch: Value) -> Result<Vec<Operation>, PatchError> {
    if !patch.is_array() {
        let why = format!(
            "json: cannot unmarshal {} into Go value of type jsonpatch.Patch",
            super::go_name(&patch)
        );
        return Err(PatchError::Malformed(why));
    }
    let operations = Vec::<Operation>::deserialize(patch)
        .map_err(|cause| PatchError::Malformed(cause.to_string()))?;
    if operations.len() > OPERATIONS_MAX {
        let message = format!(
            "the allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {}",
            operations.len()
        );
        return Err(PatchError::Malformed(message));
    }
    Ok(operations)
}

/// Applies the operations in order; all of them or none.
pub fn apply(operations: &[Operation], mut document: Value) -> Result<Value, PatchError> {
    let (mut copied, mut walked) = (0, 0);
    for operation in operations {
        match operation {
            Operation::Add { path, value } => {
                may_stand("add", path, value)?;
                add(&mut document, path, value.clone())?;
            }
            Operation::Remove { path } => {
                remove(&mut document, path)?;
            }
            Operation::Replace { path, value } => {
                may_stand("replace", path, value)?;
                *at(&mut document, path)? = value.clone();
            }
            Operation::Move { from, path } => {
                if path
                    .strip_prefix(from.as_str())
                    .is_some_and(|rest| rest.starts_with('/'))
                {
                    return Err(unfit("move", path, "a value cannot be moved into itself"));
                }
                let value = remove(&mut document, from)?;
                if parts(path) > parts(from) {
                    walked += size(&value);
                    if walked > WALKED_MAX_BYTES {
                        return Err(unfit("move", path, "what is moved is too large in all"));
                    }
                    may_stand("move", path, &value)?;
                }
                add(&mut document, path, value)?;
            }
            Operation::Copy { from, path } => {
                let value = at(&mut document, from)?.clone();
                copied += size(&value);
                if copied > COPIED_MAX_BYTES {
                    return Err(unfit("copy", path, "what is copied is too large in all"));
                }
                may_stand("copy", path, &value)?;
                add(&mut document, path, value)?;
            }
            Operation::Test { path, value } => {
                if at(&mut document, path)? != value {
                    return Err(unfit("test", path, "the value is another"));
                }
            }
        }
    }
    Ok(document)
}

/// Whether a value may be where a pointer points at.
fn may_stand(operation: &str, path: &str, value: &Value) -> Result<(), PatchError> {
    match parts(path) + depth(value) > DEEPEST {
        true => Err(unfit(
            operation,
            path,
            "the object would be nested too deeply",
        )),
        false => Ok(()),
    }
}

/// The parts of a pointer: how deep it points.
fn parts(path: &str) -> usize {
    path.matches('/').count()
}

/// Lists and maps within each other.
fn depth(value: &Value) -> usize {
    let below = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(map) => map.values().map(depth).max(),
        _ => return 0,
    };
    below.unwrap_or(0) + 1
}

/// About how many bytes a value has as JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(size).sum::<usize>() + 2,
        Value::Object(map) => {
            map.iter()
                .map(|(key, value)| key.len() + 4 + size(value))
                .sum::<usize>()
                + 2
        }
    }
}

fn unfit(operation: &str, path: &str, why: &str) -> PatchError {
    PatchError::Unfit(format!(
        "{operation} operation does not apply: path {path:?}: {why}"
    ))
}

fn missing(path: &str) -> PatchError {
    unfit("patch", path, "missing value")
}

/// What a pointer points at.
fn at<'a>(document: &'a mut Value, path: &str) -> Result<&'a mut Value, PatchError> {
    document.pointer_mut(path).ok_or_else(|| missing(path))
}

/// The parent that a pointer leads to, and the last part of it.
fn parent<'a>(document: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), PatchError> {
    let (above, last) = path.rsplit_once('/').ok_or_else(|| missing(path))?;
    let last = last.replace("~1", "/").replace("~0", "~");
    Ok((at(document, above)?, last))
}

fn add(document: &mut Value, path: &str, value: Value) -> Result<(), PatchError> {
    if path.is_empty() {
        *document = value;
        return Ok(());
    }
    match parent(document, path)? {
        (Value::Object(map), name) => {
            map.insert(name, value);
        }
        (Value::Array(items), index) => {
            let index = if index == "-" {
                Some(items.len())
            } else {
                number(&index)
            };
            match index.filter(|index| *index <= items.len()) {
                Some(index) => items.insert(index, value),
                None => return Err(unfit("add", path, "no such place in the list")),
            }
        }
        _ => return Err(missing(path)),
    }
    Ok(())
}

fn remove(document: &mut Value, path: &str) -> Result<Value, PatchError> {
    if path.is_empty() {
        return Ok(document.take());
    }
    let removed = match parent(document, path)? {
        (Value::Object(map), name) => map.remove(&name),
        (Value::Array(items), index) => number(&index)
            .filter(|index| *index < items.len())
            .map(|index| items.remove(index)),
        _ => None,
    };
    removed.ok_or_else(|| unfit("remove", path, "missing value"))
}

/// An index without leading zeros (RFC 6901 §4).
fn number(text: &str) -> Option<usize> {
    let plain = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(document: Value, patch: Value) -> Result<Value, PatchError> {
        apply(&parse(patch)?, document)
    }

    /// Examples of RFC 6902, appendix A, and of what clients of Kubernetes send.
    #[test]
    fn operations_do_what_the_rfc_says() {
        for (document, patch, expected) in [
            (
                json!({"foo": "bar"}),
                json!([{"op": "add", "path": "/baz", "value": "qux"}]),
                json!({"foo": "bar", "baz": "qux"}),
            ),
            (
                json!({"foo": ["bar", "baz"]}),
                json!([{"op": "add", "path": "/foo/1", "value": "qux"}]),
                json!({"foo": ["bar", "qux", "baz"]}),
            ),
            (
                json!({"foo": ["bar"]}),
                json!([{"op": "add", "path": "/foo/-", "value": ["abc"]}]),
                json!({"foo": ["bar", ["abc"]]}),
            ),
            (
                json!({"foo": ["a", "b", "c"]}),
                json!([{"op": "remove", "path": "/foo/1"}]),
                json!({"foo": ["a", "c"]}),
            ),
            (
                json!({"foo": {"bar": 1, "waldo": 2}, "qux": {}}),
                json!([{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}]),
                json!({"foo": {"bar": 1}, "qux": {"thud": 2}}),
            ),
            (
                json!({"metadata": {"annotations": {"a/b": "x"}}}),
                json!([
                    {"op": "test", "path": "/metadata/annotations/a~1b", "value": "x"},
                    {"op": "replace", "path": "/metadata/annotations/a~1b", "value": "y"},
                    {"op": "copy", "from": "/metadata/annotations/a~1b", "path": "/z"},
                ]),
                json!({"metadata": {"annotations": {"a/b": "y"}}, "z": "y"}),
            ),
        ] {
            assert_eq!(run(document, patch.clone()).unwrap(), expected, "{patch}");
        }
    }

    #[test]
    fn an_object_cannot_be_doubled_for_ever() {
        let operations: Vec<Value> = (0..64)
            .map(|n| json!({"op": "copy", "from": "", "path": format!("/a{n}")}))
            .collect();
        let refused = run(json!({"x": "y"}), json!(operations))
            .unwrap_err()
            .to_string();
        assert!(refused.contains("too large in all"), "{refused}");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for patch in [
            json!([{"op": "remove", "path": "/x"}]),
            json!([{"op": "replace", "path": "/x", "value": 1}]),
            json!([{"op": "add", "path": "/x/y", "value": 1}]),
            json!([{"op": "add", "path": "/list/5", "value": 1}]),
            json!([{"op": "remove", "path": "/list/01"}]),
            json!([{"op": "test", "path": "/list", "value": []}]),
            json!([{"op": "move", "from": "/map", "path": "/map/a"}]),
        ] {
            let refused = run(json!({"list": [1, 2], "map": {}}), patch.clone());
            assert!(
                matches!(refused, Err(PatchError::Unfit(_))),
                "{patch} {refused:?}"
            );
        }
        for patch in [
            json!({}),
            json!([{"op": "jump", "path": "/"}]),
            json!([{"op": "add"}]),
        ] {
            assert!(matches!(
                run(json!({}), patch),
                Err(PatchError::Malformed(_))
            ));
        }
    }

    /// Each doubles how deep it is: some twenty of them, and no thread's stack is long enough to drop it.
    #[test]
    fn nothing_is_nested_deeper_than_can_be_read() {
        let mut operations = vec![json!({"op": "add", "path": "/a", "value": {}})];
        for doubled in 0..7 {
            let path = "/a".repeat(1 << doubled);
            operations.push(json!({"op": "copy", "from": "/a", "path": format!("{path}/a")}));
        }
        let found = run(json!({}), Value::Array(operations.clone())).unwrap_err();
        assert!(found.to_string().contains("nested too deeply"), "{found}");
        operations.pop();
        let deep = run(json!({}), Value::Array(operations)).unwrap();
        assert_eq!(depth(&deep), 65);
        assert!(serde_json::from_str::<Value>(&deep.to_string()).is_ok());

        let wrap = [
            json!({"op": "add", "path": "/b", "value": {}}),
            json!({"op": "move", "from": "/a", "path": "/b/a"}),
            json!({"op": "move", "from": "/b", "path": "/a"}),
        ];
        let rounds = |rounds: usize| {
            let all = std::iter::repeat_n(&wrap, rounds).flatten();
            Value::Array(all.cloned().collect())
        };
        let deepest = run(json!({"a": {}}), rounds(125)).unwrap();
        assert_eq!(depth(&deepest), DEEPEST);
        assert!(serde_json::from_str::<Value>(&deepest.to_string()).is_ok());
        assert!(run(json!({"a": {}}), rounds(126)).is_err());
    }
}
