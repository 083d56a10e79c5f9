//! `'%s has %d'.format([name, count])`.

use std::fmt::Write;

use super::{Cost, Fault, Row};
use crate::cel::value::{Outcome, Val};
use crate::time::duration_text;

pub(super) const ROWS: &[Row] = &[("string.format(list<dyn>): string", format)];

/// How deep lists and maps are written.
const DEEPEST: u8 = 16;

fn format<'a>(cost: &mut Cost, args: &[Val<'a>]) -> Outcome<'a> {
    let [Val::Text(template), list] = args else {
        return Err(Fault::NoOverload);
    };
    let mut values = list.items()?.into_iter();
    let mut out = String::new();
    let mut rest: &str = template;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let precision = precision(&mut rest)?;
        let clause = rest.chars().next();
        let clause = clause.ok_or_else(|| Fault::error("unexpected end of string"))?;
        rest = &rest[clause.len_utf8()..];
        let value = values.next();
        let value = value.ok_or_else(|| Fault::error("not enough arguments for format string"))?;
        write_clause(&mut out, clause, precision, &value)?;
        cost.charge(out.len() as u64 / 100)?;
    }
    out.push_str(rest);
    cost.charge(out.len() as u64 / 10)?;
    Ok(Val::text(out))
}

fn precision(rest: &mut &str) -> Result<usize, Fault> {
    let Some(after) = rest.strip_prefix('.') else {
        return Ok(6);
    };
    let end = after
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(after.len());
    *rest = &after[end..];
    let precision: usize = after[..end]
        .parse()
        .map_err(|_| Fault::error("invalid precision"))?;
    Ok(precision.min(100))
}

fn write_clause(
    out: &mut String,
    clause: char,
    precision: usize,
    value: &Val<'_>,
) -> Result<(), Fault> {
    let wrong = |expected: &str| {
        Fault::error(format!(
            "error during formatting: {expected} clause can only be used on numbers, was given {}",
            value.type_name()
        ))
    };
    let _ = match (clause, value) {
        ('s', value) => return write_value(out, value, 0),
        ('d', Val::Int(value)) => write!(out, "{value}"),
        ('d', Val::Uint(value)) => write!(out, "{value}"),
        ('f', value) => write!(
            out,
            "{:.precision$}",
            double(value).ok_or_else(|| wrong("fixed-point"))?
        ),
        ('e', value) => {
            let double = double(value).ok_or_else(|| wrong("scientific notation"))?;
            write!(out, "{}", scientific(double, precision))
        }
        ('b', Val::Bool(value)) => write!(out, "{}", u8::from(*value)),
        ('b', Val::Int(value)) => write!(out, "{}{:b}", sign(*value), value.unsigned_abs()),
        ('b', Val::Uint(value)) => write!(out, "{value:b}"),
        ('o', Val::Int(value)) => write!(out, "{}{:o}", sign(*value), value.unsigned_abs()),
        ('o', Val::Uint(value)) => write!(out, "{value:o}"),
        ('x', Val::Int(value)) => write!(out, "{}{:x}", sign(*value), value.unsigned_abs()),
        ('X', Val::Int(value)) => write!(out, "{}{:X}", sign(*value), value.unsigned_abs()),
        ('x', Val::Uint(value)) => write!(out, "{value:x}"),
        ('X', Val::Uint(value)) => write!(out, "{value:X}"),
        ('x' | 'X', Val::Text(text)) => return hexadecimal(out, text.as_bytes(), clause),
        ('x' | 'X', Val::Bytes(bytes)) => return hexadecimal(out, bytes, clause),
        ('d' | 'b' | 'o' | 'x' | 'X', _) => return Err(wrong("integer")),
        (other, _) => {
            let why = format!(
                "could not parse formatting clause: unrecognized formatting clause {other:?}"
            );
            return Err(Fault::error(why));
        }
    };
    Ok(())
}

fn sign(value: i64) -> &'static str {
    if value < 0 { "-" } else { "" }
}

fn hexadecimal(out: &mut String, bytes: &[u8], clause: char) -> Result<(), Fault> {
    for byte in bytes {
        let _ = if clause == 'x' {
            write!(out, "{byte:02x}")
        } else {
            write!(out, "{byte:02X}")
        };
    }
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "integers are written as doubles here"
)]
fn double(value: &Val<'_>) -> Option<f64> {
    match value {
        Val::Double(value) => Some(*value),
        Val::Int(value) => Some(*value as f64),
        Val::Uint(value) => Some(*value as f64),
        _ => None,
    }
}

/// `1.500000×10⁰³`, as cel-go writes it: the exponent has two digits at least.
fn scientific(value: f64, precision: usize) -> String {
    const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let text = format!("{value:.precision$e}");
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    let raised = |digit: char| match digit {
        '-' => '⁻',
        digit => RAISED[digit.to_digit(10).unwrap_or_default() as usize],
    };
    let digits = exponent.trim_start_matches('-').len();
    let (sign, number) = exponent.split_at(exponent.len() - digits);
    let padded = format!("{sign}{number:0>2}");
    let raised: String = padded.chars().map(raised).collect();
    format!("{mantissa}×10{raised}")
}

fn write_value(out: &mut String, value: &Val<'_>, depth: u8) -> Result<(), Fault> {
    if depth > DEEPEST {
        return Err(Fault::error("value is nested too deep to be formatted"));
    }
    let _ = match value {
        Val::Null => write!(out, "null"),
        Val::Bool(value) => write!(out, "{value}"),
        Val::Int(value) => write!(out, "{value}"),
        Val::Uint(value) => write!(out, "{value}"),
        Val::Double(value) => write!(out, "{value}"),
        Val::Text(text) => write!(out, "{}", &**text),
        Val::Bytes(bytes) => write!(out, "{}", String::from_utf8_lossy(bytes)),
        Val::Timestamp(at) => write!(out, "{}", at.text()),
        Val::Duration(span) => write!(out, "{}", duration_text(*span)),
        Val::Type(name) => write!(out, "{name}"),
        value if value.is_list() => {
            out.push('[');
            for (at, item) in value.items()?.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                write_value(out, item, depth + 1)?;
            }
            out.push(']');
            Ok(())
        }
        value if value.is_map() => return write_map(out, value, depth),
        _ => {
            return Err(Fault::error(format!(
                "string clause cannot be used on {}",
                value.type_name()
            )));
        }
    };
    Ok(())
}

fn write_map(out: &mut String, value: &Val<'_>, depth: u8) -> Result<(), Fault> {
    out.push('{');
    for (at, key) in value.keys().unwrap_or_default().iter().enumerate() {
        out.push_str(if at > 0 { ", " } else { "" });
        write_value(out, key, depth + 1)?;
        out.push_str(": ");
        if let Some(member) = value.member(&super::super::value::Key::of(key)?) {
            write_value(out, &member?, depth + 1)?;
        }
    }
    out.push('}');
    Ok(())
}
