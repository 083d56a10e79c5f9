//! From one type to another.

use super::{Fault, Row, run};
use crate::cel::value::{Outcome, Val};
use crate::time::{Moment, SECOND, duration_text, parse_go_duration};

pub(super) const ROWS: &[Row] = &[
    ("int(int): int", run!(Int(a) => Ok(Val::Int(*a)))),
    (
        "int(uint): int",
        run!(Uint(a) => i64::try_from(*a).map(Val::Int).map_err(|_| overflow())),
    ),
    ("int(double): int", run!(Double(a) => double_to_int(*a))),
    (
        "int(string): int",
        run!(Text(a) => a.parse().map(Val::Int).map_err(|_| no_number(a, "int"))),
    ),
    (
        "int(timestamp): int",
        run!(Timestamp(a) => Ok(Val::Int(a.seconds))),
    ),
    ("int(duration): int", run!(Duration(a) => Ok(Val::Int(*a)))),
    ("uint(uint): uint", run!(Uint(a) => Ok(Val::Uint(*a)))),
    (
        "uint(int): uint",
        run!(Int(a) => u64::try_from(*a).map(Val::Uint).map_err(|_| overflow())),
    ),
    ("uint(double): uint", run!(Double(a) => double_to_uint(*a))),
    (
        "uint(string): uint",
        run!(Text(a) => a.parse().map(Val::Uint).map_err(|_| no_number(a, "uint"))),
    ),
    (
        "double(double): double",
        run!(Double(a) => Ok(Val::Double(*a))),
    ),
    (
        "double(int): double",
        run!(Int(a) => Ok(Val::Double(as_double(*a)))),
    ),
    (
        "double(uint): double",
        run!(Uint(a) => Ok(Val::Double(uint_as_double(*a)))),
    ),
    (
        "double(string): double",
        run!(Text(a) => a.parse().map(Val::Double).map_err(|_| no_number(a, "double"))),
    ),
    ("bool(bool): bool", run!(Bool(a) => Ok(Val::Bool(*a)))),
    ("bool(string): bool", run!(Text(a) => truth(a))),
    (
        "string(string): string",
        run!(Text(a) => Ok(Val::Text(a.clone()))),
    ),
    (
        "string(bool): string",
        run!(Bool(a) => Ok(Val::text(a.to_string()))),
    ),
    (
        "string(int): string",
        run!(Int(a) => Ok(Val::text(a.to_string()))),
    ),
    (
        "string(uint): string",
        run!(Uint(a) => Ok(Val::text(a.to_string()))),
    ),
    (
        "string(double): string",
        run!(Double(a) => Ok(Val::text(a.to_string()))),
    ),
    (
        "string(bytes): string",
        run!(Bytes(a) => match std::str::from_utf8(a) {
            Ok(text) => Ok(Val::text(text)),
            Err(_) => Err(Fault::error("invalid UTF-8 in bytes, cannot convert to string")),
        }),
    ),
    (
        "string(timestamp): string",
        run!(Timestamp(a) => Ok(Val::text(a.text()))),
    ),
    (
        "string(duration): string",
        run!(Duration(a) => Ok(Val::text(duration_text(*a)))),
    ),
    (
        "string(ip): string",
        run!(Ip(a) => Ok(Val::text(a.to_string()))),
    ),
    (
        "string(cidr): string",
        run!(Cidr(a) => Ok(Val::text(a.to_string()))),
    ),
    (
        "bytes(bytes): bytes",
        run!(Bytes(a) => Ok(Val::Bytes(a.clone()))),
    ),
    (
        "bytes(string): bytes",
        run!(Text(a) => Ok(Val::Bytes(a.as_bytes().into()))),
    ),
    (
        "timestamp(timestamp): timestamp",
        run!(Timestamp(a) => Ok(Val::Timestamp(*a))),
    ),
    (
        "timestamp(string): timestamp",
        run!(Text(a) => {
            Moment::parse(a).map(Val::Timestamp).ok_or_else(|| no_number(a, "timestamp"))
        }),
    ),
    (
        "timestamp(int): timestamp",
        run!(Int(a) => Moment::new(*a, 0).map(Val::Timestamp).ok_or_else(overflow)),
    ),
    (
        "duration(duration): duration",
        run!(Duration(a) => Ok(Val::Duration(*a))),
    ),
    (
        "duration(string): duration",
        run!(Text(a) => {
            parse_go_duration(a).map(Val::Duration).ok_or_else(|| no_number(a, "duration"))
        }),
    ),
    (
        "duration(int): duration",
        run!(Int(a) => a.checked_mul(SECOND).map(Val::Duration).ok_or_else(overflow)),
    ),
];

fn overflow() -> Fault {
    Fault::error("integer overflow")
}

fn no_number(text: &str, kind: &str) -> Fault {
    Fault::error(format!(
        "type conversion error from 'string' to '{kind}': {text:?}"
    ))
}

#[expect(clippy::cast_precision_loss, reason = "that is what the conversion is")]
fn as_double(value: i64) -> f64 {
    value as f64
}

#[expect(clippy::cast_precision_loss, reason = "that is what the conversion is")]
fn uint_as_double(value: u64) -> f64 {
    value as f64
}

#[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
fn double_to_int<'a>(value: f64) -> Outcome<'a> {
    if value.is_nan() || value <= as_double(i64::MIN) || value >= as_double(i64::MAX) {
        return Err(overflow());
    }
    Ok(Val::Int(value as i64))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range was checked"
)]
fn double_to_uint<'a>(value: f64) -> Outcome<'a> {
    if value.is_nan() || value < 0.0 || value >= uint_as_double(u64::MAX) {
        return Err(overflow());
    }
    Ok(Val::Uint(value as u64))
}

fn truth<'a>(text: &str) -> Outcome<'a> {
    match text {
        "1" | "t" | "true" | "TRUE" | "True" => Ok(Val::Bool(true)),
        "0" | "f" | "false" | "FALSE" | "False" => Ok(Val::Bool(false)),
        _ => Err(no_number(text, "bool")),
    }
}
