//! Values that may be absent.

use super::{Fault, Row};
use crate::cel::value::Val;

pub(super) const ROWS: &[Row] = &[
    ("optional.of(A): optional<A>", |_, args| {
        Ok(Val::some(args[0].clone()))
    }),
    (
        "optional.ofNonZeroValue(A): optional<A>",
        |_, args| match &args[0] {
            value if value.is_zero() => Ok(Val::NONE),
            value => Ok(Val::some(value.clone())),
        },
    ),
    ("optional.none(): optional<A>", |_, _| Ok(Val::NONE)),
    ("optional<A>.hasValue(): bool", |_, args| match &args[0] {
        Val::Optional(inner) => Ok(Val::Bool(inner.is_some())),
        _ => Err(Fault::NoOverload),
    }),
    ("optional<A>.value(): A", |_, args| match &args[0] {
        Val::Optional(Some(inner)) => Ok(inner.as_ref().clone()),
        Val::Optional(None) => Err(Fault::error("optional.none() dereference")),
        _ => Err(Fault::NoOverload),
    }),
    (
        "optional<A>.or(optional<A>): optional<A>",
        |_, args| match &args[0] {
            Val::Optional(None) => Ok(args[1].clone()),
            given => Ok(given.clone()),
        },
    ),
    ("optional<A>.orValue(A): A", |_, args| match &args[0] {
        Val::Optional(Some(inner)) => Ok(inner.as_ref().clone()),
        Val::Optional(None) => Ok(args[1].clone()),
        _ => Err(Fault::NoOverload),
    }),
];
