//! Moments and spans of time: read, written, taken apart. No clock.
//!
//! A moment has nanoseconds and is kept in UTC, as CEL's `timestamp`; its range is that of CEL,
//! the years 1 to 9999. Zones are `UTC` and fixed offsets: there is no table of the
//! world's zones here.

mod duration;

use std::cmp::Ordering;
use std::fmt::Write;

pub(crate) use duration::{duration_text, parse_duration, parse_go_duration};

pub(crate) const SECOND: i64 = 1_000_000_000;
const DAY_SECONDS: i64 = 86_400;
/// 0001-01-01 and 9999-12-31T23:59:59 in seconds from 1970.
const FIRST_SECOND: i64 = -62_135_596_800;
const LAST_SECOND: i64 = 253_402_300_799;

/// A point in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Seconds from 1970, UTC.
    pub seconds: i64,
    pub nanos: i64,
    /// Seconds east of Greenwich, as it was written; of no matter to what moment it is.
    offset: i64,
}

impl PartialEq for Moment {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Moment {}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Moment {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.seconds, self.nanos).cmp(&(other.seconds, other.nanos))
    }
}

/// A moment as a calendar and a clock show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    pub nanos: i64,
    /// 0 is Sunday.
    pub weekday: i64,
    /// 0 is the first of January.
    pub day_of_year: i64,
}

impl Moment {
    pub fn new(seconds: i64, nanos: i64) -> Option<Self> {
        let seconds = seconds.checked_add(nanos.div_euclid(SECOND))?;
        let nanos = nanos.rem_euclid(SECOND);
        (FIRST_SECOND..=LAST_SECOND)
            .contains(&seconds)
            .then_some(Self {
                seconds,
                nanos,
                offset: 0,
            })
    }

    /// RFC 3339, strictly: `2024-01-02T03:04:05.6Z`.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.split_once('T')?;
        let days = parse_date(date)?;
        let (time, offset) = split_zone(time)?;
        let (clock, fraction) = match time.split_once('.') {
            Some((clock, fraction)) => (clock, parse_fraction(fraction)?),
            None => (time, 0),
        };
        let mut parts = clock.split(':').map(two_digits);
        let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
        if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let seconds = days * DAY_SECONDS + hour * 3600 + minute * 60 + second - offset;
        Some(Self {
            offset,
            ..Self::new(seconds, fraction)?
        })
    }

    /// What the format `date-time` lets pass: small letters, a comma before the fraction.
    pub fn parse_lenient(text: &str) -> Option<Self> {
        Self::parse(&text.to_ascii_uppercase().replace(',', "."))
    }

    /// Midnight of a date.
    pub fn of_date(text: &str) -> Option<Self> {
        Self::new(parse_date(text)? * DAY_SECONDS, 0)
    }

    pub fn plus(self, nanos: i64) -> Option<Self> {
        Self::new(
            self.seconds.checked_add(nanos.div_euclid(SECOND))?,
            self.nanos + nanos.rem_euclid(SECOND),
        )
    }

    /// Nanoseconds from the other moment to this one.
    pub fn since(self, other: Self) -> Option<i64> {
        let seconds = self.seconds - other.seconds;
        seconds
            .checked_mul(SECOND)?
            .checked_add(self.nanos - other.nanos)
    }

    /// What calendar and clock show that many seconds east of Greenwich.
    pub fn civil(self, offset: i64) -> Civil {
        let local = self.seconds + offset;
        let days = local.div_euclid(DAY_SECONDS);
        let clock = local.rem_euclid(DAY_SECONDS);
        let (year, month, day) = date_of(days);
        Civil {
            year,
            month,
            day,
            hour: clock / 3600,
            minute: clock / 60 % 60,
            second: clock % 60,
            nanos: self.nanos,
            weekday: (days + 4).rem_euclid(7),
            day_of_year: days - days_of(year, 1, 1),
        }
    }

    /// RFC 3339 in the zone in which it was written, with as many digits as are needed.
    pub fn text(self) -> String {
        let at = self.civil(self.offset);
        let mut text = format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            at.year, at.month, at.day, at.hour, at.minute, at.second
        );
        text.push_str(&fraction_text(at.nanos));
        match self.offset {
            0 => text.push('Z'),
            offset => {
                let sign = if offset < 0 { '-' } else { '+' };
                let minutes = offset.abs() / 60;
                let _ = write!(text, "{sign}{:02}:{:02}", minutes / 60, minutes % 60);
            }
        }
        text
    }
}

/// Seconds east of Greenwich of `UTC`, `Z`, or an offset `+01:00`.
pub(crate) fn zone_offset(zone: &str) -> Option<i64> {
    if zone == "UTC" || zone == "Z" || zone.is_empty() {
        return Some(0);
    }
    let (sign, clock) = match zone.strip_prefix('-') {
        Some(clock) => (-1, clock),
        None => (1, zone.strip_prefix('+').unwrap_or(zone)),
    };
    let (hours, minutes) = clock.split_once(':')?;
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn split_zone(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix('Z') {
        return Some((time, 0));
    }
    let at = time.rfind(['+', '-'])?;
    Some((&time[..at], zone_offset(&time[at..])?))
}

fn two_digits(text: &str) -> Option<i64> {
    number(text, 2)
}

fn number(text: &str, digits: usize) -> Option<i64> {
    let right = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
    right.then(|| text.parse().ok())?
}

/// Nanoseconds of the digits after a point.
fn parse_fraction(digits: &str) -> Option<i64> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let kept: String = digits
        .chars()
        .chain(std::iter::repeat('0'))
        .take(9)
        .collect();
    kept.parse().ok()
}

fn fraction_text(nanos: i64) -> String {
    match nanos {
        0 => String::new(),
        nanos => format!(".{nanos:09}").trim_end_matches('0').to_owned(),
    }
}

/// Days from 1970 of `2024-02-29`.
pub(crate) fn parse_date(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let year = number(parts.next()?, 4)?;
    let (month, day) = (two_digits(parts.next()?)?, two_digits(parts.next()?)?);
    if parts.next().is_some() || !(1..=12).contains(&month) || day < 1 {
        return None;
    }
    let days = days_of(year, month, day);
    (date_of(days) == (year, month, day)).then_some(days)
}

/// Days from 1970 of a date; years begin in March here, so that the odd day comes last.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_written_and_taken_apart() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some("1970-01-01T00:00:00Z")),
            ("2024-02-29T23:59:59.120Z", Some("2024-02-29T23:59:59.12Z")),
            (
                "2024-01-01T00:30:00+01:00",
                Some("2024-01-01T00:30:00+01:00"),
            ),
            ("0001-01-01T00:00:00Z", Some("0001-01-01T00:00:00Z")),
            (
                "9999-12-31T23:59:59.999999999Z",
                Some("9999-12-31T23:59:59.999999999Z"),
            ),
            ("2023-02-29T00:00:00Z", None),
            ("2024-01-01T24:00:00Z", None),
            ("2024-01-01 00:00:00Z", None),
            ("2024-01-01T00:00:00", None),
            ("0000-01-01T00:00:00Z", None),
        ] {
            assert_eq!(
                Moment::parse(text).map(Moment::text).as_deref(),
                expected,
                "{text}"
            );
        }
        let civil = Moment::parse("2024-12-31T23:00:00Z").unwrap().civil(3600);
        assert_eq!(
            (civil.year, civil.month, civil.day, civil.hour),
            (2025, 1, 1, 0)
        );
        assert_eq!((civil.weekday, civil.day_of_year), (3, 0));
    }
}
