//! When a schedule is due.

use crate::civil::Civil;
use crate::parse::{self, ParseError};

/// Schedules that ask for no day that there is (31 February) are given up after so many days.
const FAR_DAYS: i64 = 5 * 366;
const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const DAY: i64 = 86_400;

/// When something is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// At times that have these parts.
    At(Fields),
    /// After so many seconds, again and again.
    Every(i64),
}

/// The parts of a time, each a set of numbers as bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    pub(crate) minutes: u64,
    pub(crate) hours: u64,
    pub(crate) days: u64,
    pub(crate) months: u64,
    pub(crate) weekdays: u64,
    /// Both days are restricted, and one of them is enough.
    pub(crate) either_day: bool,
}

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// What is wrong with it, as Kubernetes words it.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse::schedule(text)
    }

    /// The first time after `after`; times are seconds since 1970, `offset` gives those that a zone adds at one.
    pub fn next(&self, after: i64, offset: impl Fn(i64) -> i64) -> Option<i64> {
        match self {
            Self::Every(seconds) => after.checked_add(*seconds),
            Self::At(fields) => fields.next(after, &offset),
        }
    }

    /// The last time that is after `after` and not after `until`.
    pub fn last(&self, after: i64, until: i64, offset: impl Fn(i64) -> i64) -> Option<i64> {
        match self {
            Self::Every(seconds) => {
                let passed = until.checked_sub(after)?;
                (passed >= *seconds).then(|| after + passed / seconds * seconds)
            }
            Self::At(fields) => fields.last(after, until, &offset),
        }
    }

    /// How often it was due after `after` until `until`, counted up to `most`.
    pub fn count(&self, after: i64, until: i64, most: usize, offset: impl Fn(i64) -> i64) -> usize {
        let times = std::iter::successors(Some(after), |time| self.next(*time, &offset));
        let times = times.skip(1).take_while(|time| *time <= until);
        times.take(most).count()
    }
}

impl Fields {
    fn next(&self, after: i64, offset: &impl Fn(i64) -> i64) -> Option<i64> {
        let local = |time: i64| Civil::of(time + offset(time));
        let mut time = after.div_euclid(MINUTE) * MINUTE + MINUTE;
        let end = time + FAR_DAYS * DAY;
        while time <= end {
            let civil = local(time);
            if !self.has_day(&civil) {
                // A day that the clocks change is longer or shorter: not past the beginning of the next.
                let midnight = time + DAY - civil.second;
                let landed = local(midnight);
                let earlier = midnight - landed.second;
                let overshot = landed.date > civil.date && local(earlier).date > civil.date;
                time = if overshot { earlier } else { midnight };
            } else if !has(self.hours, civil.hour()) {
                time += HOUR - civil.second % HOUR;
            } else if !has(self.minutes, civil.minute()) {
                time += MINUTE;
            } else {
                return Some(time);
            }
        }
        None
    }

    fn last(&self, after: i64, until: i64, offset: &impl Fn(i64) -> i64) -> Option<i64> {
        let local = |time: i64| Civil::of(time + offset(time));
        let mut time = until.div_euclid(MINUTE) * MINUTE;
        let end = after.max(time - FAR_DAYS * DAY);
        while time > end {
            let civil = local(time);
            if !self.has_day(&civil) {
                let before = time - civil.second - MINUTE;
                let later = [2 * HOUR, HOUR, HOUR / 2, 0].map(|more| before + more);
                let mut of_yesterday = later.into_iter().filter(|at| local(*at).date < civil.date);
                time = of_yesterday.next().unwrap_or(before);
            } else if !has(self.hours, civil.hour()) {
                time -= civil.second % HOUR + MINUTE;
            } else if !has(self.minutes, civil.minute()) {
                time -= MINUTE;
            } else {
                return Some(time);
            }
        }
        None
    }

    fn has_day(&self, civil: &Civil) -> bool {
        let (day, weekday) = (has(self.days, civil.day), has(self.weekdays, civil.weekday));
        let is_due = if self.either_day {
            day || weekday
        } else {
            day && weekday
        };
        has(self.months, civil.month) && is_due
    }
}

fn has(set: u64, number: u32) -> bool {
    set & 1 << number != 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-21T00:00:00Z, a Saturday.
    const START: i64 = 1_795_219_200;
    /// When clocks in Berlin go back and forth in 2026, and by how much they differ.
    const BACK: i64 = 1_792_890_000;
    const FORTH: i64 = 1_774_746_000;

    fn utc(_: i64) -> i64 {
        0
    }

    fn berlin(time: i64) -> i64 {
        if (FORTH..BACK).contains(&time) {
            2 * HOUR
        } else {
            HOUR
        }
    }

    fn schedule(text: &str) -> Schedule {
        Schedule::parse(text).unwrap()
    }

    #[test]
    fn schedules_are_due() {
        for (text, expected) in [
            ("* * * * *", START + 60),
            ("*/15 * * * *", START + 900),
            ("0 9 * * 1-5", START + 2 * DAY + 9 * HOUR),
            ("30 4 1,15 * *", START + 10 * DAY + 4 * HOUR + 1800),
            ("0 0 1 1 *", START + 41 * DAY),
            // Either the 24th or a Sunday.
            ("0 0 24 * 0", START + DAY),
            ("@every 90s", START + 90),
        ] {
            let schedule = schedule(text);
            assert_eq!(schedule.next(START, utc), Some(expected), "{text}");
            let before = expected - 1;
            assert_eq!(schedule.last(START, before, utc), None, "{text}");
            let found = schedule.last(START, expected, utc);
            assert_eq!(found, Some(expected), "{text}");
        }
        assert_eq!(schedule("0 0 31 2 *").next(START, utc), None);
        // Until 29 February of the next leap year.
        let leap = schedule("0 0 29 2 *").next(START, utc);
        assert_eq!(leap, Some(1_835_395_200));
        assert_eq!(
            schedule("* * * * *").count(START, START + 600, 100, utc),
            10
        );
        assert_eq!(
            schedule("* * * * *").count(START, START + DAY, 100, utc),
            100
        );
    }

    #[test]
    fn a_time_that_clocks_skip_is_not_due_and_one_that_they_show_twice_is_due_twice() {
        let skipped = schedule("30 2 * * *");
        let after = skipped.next(FORTH - 2 * HOUR, berlin).unwrap();
        assert_eq!(after, FORTH + DAY - HOUR / 2);
        let doubled = schedule("30 2 * * *");
        let first = doubled.next(BACK - 2 * HOUR, berlin).unwrap();
        let second = doubled.next(first, berlin).unwrap();
        assert_eq!((first, second), (BACK - HOUR / 2, BACK + HOUR / 2));
        // The night's length does not hide the next day's first hour.
        let early = schedule("10 0 * * 1");
        assert_eq!(
            early.next(FORTH - HOUR, berlin),
            Some(FORTH + 21 * HOUR + 600)
        );
    }

    proptest! {
        /// Both ways lead to the same times, and no time between is left out.
        #[test]
        fn forth_and_back_agree(
            minute in 0u32..60, hour in 0u32..24, weekday in 0u32..7, every in 1u32..30,
            start in FORTH - 40 * DAY..BACK + 40 * DAY,
        ) {
            for text in [
                format!("{minute} {hour} * * *"),
                format!("{minute} {hour} * * {weekday}"),
                format!("*/{every} {hour} 1-20 * *"),
                format!("{minute} */5 * */2 ?"),
            ] {
                let schedule = schedule(&text);
                let next = schedule.next(start, berlin).unwrap();
                prop_assert_eq!(schedule.last(start, next, berlin), Some(next));
                prop_assert_eq!(schedule.last(start, next - 1, berlin), None);
                let after = schedule.next(next, berlin).unwrap();
                prop_assert_eq!(schedule.last(start, after - 1, berlin), Some(next));
            }
        }
    }
}
