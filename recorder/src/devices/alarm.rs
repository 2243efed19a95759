//! The alarm of a clock: a time of day in which any field may be "don't care" (MC146818A data sheet ADI856R2, "Alarm").

use super::calendar::DAY_S;

/// Hour (0 to 23), minute and second (0 to 59); `None` matches every value.
#[derive(Debug, Clone, Copy)]
pub struct Alarm {
    /// The hour.
    pub hour: Option<i64>,
    /// The minute.
    pub minute: Option<i64>,
    /// The second.
    pub second: Option<i64>,
}

impl Alarm {
    /// The first matching second after `after`, both in seconds since 1970.
    pub fn first_after(self, after: i64) -> Option<i64> {
        let matches = |field: Option<i64>, value: i64| field.is_none_or(|f| f == value);
        let start = after + 1;
        let day = start.div_euclid(DAY_S) * DAY_S;
        let time = start.rem_euclid(DAY_S);
        // Two days, because today's may have passed. An hour and a minute that match always have a match inside, except
        // those that `start` cuts: some two hundred steps at most.
        for hour in (time / 3600..48).filter(|h| matches(self.hour, h % 24)) {
            let cut = hour == time / 3600;
            let first_minute = if cut { time / 60 % 60 } else { 0 };
            for minute in (first_minute..60).filter(|m| matches(self.minute, *m)) {
                let first_second = if cut && minute == first_minute { time % 60 } else { 0 };
                if let Some(second) = (first_second..60).find(|s| matches(self.second, *s)) {
                    return Some(day + hour * 3600 + minute * 60 + second);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alarm_is_found_where_a_search_second_by_second_finds_it() {
        let fields = |last: i64| [None, Some(0), Some(7), Some(last)];
        for hour in fields(23) {
            for minute in fields(59) {
                for second in fields(59) {
                    let alarm = Alarm { hour, minute, second };
                    for after in
                        [-1, 0, 59, 3_599, 7 * 3600 + 7 * 60 + 7, DAY_S - 2, DAY_S - 1, 10 * DAY_S + 43_210]
                    {
                        let matches = |t: &i64| {
                            let of_day = t.rem_euclid(DAY_S);
                            hour.is_none_or(|h| h == of_day / 3600)
                                && minute.is_none_or(|m| m == of_day / 60 % 60)
                                && second.is_none_or(|s| s == of_day % 60)
                        };
                        let expected = (after + 1..=after + DAY_S).find(matches);
                        assert_eq!(alarm.first_after(after), expected, "{alarm:?} after {after}");
                    }
                }
            }
        }
    }
}
