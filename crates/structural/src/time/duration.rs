//! Spans of time, in nanoseconds.

use std::fmt::Write;

use super::{SECOND, fraction_text};

const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// Nanoseconds of a span: as Go writes it, `1h30m`, or as Scala does, `3 days`.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    parse_go_duration(text).or_else(|| parse_word_duration(text))
}

/// `-1h2.5s`: a sign, then numbers with units.
pub(crate) fn parse_go_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (amount, after) = rest.split_at(end);
        let unit_end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let unit = i128::from(match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => SECOND,
            "m" => MINUTE,
            "h" => HOUR,
            _ => return None,
        });
        let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
        if whole.is_empty() && fraction.is_empty() || whole.len() > 19 || fraction.contains('.') {
            return None;
        }
        let digits = |text: &str| {
            if text.is_empty() {
                Some(0)
            } else {
                text.parse::<i128>().ok()
            }
        };
        let fraction = &fraction[..fraction.len().min(15)];
        let scale = 10i128.pow(u32::try_from(fraction.len()).ok()?);
        total += digits(whole)? * unit + digits(fraction)? * unit / scale;
        rest = after;
    }
    i64::try_from(sign * total).ok()
}

/// `3 days`, `22 ns`, `1 hour 5 minutes`.
fn parse_word_duration(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    let mut total = 0i64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let amount: i64 = rest[..end].parse().ok()?;
        let after = rest[end..].trim_start();
        let unit_end = after
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(after.len());
        let unit = match &after[..unit_end] {
            "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
            "us" | "µs" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
            "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
            "s" | "sec" | "secs" | "second" | "seconds" => SECOND,
            "m" | "min" | "mins" | "minute" | "minutes" => MINUTE,
            "h" | "hr" | "hrs" | "hour" | "hours" => HOUR,
            "d" | "day" | "days" => 24 * HOUR,
            "w" | "wk" | "week" | "weeks" => 7 * 24 * HOUR,
            _ => return None,
        };
        total = total.checked_add(amount.checked_mul(unit)?)?;
        rest = after[unit_end..].trim_start();
    }
    Some(total)
}

/// Seconds, as CEL writes a span: `1.5s`.
pub(crate) fn duration_text(nanos: i64) -> String {
    let mut text = String::new();
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let second = SECOND.unsigned_abs();
    let _ = write!(text, "{sign}{}", nanos / second);
    let rest = i64::try_from(nanos % second).unwrap_or_default();
    text.push_str(&fraction_text(rest));
    text.push('s');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written() {
        for (text, expected) in [
            ("1h30m", Some("5400s")),
            ("1.5s", Some("1.5s")),
            ("-100ms", Some("-0.1s")),
            ("0", Some("0s")),
            ("1h1h", Some("7200s")),
            ("3 days", Some("259200s")),
            ("", None),
            ("1", None),
            ("h", None),
            ("1y", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(
                parse_duration(text).map(duration_text).as_deref(),
                expected,
                "{text}"
            );
        }
    }
}
