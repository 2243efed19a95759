//! What if: for dear sites, what to change in the guest or the VMM, what it would save, and what in the trace speaks for it.
//!
//! Each rule checks its precondition in the trace. What it would save is a range, from this recording and for it.

use crate::aggregate::Aggregate;
use crate::habits::{DeviceHabits, Effect, SiteHabits};
use crate::labels::Labeler;
use crate::pricing::Pricing;
use crate::text::count;
use crate::ticks::Ticks;
use serde::Serialize;
use trapline_formats::{ExitKind, Site, Space};

/// Fewer exits are no habit.
const FEWEST: u64 = 20;
/// What would save less than this of all cost, in percent, is not worth a reader's time.
const LEAST_PERCENT: f64 = 0.5;
/// Characters that the FIFO of a 16550 holds.
const FIFO: u64 = 16;

/// A range, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Range {
    /// At least, if the guest does next time what it did this time.
    pub least: u64,
    /// At most.
    pub most: u64,
}

/// What could be changed at a site.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suggestion {
    /// Which rule it comes from: `poll`, `hoist`, `burst`, `rep`, `notify`, `coalesce`, `recorder`.
    pub rule: &'static str,
    /// The site.
    pub site: u32,
    /// The instruction and what it does.
    pub what: String,
    /// What to change.
    pub advice: String,
    /// What was found in the trace.
    pub because: String,
    /// Exits that would not be there.
    pub exits: Range,
    /// Cost in nanoseconds that would not be there; none in a trace without times.
    pub cost_ns: Option<Range>,
    /// The same as a share of all cost.
    pub cost_percent: Option<(f64, f64)>,
}

impl Suggestion {
    /// Whether there is nothing to change: the exits are there because of the recording.
    pub(crate) fn is_recorders(&self) -> bool {
        self.rule == RECORDER
    }
}

/// The rule of what the recorder made exit.
const RECORDER: &str = "recorder";

/// What one rule says of one site.
struct Finding {
    rule: &'static str,
    advice: &'static str,
    because: String,
    exits: Range,
    /// The VMM time alone is saved in any case, the path only perhaps.
    vmm_only: bool,
}

/// Everything that is known of a site.
struct Case<'a> {
    site: &'a Site,
    habits: &'a SiteHabits,
    device: &'a DeviceHabits,
}

/// The suggestions for a trace, the most promising first; behind them, what the recorder made exit.
pub(crate) fn suggestions(
    sites: &[Site],
    aggregate: &Aggregate,
    pricing: &Pricing,
    ticks: Option<Ticks>,
    labeler: &Labeler<'_>,
) -> Vec<Suggestion> {
    let cost = |id: usize| {
        let cost = pricing.of_site(sites[id].kind, aggregate.site(id as u32));
        (cost.cost - cost.path, cost.path)
    };
    let all: u128 = (0..sites.len()).map(|id| cost(id).0 + cost(id).1).sum();
    let mut suggestions = Vec::new();
    for (id, site) in sites.iter().enumerate() {
        let Some((habits, device)) = aggregate.habits.of(id as u32).filter(|(h, _)| h.exits >= FEWEST) else {
            continue;
        };
        let case = Case { site, habits, device };
        let Some(finding) = RULES.iter().find_map(|rule| rule(&case)) else { continue };
        let (vmm, path) = cost(id);
        // The part of the site's cost that belongs to so many of its exits.
        let part = |ticks: u128, exits: u64| ticks * u128::from(exits) / u128::from(habits.exits.max(1));
        let least = part(if finding.vmm_only { vmm } else { vmm + path }, finding.exits.least);
        let most = part(vmm + path, finding.exits.most);
        let percent = |part: u128| part as f64 * 100.0 / all.max(1) as f64;
        if all > 0 && percent(most) < LEAST_PERCENT {
            continue;
        }
        let label = labeler.of(id as u32, site);
        suggestions.push(Suggestion {
            rule: finding.rule,
            site: id as u32,
            what: format!("{}, {}", label.instruction, label.target),
            advice: finding.advice.into(),
            because: finding.because,
            exits: finding.exits,
            cost_ns: ticks.map(|t| Range { least: t.ns(least), most: t.ns(most) }),
            cost_percent: (all > 0).then(|| (percent(least), percent(most))),
        });
    }
    // What nobody can change comes last.
    suggestions
        .sort_by_key(|s| (s.is_recorders(), std::cmp::Reverse((s.cost_ns.map(|c| c.most), s.exits.most))));
    suggestions
}

type Rule = fn(&Case<'_>) -> Option<Finding>;

/// The first that applies to a site speaks for it: savings of two rules would not add up.
const RULES: [Rule; 7] = [recorder, notify, hoist, burst, poll, rep, coalesce];

/// Clock reads exit because a recorder made them exit.
fn recorder(case: &Case<'_>) -> Option<Finding> {
    (case.site.kind == ExitKind::ClockRead).then(|| Finding {
        rule: RECORDER,
        advice: "Nothing to change: without a recorder RDTSC does not exit, and this cost is not there.",
        because: format!(
            "All {} exits are clock reads that the recorder made trap.",
            count(case.habits.exits)
        ),
        exits: Range { least: case.habits.exits, most: case.habits.exits },
        vmm_only: false,
    })
}

/// What never changes need not be read again.
fn hoist(case: &Case<'_>) -> Option<Finding> {
    let habits = case.habits;
    let again = habits.exits - 1;
    let applies = case.site.kind.is_input() && habits.constant && habits.same_at_once * 2 < habits.exits;
    (applies && habits.same_unwritten * 2 >= again).then(|| Finding {
        rule: "hoist",
        advice: "Read it once and keep the value.",
        because: format!(
            "All {} reads returned one value; before {} of them nothing had been written to the device since the last.",
            count(habits.exits), count(habits.same_unwritten)
        ),
        exits: Range { least: habits.same_unwritten, most: again },
        vmm_only: false,
    })
}

/// A serial port with a FIFO takes 16 characters for one look at its status.
fn burst(case: &Case<'_>) -> Option<Finding> {
    let habits = case.habits;
    let applies = case.site.kind == ExitKind::PortRead && case.device.fifo;
    (applies && habits.same_after_write * 2 >= habits.exits).then(|| Finding {
        rule: "burst",
        advice: "Write up to 16 characters for each look at the status, or print through a paravirtual console.",
        because: format!(
            "{} of {} looks came right after a write and found what the look before had found; the FIFO was switched on.",
            count(habits.same_after_write), count(habits.exits)
        ),
        exits: Range {
            least: habits.same_after_write / 2,
            most: habits.same_after_write * (FIFO - 1) / FIFO,
        },
        vmm_only: false,
    })
}

/// A loop that reads a status, or the time, until it changes.
fn poll(case: &Case<'_>) -> Option<Finding> {
    let habits = case.habits;
    let is_status = matches!(case.site.kind, ExitKind::PortRead | ExitKind::MmioRead) && !habits.is_data;
    let again = habits.same_unwritten.max(habits.in_a_row);
    (is_status && again * 2 >= habits.exits && habits.in_a_row > 0).then(|| Finding {
        rule: "poll",
        advice: "Wait for the device's interrupt, or for a timer's, instead of polling.",
        because: format!(
            "{} of {} reads came right after another one; {} returned what the read before had returned while nothing was \
             written to the device.",
            count(habits.in_a_row), count(habits.exits), count(habits.same_unwritten)
        ),
        exits: Range { least: habits.in_a_long_row, most: again },
        vmm_only: false,
    })
}

/// Single accesses in a row can be one repeated instruction: KVM then exits once for many.
fn rep(case: &Case<'_>) -> Option<Finding> {
    let habits = case.habits;
    let is_port = match case.site.kind {
        ExitKind::PortRead => habits.is_data,
        kind => kind == ExitKind::PortWrite,
    };
    (is_port && !case.site.rep && habits.in_a_row * 2 >= habits.exits).then(|| Finding {
        rule: "rep",
        advice: "Move them by REP OUTS or REP INS: many elements, one exit.",
        because: format!(
            "{} of {} exits came right after one of the same instruction; {} were at least the fourth in a row.",
            count(habits.in_a_row), count(habits.exits), count(habits.in_a_long_row)
        ),
        exits: Range { least: habits.in_a_long_row, most: habits.in_a_row },
        vmm_only: false,
    })
}

/// A device that is told to work can be told by the kernel.
fn notify(case: &Case<'_>) -> Option<Finding> {
    let is_write = matches!(case.site.kind, ExitKind::PortWrite | ExitKind::MmioWrite);
    (is_write && case.habits.effect == Effect::Notify).then(|| Finding {
        rule: "notify",
        advice: "Bind the register to an ioeventfd: the kernel wakes the device's thread, and the guest goes on.",
        because: format!(
            "{} writes to a register that only notifies. At least the VMM time goes; the kernel still exits.",
            count(case.habits.exits)
        ),
        exits: Range { least: case.habits.exits, most: case.habits.exits },
        vmm_only: true,
    })
}

/// What nobody reads back can wait: KVM keeps such writes until the next exit of another kind.
fn coalesce(case: &Case<'_>) -> Option<Finding> {
    let is_write = matches!(case.site.kind, ExitKind::PortWrite | ExitKind::MmioWrite);
    let unread = case.device.reads * 100 <= case.device.writes;
    let advice = match case.site.kind.space() {
        Some(Space::Mmio) => "Register the address as coalesced MMIO in the VMM, or leave the writes out.",
        _ => "Register the port for coalesced PIO in the VMM, or leave the writes out.",
    };
    (is_write && unread && case.habits.effect == Effect::None).then(|| Finding {
        rule: "coalesce",
        advice,
        because: format!(
            "The device was written {} times and read {}. At least the VMM time goes; the kernel still exits.",
            count(case.device.writes), count(case.device.reads)
        ),
        exits: Range { least: case.habits.exits, most: case.habits.exits },
        vmm_only: true,
    })
}
