//! The calendar: civil dates and seconds since 1970, without leap seconds.
//!
//! The conversion is Howard Hinnant's ("chrono-compatible low-level date algorithms"): years begin in March, so that the
//! leap day is the last.

/// Seconds in a day.
pub const DAY_S: i64 = 86_400;

/// A date and a time of day. Out-of-range fields carry over when it is turned into seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateTime {
    /// The year, with its century.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub minute: i64,
    /// 0 to 59.
    pub second: i64,
}

impl DateTime {
    /// The date and time so many seconds after 1970-01-01 00:00:00.
    pub fn from_unix(unix_s: i64) -> Self {
        let time = unix_s.rem_euclid(DAY_S);
        // Days since 0000-03-01, in eras of 400 years.
        let days = unix_s.div_euclid(DAY_S) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            hour: time / 3600,
            minute: time / 60 % 60,
            second: time % 60,
        }
    }

    /// Seconds since 1970-01-01 00:00:00.
    pub fn to_unix(self) -> i64 {
        let months = self.year * 12 + self.month - 1;
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
        let year = year - i64::from(month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let month_from_march = (month + 9) % 12;
        let day_of_year = (153 * month_from_march + 2) / 5 + self.day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        days * DAY_S + self.hour * 3600 + self.minute * 60 + self.second
    }
}

/// The day of the week at so many seconds after 1970: 0 is Sunday.
pub fn weekday(unix_s: i64) -> i64 {
    (unix_s.div_euclid(DAY_S) + 4).rem_euclid(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leap_days_and_centuries_fall_where_they_should() {
        let date = |s| {
            let d = DateTime::from_unix(s);
            (d.year, d.month, d.day)
        };
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(951_782_400), (2000, 2, 29));
        assert_eq!(date(4_107_542_400), (2100, 3, 1));
        assert_eq!(date(4_107_542_400 - 1), (2100, 2, 28));
        assert_eq!(weekday(951_782_400), 2, "a Tuesday");
    }

    #[test]
    fn every_day_of_five_centuries_converts_back() {
        for day in -60_000..130_000 {
            let unix_s = day * DAY_S + 12_345;
            assert_eq!(DateTime::from_unix(unix_s).to_unix(), unix_s);
        }
    }

    #[test]
    fn any_bytes_that_a_guest_may_write_convert_without_overflow() {
        let odd = DateTime { year: 25_755, month: 255, day: 255, hour: 255, minute: 255, second: 255 };
        assert!(odd.to_unix() > 0);
        let none = DateTime { year: 0, month: 0, day: 0, hour: 0, minute: 0, second: 0 };
        assert!(none.to_unix() < 0);
    }
}
