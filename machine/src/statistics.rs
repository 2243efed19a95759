//! Medians, and how far to trust them: order statistics, which assume nothing of the distribution.

use trapline_formats::Estimate;

/// The median of values in any order; 0 of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.as_slice() {
        [] => 0.0,
        all if all.len().is_multiple_of(2) => f64::midpoint(all[middle - 1], all[middle]),
        all => all[middle],
    }
}

/// The rank, from 0, of the order statistic that lies above the true median with this probability at least: each value lies
/// below the true median with probability one half, so that the number of those that do is binomial. `n` for too few values.
pub fn upper_rank(n: usize, probability: f64) -> usize {
    let mut exactly = 0.5f64.powi(n as i32);
    let mut at_most = 0.0;
    for k in 0..n {
        at_most += exactly;
        if at_most >= probability {
            return k;
        }
        exactly *= (n - k) as f64 / (k + 1) as f64;
    }
    n
}

/// The median with the bounds of its 95 % confidence interval. `None` for fewer than six values, which have none.
pub fn median_interval(mut values: Vec<f64>) -> Option<Estimate> {
    values.sort_by(f64::total_cmp);
    let rank = upper_rank(values.len(), 0.975);
    let high = *values.get(rank)?;
    let low = values[values.len() - 1 - rank];
    Some(Estimate { low, median: median(values), high })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranks_are_those_of_the_tables() {
        // Conover, "Practical Nonparametric Statistics", table A3: n = 15 has ranks 4 and 12, n = 31 has 10 and 22, from 1.
        let interval = |n: i32| median_interval((1..=n).map(f64::from).collect());
        assert_eq!(interval(15), Some(Estimate { low: 4.0, median: 8.0, high: 12.0 }));
        assert_eq!(interval(31), Some(Estimate { low: 10.0, median: 16.0, high: 22.0 }));
        assert_eq!(interval(6), Some(Estimate { low: 1.0, median: 3.5, high: 6.0 }));
        assert_eq!((interval(5), interval(0)), (None, None));
        assert_eq!((upper_rank(5, 0.95), upper_rank(4, 0.95)), (4, 4));
    }
}
