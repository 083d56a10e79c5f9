//! Quantities of the API as numbers, see [`sealane_objects::quantity`].

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use sealane_objects::quantity;

/// In whole units, rounded up; `None` when it cannot be read.
pub fn units(quantity: &Quantity) -> Option<u64> {
    quantity::units(&quantity.0)
}

/// In thousandths, rounded up; `None` when it cannot be read.
pub fn millis(quantity: &Quantity) -> Option<u64> {
    quantity::millis(&quantity.0)
}
