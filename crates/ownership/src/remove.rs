//! A value without some of its fields.

use serde_json::Value;

use crate::{FieldSet, Form, Listing, Of, Shape, list::element_of};

/// The value without the members, entries and elements that are in the set; none if nothing is
/// left of it.
pub(crate) fn remove<'a, S: Shape<'a>>(of: Of<S>, value: &Value, gone: &FieldSet) -> Option<Value> {
    if gone.is_empty() {
        return Some(value.clone());
    }
    match (of.form(value), value) {
        (Form::Map { whole: false }, Value::Object(members)) => {
            let kept = members.iter().filter_map(|(name, value)| {
                let left = match gone.get_field(name) {
                    None => value.clone(),
                    Some(node) if node.member => return None,
                    Some(node) => remove(of.member(name).of, value, &node.below)?,
                };
                Some((name.clone(), left))
            });
            let kept: serde_json::Map<String, Value> = kept.collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        (Form::List(listing @ (Listing::Keys | Listing::Values)), Value::Array(items)) => {
            let kept = items.iter().filter_map(|item| {
                let element = element_of(of, listing, item).ok();
                match element.and_then(|element| gone.get(&element)) {
                    None => Some(item.clone()),
                    Some(node) if node.member => None,
                    Some(node) => remove(of.element(), item, &node.below),
                }
            });
            let kept: Vec<Value> = kept.collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        (Form::Scalar(_), value) => Some(value.clone()),
        // Owned as a whole: when something in it goes, all of it does.
        _ => None,
    }
}
