//! One pass over a trace: everything a report needs, in memory that grows with the sites and not with the exits.

use crate::error::AnalyzerError;
use crate::floor::Intervals;
use crate::groups::Groups;
use crate::habits::Habits;
use crate::names::Names;
use crate::stack_costs::StackTimes;
use crate::stacks::Stacks;
use crate::stream::{Batch, Cut, batches};
use crate::tally::Tally;
use trapline_formats::{Event, Site, Trace};

/// The timings of one site: what its exit path is estimated from.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SiteTime {
    /// Exits with a timing.
    pub(crate) timed: u64,
    /// Their guest intervals in ticks.
    pub(crate) guest: u128,
    /// Their VMM times in ticks.
    pub(crate) vmm: u128,
}

/// The counts of a whole trace.
#[derive(Debug)]
pub(crate) struct Aggregate {
    /// One per group.
    pub(crate) tallies: Vec<Tally>,
    /// One per site.
    pub(crate) sites: Vec<SiteTime>,
    /// Guest intervals by kind of exit.
    pub(crate) intervals: Intervals,
    /// How devices are used.
    pub(crate) habits: Habits,
    /// Where the call stacks are known: the exits and times of each.
    pub(crate) stacks: StackTimes,
    /// Exits read.
    pub(crate) exits: u64,
    /// Exits with a timing.
    pub(crate) timed: u64,
    /// Interrupts and NMIs queued.
    pub(crate) interrupts: u64,
    /// Where reading ended early.
    pub(crate) cut: Cut,
}

impl Aggregate {
    /// Reads the trace; tells `progress` the number of exits read.
    pub(crate) fn of(
        trace: &Trace,
        groups: &Groups,
        names: &Names,
        use_timings: bool,
        stacks: Option<&Stacks>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, AnalyzerError> {
        let mut all = Self {
            tallies: vec![Tally::default(); groups.members.len()],
            sites: vec![SiteTime::default(); trace.sites().len()],
            intervals: Intervals::default(),
            habits: Habits::new(trace.sites(), names),
            stacks: StackTimes::default(),
            exits: 0,
            timed: 0,
            interrupts: 0,
            cut: Cut::default(),
        };
        all.cut = batches(trace, |batch| {
            all.add(batch, trace.sites(), groups, use_timings);
            if let Some(stacks) = stacks {
                all.stacks.add(batch, stacks, use_timings);
            }
            progress(all.exits);
            Ok(())
        })?;
        Ok(all)
    }

    fn add(&mut self, batch: &Batch, sites: &[Site], groups: &Groups, use_timings: bool) {
        let timings = if use_timings { batch.timings.as_slice() } else { &[] };
        let mut timings = timings.iter();
        for exit in batch.inputs.exits() {
            let id = exit.site as usize;
            // The decoder has checked the site; a missing one is skipped rather than trusted.
            let Some((site, group)) = sites.get(id).zip(groups.of_site.get(id)) else { continue };
            let tally = &mut self.tallies[*group as usize];
            tally.add(site, &exit);
            self.habits.add(site, &exit);
            if let Some(&timing) = timings.next() {
                tally.time(timing);
                self.intervals.add(site, timing);
                self.sites[id].timed += 1;
                self.sites[id].guest += u128::from(timing.guest);
                self.sites[id].vmm += u128::from(timing.vmm);
                self.timed += 1;
            }
        }
        self.exits += batch.inputs.len() as u64;
        let is_interrupt = |event| matches!(event, Event::Interrupt { .. } | Event::Nmi);
        self.interrupts += batch.inputs.events().filter(|&(_, event)| is_interrupt(event)).count() as u64;
    }
}
