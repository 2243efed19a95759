//! Histograms for the tools of HdrHistogram: its log, and the percentile distribution that its plotter reads. Values are
//! nanoseconds with three significant digits.
//!
//! The crate that counts could write the log, with `flate2`'s default features, which would compile polars a second time; so it
//! is written here, by the format's description (HdrHistogram, `EncodableHistogram` and `HistogramLogWriter`), and tests read it
//! with another implementation.

use crate::cells::Cells;
use crate::durations::{Durations, Hdr, count, hdr};
use crate::error::AnalyzerError;
use crate::report::Report;
use crate::ticks::Ticks;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::fmt::Write as _;
use std::io::Write as _;

/// Encoding version 2: of the counts, and of the compressed form around them. 0x10 says that words are variable.
const COUNTS: u32 = 0x1c84_9303 | 0x10;
const COMPRESSED: u32 = 0x1c84_9304 | 0x10;
const DIGITS: i32 = 3;
/// Lines of a distribution each time the rest is halved.
const PER_HALF: u32 = 5;
const NS_PER_US: f64 = 1e3;

impl Report {
    /// The log: two histograms for each row of [`Report::rows`], which are told apart by their tags. A comment says what a row is.
    pub fn to_hdr_log(&self, top: Option<usize>) -> Result<String, AnalyzerError> {
        let rows = self.rows(top)?;
        let (cells, ticks) = (Cells(&rows), Ticks::new(self.header.tick_hz));
        let seconds = self.totals.total_ns as f64 / 1e9;
        let mut log = String::from(
            "#[Histogram log format version 1.3]\n#[StartTime: 0.000 (a trace has no time of day)]\n",
        );
        let mut body = String::new();
        for (place, times) in self.row_times(top) {
            let name = match cells.u32("site", place) {
                Some(site) => format!("site-{site}"),
                None => format!("row-{place}"),
            };
            let _ = writeln!(log, "#[{name}: {}]", what(cells, place));
            for (time, durations) in [("vmm", &times.vmm), ("guest", &times.guest)] {
                let Some(ticks) = ticks.filter(|_| durations.count() > 0) else { continue };
                let histogram = in_ns(durations, ticks);
                let _ = writeln!(
                    body,
                    "Tag={name}-{time},0.000,{seconds:.3},{:.3},{}",
                    histogram.max() as f64 / 1e6,
                    STANDARD.encode(compressed(&histogram).map_err(AnalyzerError::Compress)?)
                );
            }
        }
        log.push_str(
            "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
        );
        Ok(log + &body)
    }

    /// The distribution of the VMM times of all exits but HLT, in microseconds.
    pub fn to_hgrm(&self) -> String {
        let mut all = Durations::default();
        let cells = Cells(&self.table);
        let costs = self.times.iter().enumerate().filter(|(row, _)| cells.bool("idle", *row) == Some(false));
        costs.for_each(|(_, times)| all.merge(&times.vmm));
        distribution(&Ticks::new(self.header.tick_hz).map_or_else(hdr, |ticks| in_ns(&all, ticks)))
    }
}

/// What a row is, in words. All text of a table is printable.
fn what(cells: Cells<'_>, row: usize) -> String {
    let place = cells.u64("instruction_address", row).map(|a| format!("at {a:#x}"));
    let address = cells.u64("address", row).map(|a| format!("{a:#x}"));
    let words = [
        cells.str("disassembly", row),
        place.as_deref(),
        cells.str("symbol", row),
        cells.str("kind", row),
        address.as_deref(),
        cells.str("device", row),
        cells.str("register", row),
    ];
    let text = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
    if text.is_empty() { format!("{} sites", cells.u32("sites", row).unwrap_or(0)) } else { text }
}

/// The histogram of ticks as one of nanoseconds.
fn in_ns(durations: &Durations, ticks: Ticks) -> Hdr<u64> {
    let of_ticks: Hdr<u64> = durations.histogram();
    let mut of_ns = hdr();
    for step in of_ticks.iter_recorded() {
        let from = of_ticks.lowest_equivalent(step.value_iterated_to());
        count(&mut of_ns, ticks.ns(from.into()), step.count_at_value());
    }
    of_ns
}

/// A histogram in encoding version 2, compressed.
fn compressed(histogram: &Hdr<u64>) -> std::io::Result<Vec<u8>> {
    let counts = counts(histogram);
    let mut payload = Vec::new();
    payload.extend(COUNTS.to_be_bytes());
    payload.extend((counts.len() as u32).to_be_bytes());
    payload.extend(0u32.to_be_bytes()); // normalizing index offset
    payload.extend(DIGITS.to_be_bytes());
    payload.extend(histogram.low().to_be_bytes());
    payload.extend(histogram.high().to_be_bytes());
    payload.extend(1f64.to_be_bytes()); // integer to double value conversion ratio
    payload.extend(counts);
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(&payload)?;
    let zlib = zlib.finish()?;
    Ok([&COMPRESSED.to_be_bytes()[..], &(zlib.len() as u32).to_be_bytes(), &zlib].concat())
}

/// The counters up to the last that counted something: a number for each, negative for a run of zeros.
fn counts(histogram: &Hdr<u64>) -> Vec<u8> {
    let (mut out, mut zeros) = (Vec::new(), 0);
    for counter in histogram.iter_all() {
        match counter.count_at_value() {
            0 => zeros += 1,
            times => {
                if zeros > 0 {
                    variable(&mut out, -zeros);
                }
                zeros = 0;
                variable(&mut out, times.cast_signed());
            }
        }
    }
    out
}

/// A ZigZag number of up to nine bytes, seven bits each and eight in the last (HdrHistogram, `ZigZagEncoding`).
fn variable(out: &mut Vec<u8>, number: i64) {
    let mut left = (number << 1 ^ number >> 63).cast_unsigned();
    for _ in 0..8 {
        if left < 0x80 {
            out.push(left as u8);
            return;
        }
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

/// The distribution in the form of `outputPercentileDistribution`.
fn distribution(histogram: &Hdr<u64>) -> String {
    let us = |ns: f64| ns / NS_PER_US;
    let mut text =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut below = 0;
    for step in histogram.iter_quantiles(PER_HALF) {
        below += step.count_since_last_iteration();
        let (value, quantile) = (us(step.value_iterated_to() as f64), step.quantile_iterated_to());
        let _ = write!(text, "{value:>12.3} {quantile:2.12} {below:>10}");
        let _ =
            if quantile < 1.0 { writeln!(text, " {:>14.2}", 1.0 / (1.0 - quantile)) } else { writeln!(text) };
    }
    let _ = writeln!(
        text,
        "#[Mean    = {:>12.3}, StdDeviation   = {:>12.3}]",
        us(histogram.mean()),
        us(histogram.stdev())
    );
    let _ = writeln!(
        text,
        "#[Max     = {:>12.3}, Total count    = {:>12}]",
        us(histogram.max() as f64),
        histogram.len()
    );
    let _ = writeln!(text, "#[Buckets = {:>12}, SubBuckets     = {:>12}]", histogram.buckets(), 2048);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_as_many_bytes_as_they_need() {
        for (number, bytes) in [
            (0, &[0][..]),
            (-1, &[1]),
            (63, &[0x7e]),
            (64, &[0x80, 0x01]),
            (-64, &[0x7f]),
            (i64::MAX, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            (i64::MIN, &[0xff; 9]),
        ] {
            let mut out = Vec::new();
            variable(&mut out, number);
            assert_eq!(out, bytes, "{number}");
        }
    }

    #[test]
    fn counters_are_written_up_to_the_last_that_counts() {
        let mut histogram = hdr();
        count(&mut histogram, 3, 2);
        count(&mut histogram, 2050, 1);
        // Three zeros, 2, 2044 zeros, and the first counter of steps of two.
        let expected: Vec<u8> = [-3i64, 2, -2045, 1]
            .iter()
            .flat_map(|&n| {
                let mut out = Vec::new();
                variable(&mut out, n);
                out
            })
            .collect();
        assert_eq!(counts(&histogram), expected);
    }
}
