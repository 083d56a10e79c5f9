//! The calendar: what a moment is called at an offset.

/// A moment in the words of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// Days since 1970-01-01.
    pub date: i64,
    /// Seconds of the day.
    pub second: i64,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 is Sunday.
    pub weekday: u32,
}

const DAY: i64 = 86_400;

impl Civil {
    /// What clocks and calendars show at `local` seconds since 1970, offset included.
    pub fn of(local: i64) -> Self {
        let date = local.div_euclid(DAY);
        let (month, day) = month_and_day(date);
        // 1970-01-01 was a Thursday.
        let weekday = (date + 4).rem_euclid(7);
        Self {
            date,
            second: local.rem_euclid(DAY),
            month,
            day,
            weekday: small(weekday),
        }
    }

    /// 0 to 59.
    pub fn minute(&self) -> u32 {
        small(self.second / 60 % 60)
    }

    /// 0 to 23.
    pub fn hour(&self) -> u32 {
        small(self.second / 3600)
    }
}

/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn month_and_day(date: i64) -> (u32, u32) {
    let shifted = date + 719_468;
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (small(month), small(day))
}

/// Parts of dates and times are small numbers.
fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_their_names() {
        for (local, month, day, weekday, hour, minute) in [
            (0, 1, 1, 4, 0, 0),
            (951_782_399, 2, 28, 1, 23, 59),
            (951_782_400, 2, 29, 2, 0, 0),
            (1_795_219_200, 11, 21, 6, 0, 0),
            (-60, 12, 31, 3, 23, 59),
        ] {
            let civil = Civil::of(local);
            let is = (civil.month, civil.day, civil.weekday);
            assert_eq!(is, (month, day, weekday), "{local}");
            assert_eq!((civil.hour(), civil.minute()), (hour, minute), "{local}");
        }
    }
}
