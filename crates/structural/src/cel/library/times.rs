//! Parts of moments and spans.

use super::{Fault, Row, run};
use crate::cel::value::{Outcome, Val};
use crate::time::{Civil, Moment, SECOND, zone_offset};

/// A part of a moment, in UTC or in a given zone.
macro_rules! part {
    ($name:literal, $part:expr) => {
        [
            (concat!("timestamp.", $name, "(): int"), run!(Timestamp(at) => part(*at, "UTC", $part))),
            (concat!("timestamp.", $name, "(string): int"), run!(Timestamp(at), Text(zone) => part(*at, zone, $part))),
        ]
    };
}

const PARTS: [[Row; 2]; 9] = [
    part!("getFullYear", |at| at.year),
    part!("getMonth", |at| at.month - 1),
    part!("getDate", |at| at.day),
    part!("getDayOfMonth", |at| at.day - 1),
    part!("getDayOfWeek", |at| at.weekday),
    part!("getDayOfYear", |at| at.day_of_year),
    part!("getHours", |at| at.hour),
    part!("getMinutes", |at| at.minute),
    part!("getSeconds", |at| at.second),
];

pub(super) const ROWS: &[Row] = &[
    PARTS[0][0],
    PARTS[0][1],
    PARTS[1][0],
    PARTS[1][1],
    PARTS[2][0],
    PARTS[2][1],
    PARTS[3][0],
    PARTS[3][1],
    PARTS[4][0],
    PARTS[4][1],
    PARTS[5][0],
    PARTS[5][1],
    PARTS[6][0],
    PARTS[6][1],
    PARTS[7][0],
    PARTS[7][1],
    PARTS[8][0],
    PARTS[8][1],
    (
        "timestamp.getMilliseconds(): int",
        run!(Timestamp(at) => Ok(Val::Int(at.nanos / 1_000_000))),
    ),
    (
        "timestamp.getMilliseconds(string): int",
        run!(Timestamp(at), Text(zone) => part(*at, zone, |at| at.nanos / 1_000_000)),
    ),
    (
        "duration.getHours(): int",
        run!(Duration(span) => Ok(Val::Int(span / SECOND / 3600))),
    ),
    (
        "duration.getMinutes(): int",
        run!(Duration(span) => Ok(Val::Int(span / SECOND / 60))),
    ),
    (
        "duration.getSeconds(): int",
        run!(Duration(span) => Ok(Val::Int(span / SECOND))),
    ),
    (
        "duration.getMilliseconds(): int",
        run!(Duration(span) => Ok(Val::Int(span / 1_000_000))),
    ),
];

fn part<'a>(at: Moment, zone: &str, part: fn(Civil) -> i64) -> Outcome<'a> {
    let offset = zone_offset(zone).ok_or_else(|| {
        Fault::error(format!(
            "unknown time zone {zone}: UTC and offsets like +01:00 are known"
        ))
    })?;
    Ok(Val::Int(part(at.civil(offset))))
}
