//! Operators and literals.

use std::sync::Arc;

use super::{Checker, Typed, expect, no_overload};
use crate::cel::code::Code;
use crate::cel::syntax::{Binary, Entry, Expr, Fault};
use crate::cel::types::Ty;

impl Checker {
    pub(super) fn truths(&mut self, all: &[Expr], operator: &str) -> Result<Vec<Code>, Fault> {
        let mut codes = Vec::with_capacity(all.len());
        for expr in all {
            let (code, ty) = self.check(expr)?;
            expect(&Ty::Bool, &ty, operator, expr.at)?;
            codes.push(code);
        }
        Ok(codes)
    }

    pub(super) fn negate(&mut self, operand: &Expr, at: usize) -> Typed {
        let (code, ty) = self.check(operand)?;
        match ty {
            Ty::Int | Ty::Double | Ty::Dyn => Ok((Code::Negate(Box::new(code)), ty)),
            ty => Err(no_overload("-_", &[ty], at)),
        }
    }

    pub(super) fn conditional(&mut self, parts: &[Expr; 3], at: usize) -> Typed {
        let [condition, then, otherwise] = parts;
        let (condition_code, condition_ty) = self.check(condition)?;
        let (then_code, then_ty) = self.check(then)?;
        let (otherwise_code, otherwise_ty) = self.check(otherwise)?;
        let ty = match condition_ty.agrees(&Ty::Bool) {
            true => either(&then_ty, &otherwise_ty),
            false => None,
        };
        let wrong = || no_overload("_?_:_", &[condition_ty, then_ty, otherwise_ty], at);
        let ty = ty.ok_or_else(wrong)?;
        let code = Code::Conditional(Box::new([condition_code, then_code, otherwise_code]));
        Ok((code, ty))
    }

    pub(super) fn binary(&mut self, operator: Binary, parts: &[Expr; 2], at: usize) -> Typed {
        let (left, a) = self.check(&parts[0])?;
        let (right, b) = self.check(&parts[1])?;
        let ty =
            result(operator, &a, &b).ok_or_else(|| no_overload(operator.name(), &[a, b], at))?;
        Ok((Code::Binary(operator, Box::new([left, right])), ty))
    }

    pub(super) fn list(&mut self, entries: &[Entry], at: usize) -> Typed {
        let mut codes = Vec::with_capacity(entries.len());
        let mut item: Option<Ty> = None;
        for entry in entries {
            let (code, ty) = self.check(&entry.value)?;
            let ty = unwrapped(ty, entry.optional, at)?;
            item = Some(alike(item, ty, entry.value.at)?);
            codes.push((entry.optional, code));
        }
        Ok((Code::List(codes), Ty::list(item.unwrap_or(Ty::Dyn))))
    }

    /// A list whose members may be of different types.
    pub(super) fn mixed_list(&mut self, entries: &[Entry]) -> Typed {
        let mut codes = Vec::with_capacity(entries.len());
        for entry in entries {
            codes.push((entry.optional, self.check(&entry.value)?.0));
        }
        Ok((Code::List(codes), Ty::list(Ty::Dyn)))
    }

    pub(super) fn map(&mut self, entries: &[Entry], at: usize) -> Typed {
        let mut codes = Vec::with_capacity(entries.len());
        let (mut keys, mut values) = (None, None);
        for entry in entries {
            let Some(key) = &entry.key else { continue };
            let (key_code, key_ty) = self.check(key)?;
            let (code, ty) = self.check(&entry.value)?;
            let ty = unwrapped(ty, entry.optional, at)?;
            keys = Some(alike(keys, key_ty, key.at)?);
            values = Some(alike(values, ty, entry.value.at)?);
            codes.push((entry.optional, key_code, code));
        }
        let ty = Ty::Map(
            Arc::new(keys.unwrap_or(Ty::Dyn)),
            Arc::new(values.unwrap_or(Ty::Dyn)),
        );
        Ok((Code::Map(codes), ty))
    }
}

/// The type of an optional member's value.
fn unwrapped(ty: Ty, optional: bool, at: usize) -> Result<Ty, Fault> {
    match (optional, ty) {
        (false, ty) => Ok(ty),
        (true, Ty::Optional(inner)) => Ok(inner.as_ref().clone()),
        (true, Ty::Dyn) => Ok(Ty::Dyn),
        (true, ty) => {
            let message = format!("expected type 'optional_type(any)' but found '{ty}'");
            Err(Fault::new(at, message))
        }
    }
}

/// All members of a literal are of one type.
fn alike(known: Option<Ty>, ty: Ty, at: usize) -> Result<Ty, Fault> {
    let Some(known) = known else { return Ok(ty) };
    known
        .joined(&ty)
        .ok_or_else(|| Fault::new(at, format!("expected type '{known}' but found '{ty}'")))
}

/// The type of what is of either; `null` stands for what is not there.
fn either(a: &Ty, b: &Ty) -> Option<Ty> {
    match (a, b) {
        (Ty::Null, other) | (other, Ty::Null) if other.may_be_null() => Some(other.clone()),
        (a, b) => a.joined(b),
    }
}

/// The type of what an operator makes of two others; `None` if it takes no such.
pub(in crate::cel) fn result(operator: Binary, a: &Ty, b: &Ty) -> Option<Ty> {
    match operator {
        Binary::Equal | Binary::Unequal => {
            let null = (*a == Ty::Null && b.may_be_null()) || (*b == Ty::Null && a.may_be_null());
            (null || a.agrees(b)).then_some(Ty::Bool)
        }
        Binary::Less | Binary::LessOrEqual | Binary::Greater | Binary::GreaterOrEqual => {
            let numbers = a.is_number() && b.is_number();
            (a.is_ordered() && b.is_ordered() && (numbers || a.agrees(b))).then_some(Ty::Bool)
        }
        Binary::In => match b {
            Ty::Dyn => Some(Ty::Bool),
            Ty::List(item) => a.agrees(item).then_some(Ty::Bool),
            Ty::Map(key, _) => a.agrees(key).then_some(Ty::Bool),
            _ => None,
        },
        arithmetic => computed(arithmetic, a, b),
    }
}

fn computed(operator: Binary, a: &Ty, b: &Ty) -> Option<Ty> {
    use Ty::{Bytes, Double, Duration, Dyn, Int, Text, Timestamp, Uint};
    match (operator, a, b) {
        (_, Dyn, other) | (_, other, Dyn) => Some(match other {
            Timestamp | Duration => Dyn,
            other => other.clone(),
        }),
        (Binary::Remainder, Int, Int) => Some(Int),
        (Binary::Remainder, Uint, Uint) => Some(Uint),
        (Binary::Remainder, ..) => None,
        (_, Int, Int) => Some(Int),
        (_, Uint, Uint) => Some(Uint),
        (_, Double, Double) => Some(Double),
        (Binary::Add, Text, Text) => Some(Text),
        (Binary::Add, Bytes, Bytes) => Some(Bytes),
        (Binary::Add, Ty::List(_), Ty::List(_)) => a.joined(b),
        (Binary::Add, Timestamp, Duration) | (Binary::Add, Duration, Timestamp) => Some(Timestamp),
        (Binary::Add | Binary::Subtract, Duration, Duration) => Some(Duration),
        (Binary::Subtract, Timestamp, Timestamp) => Some(Duration),
        (Binary::Subtract, Timestamp, Duration) => Some(Timestamp),
        _ => None,
    }
}
