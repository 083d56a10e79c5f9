//! Amounts of resources, in thousandths: finer ones are rounded up.

use sealane_objects::Quantity;

use super::{Fault, Row, run};
use crate::cel::value::{Outcome, Val};

pub(super) const ROWS: &[Row] = &[
    (
        "quantity(string): quantity",
        run!(Text(a) => match Quantity::parse(a) {
            Some(quantity) => Ok(Val::Quantity(quantity)),
            None => Err(Fault::error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")),
        }),
    ),
    (
        "isQuantity(string): bool",
        run!(Text(a) => Ok(Val::Bool(Quantity::parse(a).is_some()))),
    ),
    ("sign(quantity): int", run!(Quantity(a) => sign(*a))),
    ("quantity.sign(): int", run!(Quantity(a) => sign(*a))),
    (
        "quantity.isGreaterThan(quantity): bool",
        run!(Quantity(a), Quantity(b) => Ok(Val::Bool(a.milli > b.milli))),
    ),
    (
        "quantity.isLessThan(quantity): bool",
        run!(Quantity(a), Quantity(b) => Ok(Val::Bool(a.milli < b.milli))),
    ),
    (
        "quantity.compareTo(quantity): int",
        run!(Quantity(a), Quantity(b) => Ok(Val::Int(a.milli.cmp(&b.milli) as i64))),
    ),
    (
        "quantity.asApproximateFloat(): double",
        run!(Quantity(a) => Ok(Val::Double(as_double(*a)))),
    ),
    (
        "quantity.asInteger(): int",
        run!(Quantity(a) => match whole(*a) {
            Some(value) => Ok(Val::Int(value)),
            None => Err(Fault::error("cannot convert value to integer")),
        }),
    ),
    (
        "quantity.isInteger(): bool",
        run!(Quantity(a) => Ok(Val::Bool(whole(*a).is_some()))),
    ),
    (
        "quantity.add(quantity): quantity",
        run!(Quantity(a), Quantity(b) => shifted(*a, b.milli)),
    ),
    (
        "quantity.add(int): quantity",
        run!(Quantity(a), Int(b) => shifted(*a, i128::from(*b) * 1000)),
    ),
    (
        "quantity.sub(quantity): quantity",
        run!(Quantity(a), Quantity(b) => shifted(*a, -b.milli)),
    ),
    (
        "quantity.sub(int): quantity",
        run!(Quantity(a), Int(b) => shifted(*a, i128::from(*b) * -1000)),
    ),
];

fn sign<'a>(quantity: Quantity) -> Outcome<'a> {
    Ok(Val::Int(
        i64::try_from(quantity.milli.signum()).unwrap_or_default(),
    ))
}

fn whole(quantity: Quantity) -> Option<i64> {
    let whole = quantity.milli % 1000 == 0;
    i64::try_from(quantity.milli / 1000).ok().filter(|_| whole)
}

#[expect(clippy::cast_precision_loss, reason = "approximate by name")]
fn as_double(quantity: Quantity) -> f64 {
    quantity.milli as f64 / 1000.0
}

fn shifted<'a>(mut quantity: Quantity, by: i128) -> Outcome<'a> {
    quantity.milli = quantity
        .milli
        .checked_add(by)
        .ok_or_else(|| Fault::error("integer overflow"))?;
    Ok(Val::Quantity(quantity))
}
