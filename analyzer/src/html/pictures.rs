//! What the pictures of a page show: time in bins, per site too, and how often each duration occurred.

use crate::error::AnalyzerError;
use crate::labels::is_idle;
use crate::moments::{Moment, Step, moments};
use crate::report::Report;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use trapline_formats::Trace;

/// Bins of the timeline: more than are told apart before it is zoomed.
pub(super) const BINS: usize = 480;
/// Buckets of durations per octave.
const PER_OCTAVE: f64 = 4.0;

/// Where time goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Vmm,
    Path,
    Guest,
    Idle,
}

/// The parts in the order in which they are numbered, by the names that the page knows.
const PARTS: [(Part, &str); 4] =
    [(Part::Vmm, "vmm"), (Part::Path, "path"), (Part::Guest, "guest"), (Part::Idle, "idle")];

/// Durations by bucket.
type Durations = BTreeMap<u32, u64>;

/// One site in time.
#[derive(Debug, Clone)]
struct SitePicture {
    /// Cost by bin, in nanoseconds; of HLT, waiting.
    heat: Vec<u64>,
    vmm: Durations,
    run: Durations,
}

/// The pictures of a trace.
pub(super) struct Pictures {
    bin_ns: u64,
    /// Nanoseconds by part and bin.
    parts: [Vec<u64>; PARTS.len()],
    exits: Vec<u64>,
    interrupts: Vec<u64>,
    sites: BTreeMap<u32, SitePicture>,
}

impl Pictures {
    /// Reads the trace for the pictures of these sites.
    pub(super) fn of(report: &Report, trace: &Trace, sites: &[u32]) -> Result<Self, AnalyzerError> {
        let none = || vec![0; BINS];
        let site = SitePicture { heat: none(), vmm: Durations::new(), run: Durations::new() };
        let mut pictures = Self {
            bin_ns: report.totals().total_ns.div_ceil(BINS as u64).max(1),
            parts: PARTS.map(|_| none()),
            exits: none(),
            interrupts: none(),
            sites: sites.iter().map(|&number| (number, site.clone())).collect(),
        };
        moments(trace, &report.pricing, |step| {
            match step {
                Step::Exit(moment) => {
                    let idle = trace.sites().get(moment.site as usize).is_some_and(is_idle);
                    pictures.add(&moment, idle);
                }
                Step::Interrupt { at_ns, .. } => {
                    let bin = pictures.bin(at_ns);
                    pictures.interrupts[bin] += 1;
                }
            }
            Ok(())
        })?;
        Ok(pictures)
    }

    fn bin(&self, ns: u64) -> usize {
        ((ns / self.bin_ns) as usize).min(BINS - 1)
    }

    fn add(&mut self, moment: &Moment, idle: bool) {
        self.spend(Part::Guest, moment.start_ns, moment.exit_ns());
        self.spend(Part::Path, moment.exit_ns(), moment.vmm_start_ns());
        self.spend(if idle { Part::Idle } else { Part::Vmm }, moment.vmm_start_ns(), moment.end_ns());
        let bin = self.bin(moment.exit_ns());
        self.exits[bin] += 1;
        if let Some(site) = self.sites.get_mut(&moment.site) {
            site.heat[bin] += moment.cost_ns();
            *site.vmm.entry(bucket(moment.vmm_ns)).or_default() += 1;
            *site.run.entry(bucket(moment.guest_ns + moment.path_ns)).or_default() += 1;
        }
    }

    /// Lays a stretch of time over the bins that it crosses.
    fn spend(&mut self, part: Part, mut from: u64, to: u64) {
        let row = PARTS.iter().position(|(p, _)| *p == part).unwrap_or(0);
        while from < to {
            let bin = self.bin(from);
            let bin_end = if bin == BINS - 1 { to } else { (bin as u64 + 1) * self.bin_ns };
            let until = to.min(bin_end);
            self.parts[row][bin] += until - from;
            from = until;
        }
    }

    /// The timeline.
    pub(super) fn time(&self) -> Value {
        let mut time = json!({"bin_ns": self.bin_ns, "exits": self.exits, "interrupts": self.interrupts});
        for ((_, name), bins) in PARTS.iter().zip(&self.parts) {
            time[*name] = json!(bins);
        }
        time
    }

    /// Nanoseconds in a bin.
    pub(super) fn bin_ns(&self) -> u64 {
        self.bin_ns
    }

    /// Whether anything happened in a bin.
    pub(super) fn exits(&self, bin: usize) -> u64 {
        self.exits.get(bin).copied().unwrap_or(0)
    }

    /// Cost of each site in a bin.
    pub(super) fn costs(&self, bin: usize) -> impl Iterator<Item = (u32, u64)> {
        self.sites.iter().map(move |(&site, picture)| (site, picture.heat.get(bin).copied().unwrap_or(0)))
    }

    /// Cost of a site by bin.
    pub(super) fn heat(&self, site: u32) -> &[u64] {
        self.sites.get(&site).map_or(&[], |s| &s.heat)
    }

    /// VMM times: [from, to, exits], in nanoseconds.
    pub(super) fn vmm_times(&self, site: u32) -> Vec<[f64; 3]> {
        self.sites.get(&site).map_or(Vec::new(), |s| ranges(&s.vmm))
    }

    /// KVM_RUN intervals.
    pub(super) fn run_times(&self, site: u32) -> Vec<[f64; 3]> {
        self.sites.get(&site).map_or(Vec::new(), |s| ranges(&s.run))
    }
}

/// Bucket 0 holds nothing but 0 and 1 ns.
fn bucket(ns: u64) -> u32 {
    ((ns.max(1) as f64).log2() * PER_OCTAVE) as u32
}

fn ranges(durations: &Durations) -> Vec<[f64; 3]> {
    let start = |bucket: u32| ((f64::from(bucket) / PER_OCTAVE).exp2() * 10.0).round() / 10.0;
    durations.iter().map(|(&bucket, &exits)| [start(bucket), start(bucket + 1), exits as f64]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pictures(bin_ns: u64) -> Pictures {
        let none = || vec![0; BINS];
        Pictures {
            bin_ns,
            parts: PARTS.map(|_| none()),
            exits: none(),
            interrupts: none(),
            sites: BTreeMap::new(),
        }
    }

    proptest! {
        #[test]
        fn no_time_is_lost_between_bins(moments in prop::collection::vec((0u64..5000, 0u64..300, 0u64..5000), 1..50), bin_ns in 1u64..900) {
            let mut pictures = pictures(bin_ns);
            let mut start_ns = 0;
            for (guest_ns, path_ns, vmm_ns) in moments {
                let moment = Moment { exit: 0, site: 0, start_ns, guest_ns, path_ns, vmm_ns, recorder_ns: 0 };
                pictures.add(&moment, false);
                start_ns = moment.end_ns();
            }
            prop_assert_eq!(pictures.parts.iter().flatten().sum::<u64>(), start_ns);
            // No bin but the last holds more than it is long.
            for bin in 0..BINS - 1 {
                prop_assert!(pictures.parts.iter().map(|p| p[bin]).sum::<u64>() <= bin_ns);
            }
        }

        #[test]
        fn a_duration_is_inside_its_bucket(ns in 1u64..1 << 40) {
            let ranges = ranges(&Durations::from([(bucket(ns), 1)]));
            prop_assert!(ranges[0][0] <= ns as f64 + 0.1 && ns as f64 <= ranges[0][1] + 0.1);
        }
    }
}
