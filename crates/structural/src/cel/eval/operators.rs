//! Operators.

use std::cmp::Ordering;

use super::Cost;
use crate::cel::equality::{compare, contains, equal, joined, list_form};
use crate::cel::syntax::Binary;
use crate::cel::value::{Fault, Key, Outcome, Val};
use crate::node::List;

pub(super) fn negate<'a>(value: Val<'a>) -> Outcome<'a> {
    match value {
        Val::Int(value) => value.checked_neg().map(Val::Int).ok_or_else(overflow),
        Val::Double(value) => Ok(Val::Double(-value)),
        _ => Err(Fault::NoOverload),
    }
}

pub(super) fn apply<'a>(
    operator: Binary,
    a: &Val<'a>,
    b: &Val<'a>,
    cost: &mut Cost,
) -> Outcome<'a> {
    cost.charge(1)?;
    match operator {
        Binary::Equal | Binary::Unequal => {
            let weight = a.weight().min(b.weight());
            charge_walk(weight, a, cost)?;
            charge_walk(weight, b, cost)?;
            Ok(Val::Bool(equal(a, b)? == (operator == Binary::Equal)))
        }
        Binary::In => is_in(a, b, cost),
        Binary::Less => ordered(a, b, Ordering::is_lt),
        Binary::LessOrEqual => ordered(a, b, Ordering::is_le),
        Binary::Greater => ordered(a, b, Ordering::is_gt),
        Binary::GreaterOrEqual => ordered(a, b, Ordering::is_ge),
        arithmetic => {
            if matches!(a, Val::Text(_)) || a.is_list() {
                charge_walk(a.weight() + b.weight(), a, cost)?;
            }
            compute(arithmetic, a, b)
        }
    }
}

/// Texts and lists are walked ten steps at a time; members that are told apart are each looked for.
fn charge_walk(weight: u64, value: &Val<'_>, cost: &mut Cost) -> Result<(), Fault> {
    let searched = value.is_list() && *list_form(value) != List::Atomic;
    cost.charge(match value {
        _ if searched => weight.saturating_mul(weight),
        Val::Text(_) | Val::Bytes(_) => weight / 10,
        value if value.is_list() || value.is_map() => weight / 10,
        _ => 0,
    })
}

fn ordered<'a>(a: &Val<'a>, b: &Val<'a>, wanted: fn(Ordering) -> bool) -> Outcome<'a> {
    match (a, b) {
        (Val::Double(a), Val::Double(b)) if a.is_nan() || b.is_nan() => Ok(Val::Bool(false)),
        (a, b) => compare(a, b)
            .map(|order| Val::Bool(wanted(order)))
            .ok_or(Fault::NoOverload),
    }
}

fn is_in<'a>(a: &Val<'a>, b: &Val<'a>, cost: &mut Cost) -> Outcome<'a> {
    if b.is_map() {
        let key = Key::of(a)?;
        return Ok(Val::Bool(b.member(&key).is_some()));
    }
    cost.charge(b.weight())?;
    Ok(Val::Bool(contains(&b.items()?, a)?))
}

fn overflow() -> Fault {
    Fault::error("integer overflow")
}

fn compute<'a>(operator: Binary, a: &Val<'a>, b: &Val<'a>) -> Outcome<'a> {
    match (a, b) {
        (Val::Int(a), Val::Int(b)) => ints(operator, *a, *b),
        (Val::Uint(a), Val::Uint(b)) => uints(operator, *a, *b),
        (Val::Double(a), Val::Double(b)) => doubles(operator, *a, *b),
        (a, b) if operator == Binary::Add && a.is_list() && b.is_list() => joined(a, b),
        (Val::Text(a), Val::Text(b)) if operator == Binary::Add => {
            Ok(Val::text([&**a, &**b].concat()))
        }
        (Val::Bytes(a), Val::Bytes(b)) if operator == Binary::Add => {
            Ok(Val::Bytes([&**a, &**b].concat().into()))
        }
        (a, b) => times(operator, a, b),
    }
}

fn ints<'a>(operator: Binary, a: i64, b: i64) -> Outcome<'a> {
    let value = match operator {
        Binary::Add => a.checked_add(b),
        Binary::Subtract => a.checked_sub(b),
        Binary::Multiply => a.checked_mul(b),
        Binary::Divide if b == 0 => return Err(Fault::error("division by zero")),
        Binary::Remainder if b == 0 => return Err(Fault::error("modulus by zero")),
        Binary::Divide => a.checked_div(b),
        Binary::Remainder => a.checked_rem(b),
        _ => return Err(Fault::NoOverload),
    };
    value.map(Val::Int).ok_or_else(overflow)
}

fn uints<'a>(operator: Binary, a: u64, b: u64) -> Outcome<'a> {
    let value = match operator {
        Binary::Add => a.checked_add(b),
        Binary::Subtract => a.checked_sub(b),
        Binary::Multiply => a.checked_mul(b),
        Binary::Divide if b == 0 => return Err(Fault::error("division by zero")),
        Binary::Remainder if b == 0 => return Err(Fault::error("modulus by zero")),
        Binary::Divide => a.checked_div(b),
        Binary::Remainder => a.checked_rem(b),
        _ => return Err(Fault::NoOverload),
    };
    value
        .map(Val::Uint)
        .ok_or_else(|| Fault::error("unsigned integer overflow"))
}

fn doubles<'a>(operator: Binary, a: f64, b: f64) -> Outcome<'a> {
    Ok(Val::Double(match operator {
        Binary::Add => a + b,
        Binary::Subtract => a - b,
        Binary::Multiply => a * b,
        Binary::Divide => a / b,
        _ => return Err(Fault::NoOverload),
    }))
}

/// Moments and spans.
fn times<'a>(operator: Binary, a: &Val<'a>, b: &Val<'a>) -> Outcome<'a> {
    let moment = match (operator, a, b) {
        (Binary::Add, Val::Timestamp(at), Val::Duration(span))
        | (Binary::Add, Val::Duration(span), Val::Timestamp(at)) => at.plus(*span),
        (Binary::Subtract, Val::Timestamp(at), Val::Duration(span)) => {
            span.checked_neg().and_then(|span| at.plus(span))
        }
        (Binary::Add, Val::Duration(a), Val::Duration(b)) => {
            return a.checked_add(*b).map(Val::Duration).ok_or_else(overflow);
        }
        (Binary::Subtract, Val::Duration(a), Val::Duration(b)) => {
            return a.checked_sub(*b).map(Val::Duration).ok_or_else(overflow);
        }
        (Binary::Subtract, Val::Timestamp(a), Val::Timestamp(b)) => {
            return a.since(*b).map(Val::Duration).ok_or_else(overflow);
        }
        _ => return Err(Fault::NoOverload),
    };
    moment
        .map(Val::Timestamp)
        .ok_or_else(|| Fault::error("timestamp overflow"))
}
