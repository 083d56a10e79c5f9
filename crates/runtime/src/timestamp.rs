//! RFC 3339 with nine digits, in UTC: the form of log lines and exit records.
//!
//! Written here because the shim must stay small and a calendar for UTC is a
//! dozen lines (days to civil date after Howard Hinnant's `civil_from_days`).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Length of `2026-11-21T00:00:00.000000000Z`.
pub(crate) const LENGTH: usize = 30;

const NANOS_PER_SECOND: u32 = 1_000_000_000;
const SECONDS_PER_DAY: u64 = 86_400;

/// The text of a time after 1970; earlier times are shown as 1970.
pub(crate) fn format(time: SystemTime) -> [u8; LENGTH] {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (year, month, day) = civil(since.as_secs() / SECONDS_PER_DAY);
    let second_of_day = since.as_secs() % SECONDS_PER_DAY;
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    put(&mut text[0..4], year);
    put(&mut text[5..7], month);
    put(&mut text[8..10], day);
    put(&mut text[11..13], second_of_day / 3600);
    put(&mut text[14..16], second_of_day / 60 % 60);
    put(&mut text[17..19], second_of_day % 60);
    put(&mut text[20..29], u64::from(since.subsec_nanos()));
    text
}

/// The time of a text that [`format()`] made.
pub(crate) fn parse(text: &str) -> Option<SystemTime> {
    let bytes = text.as_bytes();
    if bytes.len() != LENGTH || bytes[LENGTH - 1] != b'Z' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    let days = days(number(0..4)?, number(5..7)?, number(8..10)?)?;
    let seconds =
        days * SECONDS_PER_DAY + number(11..13)? * 3600 + number(14..16)? * 60 + number(17..19)?;
    let nanos = u32::try_from(number(20..29)?).ok()? % NANOS_PER_SECOND;
    Some(UNIX_EPOCH + Duration::new(seconds, nanos))
}

fn put(field: &mut [u8], mut value: u64) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Days since 1970-01-01 to year, month, day.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Year, month, day to days since 1970-01-01.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let shifted_year = year - u64::from(month <= 2);
    let era = shifted_year / 400;
    let year_of_era = shifted_year % 400;
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// For `#[serde(with = …)]`.
pub(crate) mod rfc3339 {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(
        time: &SystemTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = super::format(*time);
        serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse(&text).ok_or_else(|| de::Error::custom("not an RFC 3339 time in UTC"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seconds: u64, nanos: u32) -> String {
        let time = UNIX_EPOCH + Duration::new(seconds, nanos);
        String::from_utf8(format(time).to_vec()).unwrap()
    }

    #[test]
    fn known_times_are_written_as_date_does() {
        // date -u -d @N +%FT%T.%NZ
        assert_eq!(text(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(text(951_782_400, 1), "2000-02-29T00:00:00.000000001Z");
        assert_eq!(
            text(1_795_219_200, 123_456_789),
            "2026-11-21T00:00:00.123456789Z"
        );
        assert_eq!(text(4_107_542_399, 0), "2100-02-28T23:59:59.000000000Z");
        assert_eq!(text(4_107_542_400, 0), "2100-03-01T00:00:00.000000000Z");
    }

    #[test]
    fn parse_reverses_format() {
        for seconds in (0..5_000_000_000).step_by(86_399 * 7) {
            let time = UNIX_EPOCH + Duration::new(seconds, 7);
            let text = format(time);
            assert_eq!(parse(std::str::from_utf8(&text).unwrap()), Some(time));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "2026-11-21T00:00:00Z", "2026-13-21T00:00:00.000000000Z"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
