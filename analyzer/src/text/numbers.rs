//! Numbers for people.

/// 1234567 as "1,234,567".
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// "1 exit", "1,234 exits".
pub(super) fn counted(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(n), if n == 1 { "" } else { "s" })
}

/// A size: "512 B", "4.0 KiB", "12.3 MiB".
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be printed as 1024.0.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A percentage with one decimal, what is not nothing told apart from nothing.
pub(super) fn percent(value: f64) -> String {
    if value > 0.0 && value < 0.05 { "<0.1".into() } else { format!("{value:.1}") }
}

/// A unit of time for a whole column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Unit {
    /// What the heading says.
    pub(super) name: &'static str,
    ns: f64,
    decimals: usize,
}

impl Unit {
    /// The unit in which `largest` has one to three digits before the point, and three or four in all.
    pub(super) fn fitting(largest_ns: f64) -> Self {
        let (name, ns) = match largest_ns {
            // A little less than a thousand: 999,999 ns would be printed as 1000.0 µs.
            x if x < 999.5 => ("ns", 1.0),
            x if x < 999.95e3 => ("µs", 1e3),
            x if x < 999.95e6 => ("ms", 1e6),
            _ => ("s", 1e9),
        };
        let decimals = match largest_ns / ns {
            _ if ns < 2.0 => 0,
            x if x < 10.0 => 3,
            x if x < 100.0 => 2,
            _ => 1,
        };
        Self { name, ns, decimals }
    }

    /// With at most so many decimals.
    pub(super) fn with_decimals(self, most: usize) -> Self {
        Self { decimals: self.decimals.min(most), ..self }
    }

    /// The number alone.
    pub(super) fn number(self, ns: f64) -> String {
        let text = format!("{:.*}", self.decimals, ns / self.ns);
        match text.split_once('.') {
            Some((whole, rest)) => format!("{}.{rest}", group(whole)),
            None => group(&text),
        }
    }
}

fn group(digits: &str) -> String {
    digits.parse().map_or_else(|_| digits.to_owned(), count)
}

/// A duration alone: "812 ns", "12.41 s".
pub(super) fn duration(ns: u64) -> String {
    let unit = Unit::fitting(ns as f64);
    format!("{} {}", unit.number(ns as f64), unit.name)
}

/// A bar of `width` characters at 100 percent, in eighths.
pub(super) fn bar(percent: f64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (percent.clamp(0.0, 100.0) / 100.0 * width as f64 * 8.0).round() as usize;
    // Something is never shown as nothing.
    let eighths = if percent > 0.0 { eighths.max(1) } else { 0 };
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// Percentages of parts, rounded to tenths so that they add up to 100.0: the largest remainders are rounded up.
pub(super) fn percentages(parts: &[u64]) -> Vec<f64> {
    let whole: u128 = parts.iter().map(|&p| u128::from(p)).sum();
    if whole == 0 {
        return vec![0.0; parts.len()];
    }
    let exact: Vec<_> =
        parts.iter().map(|&p| (u128::from(p) * 1000 / whole, u128::from(p) * 1000 % whole)).collect();
    let missing = 1000u128.saturating_sub(exact.iter().map(|e| e.0).sum()) as usize;
    let mut order: Vec<_> = (0..parts.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(exact[i].1));
    let mut tenths: Vec<_> = exact.iter().map(|e| e.0).collect();
    order.into_iter().take(missing).for_each(|i| tenths[i] += 1);
    tenths.into_iter().map(|t| t as f64 / 10.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            ["0", "999", "1,000", "12,345,678"],
            [0, 999, 1000, 12_345_678].map(count).map(|s| s.leak() as &str)
        );
        assert_eq!(counted(1, "exit"), "1 exit");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1024 * 1024 - 1), "1.0 MiB");
        assert_eq!(duration(812), "812 ns");
        assert_eq!(duration(12_410_000_000), "12.41 s");
        assert_eq!(duration(999_999), "1.000 ms");
        assert_eq!(percent(0.01), "<0.1");
        assert_eq!(bar(50.0, 4), "██");
        assert_eq!(bar(0.001, 4), "▏");
    }

    #[test]
    fn a_column_has_one_unit() {
        let unit = Unit::fitting(12_345.0);
        assert_eq!(
            (unit.name, unit.number(12_345.0), unit.number(812.0)),
            ("µs", "12.35".into(), "0.81".into())
        );
        assert_eq!(unit.number(4_123_456.0), "4,123.46");
    }

    proptest! {
        #[test]
        fn percentages_add_up_to_100(parts in prop::collection::vec(any::<u64>(), 1..20)) {
            let sum: f64 = percentages(&parts).iter().map(|p| (p * 10.0).round()).sum();
            prop_assert!(parts.iter().all(|&p| p == 0) || (sum - 1000.0).abs() < 0.5);
        }
    }
}
