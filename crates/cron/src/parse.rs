//! Schedules as people write them.

use crate::due::{Fields, Schedule};

/// What is wrong with a schedule, in the words of `github.com/robfig/cron`, which Kubernetes passes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// There is nothing.
    #[error("empty spec string")]
    Empty,
    /// Not five fields.
    #[error("expected exactly 5 fields, found {found}: {fields:?}")]
    Fields {
        /// How many there are.
        found: usize,
        /// What they are.
        fields: Vec<String>,
    },
    /// `@` and a word that means nothing.
    #[error("unrecognized descriptor: {0}")]
    Descriptor(String),
    /// `@every` and what is no time, or too short a one.
    #[error("failed to parse duration {0}: expected hours, minutes and seconds, such as 1h30m")]
    Every(String),
    /// A part with more than one `-`.
    #[error("too many hyphens: {0}")]
    Hyphens(String),
    /// A part with more than one `/`.
    #[error("too many slashes: {0}")]
    Slashes(String),
    /// What is neither a number nor a name.
    #[error("failed to parse int from {0}: expected a number")]
    Number(String),
    /// A number that is too small.
    #[error("beginning of range ({0}) below minimum ({1}): {2}")]
    Below(u32, u32, String),
    /// A number that is too great.
    #[error("end of range ({0}) above maximum ({1}): {2}")]
    Above(u32, u32, String),
    /// A range that is the wrong way round.
    #[error("beginning of range ({0}) beyond end of range ({1}): {2}")]
    Backwards(u32, u32, String),
    /// A step of zero.
    #[error("step of range should be a positive number: {0}")]
    Step(String),
}

/// What a field may hold.
struct Bounds {
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

const MINUTES: Bounds = plain(0, 59);
const HOURS: Bounds = plain(0, 23);
const DAYS: Bounds = plain(1, 31);
const MONTHS: Bounds = Bounds {
    low: 1,
    high: 12,
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
};
const WEEKDAYS: Bounds = Bounds {
    low: 0,
    high: 6,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

const fn plain(low: u32, high: u32) -> Bounds {
    Bounds {
        low,
        high,
        names: &[],
    }
}

/// The numbers of a field as bits, and whether it is no restriction.
type Field = (u64, bool);

/// Reads a schedule.
pub fn schedule(text: &str) -> Result<Schedule, ParseError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(ParseError::Empty);
    }
    if text.starts_with('@') {
        return descriptor(text);
    }
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = parts[..] else {
        return Err(ParseError::Fields {
            found: parts.len(),
            fields: parts.into_iter().map(str::to_owned).collect(),
        });
    };
    let (minutes, _) = field(minute, &MINUTES)?;
    let (hours, _) = field(hour, &HOURS)?;
    let (days, any_day) = field(day, &DAYS)?;
    let (months, _) = field(month, &MONTHS)?;
    let (weekdays, any_weekday) = field(weekday, &WEEKDAYS)?;
    Ok(Schedule::At(Fields {
        minutes,
        hours,
        days,
        months,
        weekdays,
        either_day: !any_day && !any_weekday,
    }))
}

fn descriptor(text: &str) -> Result<Schedule, ParseError> {
    let fields = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => {
            let Some(every) = text.strip_prefix("@every ") else {
                return Err(ParseError::Descriptor(text.to_owned()));
            };
            let refuse = || ParseError::Every(text.to_owned());
            let seconds = seconds(every.trim()).ok_or_else(refuse)?;
            return Ok(Schedule::Every(seconds.max(1)));
        }
    };
    schedule(fields)
}

/// `1h30m`, in whole seconds; less than one counts as one, as in that library.
fn seconds(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut milliseconds: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let units = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
        let (unit, worth) = units
            .into_iter()
            .find(|(unit, _)| after.starts_with(unit))?;
        milliseconds = milliseconds.checked_add(number.checked_mul(worth)?)?;
        rest = &after[unit.len()..];
    }
    (!text.is_empty()).then_some(milliseconds / 1000)
}

fn field(text: &str, bounds: &Bounds) -> Result<Field, ParseError> {
    let mut all = (0, false);
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (bits, any) = range(part, bounds)?;
        all = (all.0 | bits, all.1 | any);
    }
    Ok(all)
}

/// `*`, `N`, `N-M`, each with an optional `/STEP`.
fn range(text: &str, bounds: &Bounds) -> Result<Field, ParseError> {
    let (numbers, step) = match text.split_once('/') {
        None => (text, None),
        Some((_, step)) if step.contains('/') => return Err(ParseError::Slashes(text.to_owned())),
        Some((numbers, step)) => (numbers, Some(number(step, &[], 0)?)),
    };
    let (low, high, any) = match numbers.split_once('-') {
        _ if numbers == "*" || numbers == "?" => (bounds.low, bounds.high, true),
        Some((_, high)) if high.contains('-') => return Err(ParseError::Hyphens(text.to_owned())),
        Some((low, high)) => {
            let read = |text| number(text, bounds.names, bounds.low);
            (read(low)?, read(high)?, false)
        }
        None => {
            let low = number(numbers, bounds.names, bounds.low)?;
            // A number and a step mean: from there on.
            (low, step.map_or(low, |_| bounds.high), false)
        }
    };
    let step = step.unwrap_or(1);
    let said = || text.to_owned();
    if low < bounds.low {
        return Err(ParseError::Below(low, bounds.low, said()));
    }
    if high > bounds.high {
        return Err(ParseError::Above(high, bounds.high, said()));
    }
    if low > high {
        return Err(ParseError::Backwards(low, high, said()));
    }
    if step == 0 {
        return Err(ParseError::Step(said()));
    }
    let numbers = (low..=high).filter(|number| (number - low).is_multiple_of(step));
    let bits = numbers.fold(0, |bits, number| bits | 1 << number);
    Ok((bits, any && step == 1))
}

fn number(text: &str, names: &[&str], first: u32) -> Result<u32, ParseError> {
    let lower = text.to_ascii_lowercase();
    let named = (first..).zip(names).find(|(_, name)| **name == lower);
    if let Some((number, _)) = named {
        return Ok(number);
    }
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let read = text.parse().ok().filter(|_| plain);
    read.ok_or_else(|| ParseError::Number(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        match schedule(text) {
            Ok(Schedule::At(fields)) => fields,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn bits(numbers: impl IntoIterator<Item = u32>) -> u64 {
        numbers
            .into_iter()
            .fold(0, |bits, number| bits | 1 << number)
    }

    #[test]
    fn fields_are_read() {
        let all = fields("* * * * *");
        assert_eq!(all.minutes, bits(0..60));
        assert_eq!(all.days, bits(1..32));
        assert!(!all.either_day);
        let some = fields("5,10-12,*/20 3/5 ? JAN-mar,12 Mon-FRI");
        assert_eq!(some.minutes, bits([5, 10, 11, 12, 0, 20, 40]));
        assert_eq!(some.hours, bits([3, 8, 13, 18, 23]));
        assert_eq!(some.months, bits([1, 2, 3, 12]));
        assert_eq!(some.weekdays, bits(1..6));
        assert!(!some.either_day);
        assert!(fields("0 0 1 * 1").either_day);
        assert!(fields("0 0 */2 * 1").either_day);
        assert_eq!(fields("@weekly"), fields("0 0 * * 0"));
        for (text, every) in [
            ("@every 1h30m", 5400),
            ("@every 90s", 90),
            ("@every 1ms", 1),
        ] {
            assert_eq!(schedule(text), Ok(Schedule::Every(every)));
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, expected) in [
            (" ", "empty spec string"),
            (
                "* * * *",
                "expected exactly 5 fields, found 4: [\"*\", \"*\", \"*\", \"*\"]",
            ),
            ("@often", "unrecognized descriptor: @often"),
            (
                "@every day",
                "failed to parse duration @every day: expected hours, minutes and seconds, such as 1h30m",
            ),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("* * * * 7", "end of range (7) above maximum (6): 7"),
            (
                "5-3 * * * *",
                "beginning of range (5) beyond end of range (3): 5-3",
            ),
            (
                "*/0 * * * *",
                "step of range should be a positive number: */0",
            ),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("*/1/2 * * * *", "too many slashes: */1/2"),
            ("x * * * *", "failed to parse int from x: expected a number"),
            (
                "+1 * * * *",
                "failed to parse int from +1: expected a number",
            ),
        ] {
            let refused = schedule(text).unwrap_err();
            assert_eq!(refused.to_string(), expected, "{text}");
        }
    }
}
