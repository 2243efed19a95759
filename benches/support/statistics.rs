//! What many ratios say.

use trapline_machine::statistics::{median, upper_rank};

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
        let (lowest, highest) = (values[0], values[values.len() - 1]);
        let upper_95 = values.get(upper_rank(values.len(), 0.95)).copied().unwrap_or(f64::INFINITY);
        Self { median: median(values), upper_95, lowest, highest }
    }
}
