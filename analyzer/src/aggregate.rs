//! One pass over a trace: everything a report needs, in memory that grows with the sites and not with the exits.

use crate::error::AnalyzerError;
use crate::floor::Intervals;
use crate::groups::Groups;
use crate::habits::Habits;
use crate::names::Names;
use crate::pci::ConfigAccesses;
use crate::stack_costs::StackTimes;
use crate::stacks::Stacks;
use crate::stream::{Batch, Cut, batches};
use crate::tally::Tally;
use trapline_formats::{Event, Site, Timing, Trace};

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

impl SiteTime {
    fn of(tally: &Tally) -> Self {
        Self { timed: tally.vmm.count(), guest: tally.guest.total(), vmm: tally.vmm.total() }
    }
}

/// The counts of a whole trace.
#[derive(Debug)]
pub(crate) struct Aggregate {
    /// One per group.
    pub(crate) tallies: Vec<Tally>,
    /// One per site; none where every site is a group, whose tally says the same.
    sites: Vec<SiteTime>,
    /// Guest intervals by kind of exit.
    pub(crate) intervals: Intervals,
    /// How devices are used.
    pub(crate) habits: Habits,
    /// What accesses to PCI configuration space are for.
    pub(crate) pci: ConfigAccesses,
    /// The sites of the exits of the batch at hand.
    order: Vec<u32>,
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
            tallies: vec![Tally::default(); groups.len()],
            sites: match groups {
                Groups::Sites(_) => Vec::new(),
                Groups::Shared { .. } => vec![SiteTime::default(); trace.sites().len()],
            },
            intervals: Intervals::default(),
            habits: Habits::new(trace.sites(), names),
            pci: ConfigAccesses::default(),
            order: Vec::new(),
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
        self.order.clear();
        for exit in batch.inputs.exits() {
            let id = exit.site as usize;
            self.order.push(exit.site);
            // The decoder has checked the site; a missing one is skipped rather than trusted.
            let Some(site) = sites.get(id) else { continue };
            self.tallies[groups.of(exit.site)].add(site, &exit);
            self.habits.add(site, &exit);
            self.pci.add(site, &exit);
        }
        if use_timings {
            self.time(&batch.timings, sites, groups);
        }
        self.exits += batch.inputs.len() as u64;
        let is_interrupt = |event: &Event| matches!(event, Event::Interrupt { .. } | Event::Nmi);
        self.interrupts += batch.inputs.events().filter(|(_, event)| is_interrupt(event)).count() as u64;
    }

    /// Adds the timings of a batch, one purpose after another: loops as short as these wait for memory many exits at a time.
    fn time(&mut self, timings: &[Timing], sites: &[Site], groups: &Groups) {
        let timed = || self.order.iter().zip(timings).filter(|(id, _)| (**id as usize) < sites.len());
        for (&id, timing) in timed() {
            self.tallies[groups.of(id)].vmm.add(timing.vmm);
        }
        for (&id, timing) in timed() {
            self.tallies[groups.of(id)].guest.add(timing.guest);
        }
        for (&id, &timing) in timed() {
            self.intervals.add(&sites[id as usize], timing);
            self.timed += 1;
            if let Some(time) = self.sites.get_mut(id as usize) {
                time.timed += 1;
                time.guest += u128::from(timing.guest);
                time.vmm += u128::from(timing.vmm);
            }
        }
    }

    /// The timings of a site.
    pub(crate) fn site(&self, id: u32) -> SiteTime {
        // Where there are none by site, a tally is one of a site.
        self.sites.get(id as usize).copied().unwrap_or_else(|| SiteTime::of(&self.tallies[id as usize]))
    }
}
