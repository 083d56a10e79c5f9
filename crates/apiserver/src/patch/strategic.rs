//! Strategic merge patch, as `k8s.io/apimachinery/pkg/util/strategicpatch`.
//!
//! A merge patch that knows some lists to be sets of named things: which, the type says. Directives within the patch:
//! `$patch: replace | delete | merge` for a map or an element, `$retainKeys` for the only fields
//! that stay, `$deleteFromPrimitiveList/FIELD` for texts to take out of a list, and
//! `$setElementOrder/FIELD` for the order of a list's elements afterwards.

use serde_json::{Map, Value};

use super::PatchError;
use crate::schema::{Field, Many, Type};

const PATCH: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const DELETE: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

/// The object, of type `of`, with this change. Without a type, lists are replaced.
pub fn apply(object: Value, patch: &Value, of: Option<&Type>) -> Result<Value, PatchError> {
    let (Value::Object(object), Value::Object(patch)) = (object, patch) else {
        return Err(unfit("a strategic merge patch changes objects only"));
    };
    merge_map(object, patch, of).map(Value::Object)
}

fn unfit(why: impl Into<String>) -> PatchError {
    PatchError::Unfit(why.into())
}

type Object = Map<String, Value>;

fn merge_map(mut object: Object, patch: &Object, of: Option<&Type>) -> Result<Object, PatchError> {
    match patch.get(PATCH).and_then(Value::as_str) {
        None | Some("merge") => {}
        Some("replace") => return Ok(without_directives(patch)),
        Some("delete") => return Ok(Object::new()),
        Some(other) => return Err(unfit(format!("unknown patch type: {other}"))),
    }
    if let Some(retained) = patch.get(RETAIN).and_then(Value::as_array) {
        object.retain(|name, _| retained.iter().any(|one| one == name));
    }
    for (name, value) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
        let field = of.and_then(|of| of.named(name));
        let inner = value_type(field);
        let order = patch
            .get(&format!("{ORDER}{name}"))
            .and_then(Value::as_array);
        let merged = match (object.remove(name), value) {
            (_, Value::Null) => continue,
            (Some(Value::Object(before)), Value::Object(change)) => {
                Value::Object(merge_map(before, change, inner)?)
            }
            (_, Value::Object(change)) => Value::Object(merge_map(Object::new(), change, inner)?),
            (before, Value::Array(change)) => {
                let before = before.and_then(into_array).unwrap_or_default();
                Value::Array(merge_list(before, change, order, field)?)
            }
            (_, value) => value.clone(),
        };
        object.insert(name.clone(), merged);
    }
    for (directive, value) in patch {
        if let Some(name) = directive.strip_prefix(DELETE) {
            let gone = value.as_array().map_or(&[][..], Vec::as_slice);
            if let Some(list) = object.get_mut(name).and_then(Value::as_array_mut) {
                list.retain(|item| !gone.contains(item));
            }
        }
        if let Some(name) = directive.strip_prefix(ORDER)
            && !patch.contains_key(name)
            && let Some(order) = value.as_array()
            && let Some(list) = object.get_mut(name).and_then(Value::as_array_mut)
        {
            // Only the order changes: nothing of the list is in the patch.
            let field = of.and_then(|of| of.named(name));
            let before = std::mem::take(list);
            *list = merge_list(before, &[], Some(order), field)?;
        }
    }
    Ok(object)
}

fn into_array(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

/// The type of a field's values; none for maps, whose values are as they come.
fn value_type(field: Option<&Field>) -> Option<&'static Type> {
    let field = field.filter(|field| field.many != Many::Map)?;
    Type::find(field.value)
}

fn merge_list(
    before: Vec<Value>,
    change: &[Value],
    order: Option<&Vec<Value>>,
    field: Option<&Field>,
) -> Result<Vec<Value>, PatchError> {
    match field.map_or(Many::List, |field| field.many) {
        Many::List | Many::One | Many::Map if change.is_empty() && order.is_some() => Ok(before),
        Many::List | Many::One | Many::Map => Ok(change.iter().map(plain).collect()),
        Many::Set => {
            let mut merged = before.clone();
            merged.extend(change.iter().filter(|item| !before.contains(item)).cloned());
            let same = |a: &Value, b: &Value| a == b;
            Ok(ordered(merged, &before, change, order, same))
        }
        Many::By(key) => {
            let merged = merge_elements(before.clone(), change, key, value_type(field))?;
            let same = |a: &Value, b: &Value| a[key] == b[key];
            Ok(ordered(merged, &before, change, order, same))
        }
    }
}

fn merge_elements(
    before: Vec<Value>,
    change: &[Value],
    key: &str,
    of: Option<&Type>,
) -> Result<Vec<Value>, PatchError> {
    let directive = |item: &Value| item[PATCH].as_str().map(str::to_owned);
    if change
        .iter()
        .any(|item| directive(item).as_deref() == Some("replace") && item[key].is_null())
    {
        let kept = change.iter().filter(|item| directive(item).is_none());
        return Ok(kept.map(plain).collect());
    }
    let mut merged = before;
    for item in change {
        let Some(fields) = item.as_object() else {
            return Err(unfit(format!(
                "{item} is not an object with the merge key {key}"
            )));
        };
        if item[key].is_null() {
            return Err(unfit(format!(
                "map: {item} does not contain declared merge key: {key}"
            )));
        }
        let found = merged.iter().position(|one| one[key] == item[key]);
        match (directive(item).as_deref(), found) {
            (Some("delete"), _) => merged.retain(|one| one[key] != item[key]),
            (_, Some(at)) => {
                let before = merged[at].take();
                let before = if let Value::Object(before) = before {
                    before
                } else {
                    Object::new()
                };
                merged[at] = Value::Object(merge_map(before, fields, of)?);
            }
            (_, None) => merged.push(Value::Object(merge_map(Object::new(), fields, of)?)),
        }
    }
    Ok(merged)
}

/// Puts the elements of a merged list in order.
///
/// Those that the patch speaks of (in its list or its order) come in the order of the patch, the
/// others in the order they had; where both had a place before, the one that came first comes
/// first.
fn ordered(
    merged: Vec<Value>,
    before: &[Value],
    change: &[Value],
    order: Option<&Vec<Value>>,
    same: impl Fn(&Value, &Value) -> bool,
) -> Vec<Value> {
    let Some(order) = order else { return merged };
    let place = |list: &[Value], item: &Value| list.iter().position(|one| same(one, item));
    let spoken =
        |item: &Value| place(order, item).or(place(change, item).map(|at| order.len() + at));
    let (mut patched, others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| spoken(item).is_some());
    patched.sort_by_key(|item| spoken(item));
    let mut result = Vec::with_capacity(patched.len() + others.len());
    let (mut patched, mut others) = (
        patched.into_iter().peekable(),
        others.into_iter().peekable(),
    );
    loop {
        match (others.peek(), patched.peek()) {
            (None, None) => return result,
            (Some(other), Some(one)) => {
                let first = match (place(before, other), place(before, one)) {
                    (Some(other), Some(one)) => other < one,
                    _ => false,
                };
                result.extend(if first { others.next() } else { patched.next() });
            }
            (Some(_), None) => result.extend(others.next()),
            (None, Some(_)) => result.extend(patched.next()),
        }
    }
}

fn without_directives(map: &Object) -> Object {
    let plain_members = map.iter().filter(|(name, _)| !name.starts_with('$'));
    plain_members
        .map(|(name, value)| (name.clone(), plain(value)))
        .collect()
}

fn plain(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(without_directives(map)),
        Value::Array(items) => items.iter().map(plain).collect(),
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patches_do_what_kubernetes_does() {
        let pod = Type::of_kind("", "v1", "Pod");
        let two = json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b"}]}});
        for (what, object, patch, expected) in [
            (
                "elements merge by their key",
                two.clone(),
                json!({"spec": {"containers": [{"name": "a", "image": "2"}]}}),
                json!({"spec": {"containers": [{"name": "a", "image": "2"}, {"name": "b"}]}}),
            ),
            (
                "new elements go to the end",
                two.clone(),
                json!({"spec": {"containers": [{"name": "c"}]}}),
                json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b"}, {"name": "c"}]}}),
            ),
            (
                "elements can be deleted",
                two.clone(),
                json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}),
                json!({"spec": {"containers": [{"name": "b"}]}}),
            ),
            (
                "a list can be replaced",
                two.clone(),
                json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}}),
                json!({"spec": {"containers": [{"name": "z"}]}}),
            ),
            (
                "the order can be set",
                two.clone(),
                json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "b", "image": "x"}]}}),
                json!({"spec": {"containers": [{"name": "b", "image": "x"}, {"name": "a", "image": "1"}]}}),
            ),
            (
                "the order alone can be set",
                two.clone(),
                json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}),
                json!({"spec": {"containers": [{"name": "b"}, {"name": "a", "image": "1"}]}}),
            ),
            (
                "elements that the patch does not know keep their place",
                json!({"spec": {"volumes": [{"name": "server"}, {"name": "a"}, {"name": "b"}]}}),
                json!({"spec": {"$setElementOrder/volumes": [{"name": "b"}, {"name": "a"}], "volumes": [{"name": "b", "emptyDir": {}}]}}),
                json!({"spec": {"volumes": [{"name": "server"}, {"name": "b", "emptyDir": {}}, {"name": "a"}]}}),
            ),
            (
                "texts in a set are added once",
                json!({"metadata": {"finalizers": ["a", "b"]}}),
                json!({"metadata": {"finalizers": ["b", "c"], "$deleteFromPrimitiveList/finalizers": ["a"]}}),
                json!({"metadata": {"finalizers": ["b", "c"]}}),
            ),
            (
                "only some keys stay",
                json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
                json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/"}, "$retainKeys": ["name", "hostPath"]}]}}),
                json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}}),
            ),
            (
                "maps merge, null removes, other lists are replaced",
                json!({"a": {"x": 1, "y": 2}, "args": ["1", "2"]}),
                json!({"a": {"x": null, "z": {"q": null}}, "args": ["3"]}),
                json!({"a": {"y": 2, "z": {}}, "args": ["3"]}),
            ),
            (
                "a map can be replaced",
                json!({"a": {"x": 1}}),
                json!({"a": {"$patch": "replace", "y": 1}}),
                json!({"a": {"y": 1}}),
            ),
            (
                "conditions merge by type",
                json!({"status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "X"}]}}),
                json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
                json!({"status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "X"}]}}),
            ),
        ] {
            assert_eq!(apply(object, &patch, pod).unwrap(), expected, "{what}");
        }
    }

    #[test]
    fn what_has_no_key_or_an_unknown_directive_is_refused() {
        let pod = Type::of_kind("", "v1", "Pod");
        for patch in [
            json!({"spec": {"containers": [{"image": "x"}]}}),
            json!({"spec": {"containers": ["x"]}}),
            json!({"a": {"$patch": "explode"}}),
        ] {
            assert!(
                apply(json!({"spec": {"containers": []}}), &patch, pod).is_err(),
                "{patch}"
            );
        }
    }
}
