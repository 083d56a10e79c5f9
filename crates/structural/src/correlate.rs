//! Which old value a new one stands for.

use serde_json::Value;

use crate::node::List;

/// The item of the old list that has the new item's keys. Only a list of type `map` says which
/// that is.
pub(crate) fn old_item<'a>(list: &List, old: &'a Value, item: &Value) -> Option<&'a Value> {
    let List::Map(keys) = list else {
        return None;
    };
    item.as_object()?;
    let same = |old: &&Value| {
        keys.iter()
            .all(|key| old.get(key.as_ref()) == item.get(key.as_ref()))
    };
    old.as_array()?.iter().find(same)
}
