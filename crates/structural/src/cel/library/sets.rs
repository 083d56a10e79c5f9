//! Lists as sets.

use super::{Cost, Fault, Row};
use crate::cel::equality::contains;
use crate::cel::value::{Outcome, Val};

pub(super) const ROWS: &[Row] = &[
    ("sets.contains(list<A>, list<A>): bool", |cost, args| {
        Ok(Val::Bool(within(cost, &args[1], &args[0])?))
    }),
    ("sets.equivalent(list<A>, list<A>): bool", |cost, args| {
        Ok(Val::Bool(
            within(cost, &args[0], &args[1])? && within(cost, &args[1], &args[0])?,
        ))
    }),
    ("sets.intersects(list<A>, list<A>): bool", intersects),
];

fn within(cost: &mut Cost, part: &Val<'_>, whole: &Val<'_>) -> Result<bool, Fault> {
    let (part, whole) = (part.items()?, whole.items()?);
    cost.charge(part.len() as u64 * whole.len() as u64)?;
    for item in &part {
        if !contains(&whole, item)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn intersects<'a>(cost: &mut Cost, args: &[Val<'a>]) -> Outcome<'a> {
    let (one, other) = (args[0].items()?, args[1].items()?);
    cost.charge(one.len() as u64 * other.len() as u64)?;
    for item in &one {
        if contains(&other, item)? {
            return Ok(Val::Bool(true));
        }
    }
    Ok(Val::Bool(false))
}
