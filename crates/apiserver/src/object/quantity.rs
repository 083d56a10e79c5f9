//! The one form in which amounts of resources are kept.

use sealane_objects::Quantity;
use serde_json::Value;

/// Writes the amounts of a list of resources in their normal form.
pub fn normalize(list: &mut Value) {
    for amount in list
        .as_object_mut()
        .into_iter()
        .flat_map(|map| map.values_mut())
    {
        let read = amount.as_str().and_then(Quantity::parse);
        if let Some(quantity) = read {
            *amount = quantity.to_string().into();
        }
    }
}
