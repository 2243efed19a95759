//! Faults on purpose: traces that are wrong in one place, written again with checksums that are right. An oracle that shares
//! nothing with the replayer says whether and where each takes effect, and the replayer must find it there and name it.
//!
//! A normal run tries each kind once; `TRAPLINE_MATRIX=full` tries each early, in the middle and late in three guests and a firmware, and
//! compares the outcome with `docs/faults.md` (`BLESS=1` writes it).

mod alarms;
mod campaign;
mod checkpoints;
mod claims;
mod events;
mod executor;
mod fault;
mod inputs;
mod keyframes;
mod mailbox;
mod memory;
mod oracle;
mod outputs;
mod start;
mod subject;
mod table;
mod verdict;

use crate::support::host::{Extent, host};
use campaign::Campaign;

/// Replays of a normal run, and of the one that is asked for.
const REPLAYS: usize = 100;
const MANY_REPLAYS: usize = 1000;

#[test]
fn each_kind_of_fault_is_found_where_it_takes_effect() {
    let Some(host) = host() else { return };
    let mut campaign = Campaign::new(&host, false);
    if Extent::of_environment() == Extent::Full {
        campaign.all();
    } else {
        campaign.sample();
    }
    campaign.finish();
}

#[test]
fn each_kind_of_fault_in_a_firmware_is_found_where_it_takes_effect() {
    if Extent::of_environment() != Extent::Full {
        return;
    }
    let Some(host) = host() else { return };
    let mut campaign = Campaign::new(&host, true);
    campaign.all();
    campaign.finish();
}

#[test]
fn a_hundred_replays_raise_no_alarm() {
    let Some(host) = host() else { return };
    alarms::replay_often(&host, REPLAYS);
}

#[test]
#[ignore = "a minute or more: asked for by name, see docs/full-run.md"]
fn a_thousand_replays_raise_no_alarm() {
    let Some(host) = host() else { return };
    alarms::replay_often(&host, MANY_REPLAYS);
}
