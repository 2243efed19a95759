//! Medians, and how far to trust them.

/// What many ratios say.
#[derive(Debug, Clone, Copy)]
pub struct Summary {
    pub median: f64,
    /// With a probability of at least 95 %, the true median lies below. Infinite where too few ratios were measured.
    pub upper_95: f64,
    pub lowest: f64,
    pub highest: f64,
}

impl Summary {
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let highest = values[values.len() - 1];
        let upper_95 = values.get(rank_95(values.len())).copied().unwrap_or(f64::INFINITY);
        Self { median: median(&values), upper_95, lowest: values[0], highest }
    }
}

/// The median of sorted values.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}

/// The median of values in any order.
pub fn median_of(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    median(&values)
}

/// The rank, from 0, of the order statistic that is an upper 95 % bound of the median, whatever the distribution: each
/// value lies below the true median with probability one half, so that the number of those that do is binomial.
fn rank_95(n: usize) -> usize {
    let mut probability = 0.5f64.powi(n as i32);
    let mut below = 0.0;
    for k in 0..n {
        below += probability;
        if below >= 0.95 {
            return k;
        }
        probability *= (n - k) as f64 / (k + 1) as f64;
    }
    n
}
