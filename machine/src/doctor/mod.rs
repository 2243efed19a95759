//! What this host's KVM can do, measured with small built-in guests.
//!
//! Nothing here knows an engine by name: every fact is found by running a guest that shows it. A probe is a question with an
//! id, a title and a function that answers it; groups of probes are one file each. Every guest has a watchdog, so that an
//! instruction that keeps KVM busy for ever is a finding too.
//!
//! ```no_run
//! let report = trapline_machine::doctor::examine(&trapline_machine::open()?, &mut |_| {});
//! for line in &report.summary {
//!     println!("{line}");
//! }
//! # Ok::<(), trapline_machine::MachineError>(())
//! ```

mod about;
mod capabilities;
mod clock;
mod cost;
mod cpuid;
mod debugging;
mod guest;
mod instruction_list;
mod instructions;
mod interrupts;
mod kicks;
mod lab;
mod msrs;
mod prices;
mod probe;
mod report;
mod rip;
mod speed;
mod state;
mod stop;
mod summary;
mod syscalls;
mod tables;
mod tracing;
mod trouble;
mod watchdog;
mod window;

pub use clock::can_hold_tsc;
pub use cpuid::cpuid_can_hide;
pub use debugging::{Breakpoints, breakpoints};
pub use msrs::x2apic_exits;
pub use prices::{PRICE_EXITS, PRICE_ROUNDS, Prices, measure_prices};
pub use report::{
    Capability, Cost, Fate, Finding, Group, InstructionFate, ModeFate, Report, SCHEMA_VERSION, Spread,
    Verdict,
};
pub use state::logs_writes;
pub use syscalls::user_mode_can_call;
pub use trouble::Trouble;
pub use window::window_is_prompt;

use crate::convention::Convention;
use kvm_ioctls::Kvm;
use lab::Lab;
use probe::{Probe, ask};

/// Groups of probes: id, title, probes.
const GROUPS: &[(&str, &str, &[Probe])] = &[
    ("host", "Host", about::PROBES),
    ("speed", "Speed between exits", speed::PROBES),
    ("interrupts", "Interrupts", interrupts::PROBES),
    ("kicks", "Kicks", kicks::PROBES),
    ("cpuid", "What CPUID can hide", cpuid::PROBES),
    ("clock", "The guest's clock", clock::PROBES),
    ("msrs", "Model-specific registers", msrs::PROBES),
    ("user-mode", "User mode", syscalls::PROBES),
    ("state", "State and memory", state::PROBES),
    ("debugging", "Single steps and breakpoints", debugging::PROBES),
    ("rip", "Where RIP stands at an exit", rip::PROBES),
    ("tracing", "Seen from outside", tracing::PROBES),
];

/// Opens /dev/kvm and examines it; a host where that fails has a report too.
pub fn open_and_examine(progress: &mut dyn FnMut(&str)) -> Report {
    match Kvm::new() {
        Err(e) => Report::unusable(Trouble::of_open(e.errno())),
        Ok(kvm) => examine(&kvm, progress),
    }
}

/// Examines a KVM. `progress` is told what is looked at now. Takes a few seconds.
pub fn examine(kvm: &Kvm, progress: &mut dyn FnMut(&str)) -> Report {
    let version = kvm.get_api_version();
    if version != 12 {
        return Report::unusable(Trouble::of_version(version));
    }
    let missing = capabilities::missing(kvm);
    if !missing.is_empty() {
        let report = Report::unusable(Trouble::of_missing(&missing));
        return Report { capabilities: capabilities::ask(kvm), ..report };
    }
    let lab = match Convention::probe(kvm).and_then(|_| Lab::new(kvm)) {
        Ok(lab) => lab,
        Err(e) => return Report::unusable(Trouble::of_first_guest(&e.to_string())),
    };
    let mut groups = Vec::new();
    for (id, title, probes) in GROUPS {
        groups.push(ask(&lab, id, title, probes, progress));
    }
    progress("what exits cost");
    let costs = cost::measure(&lab).unwrap_or_default();
    let instructions = instructions::examine(&lab, progress).unwrap_or_default();
    let mut report = Report {
        schema_version: SCHEMA_VERSION,
        usable: true,
        trouble: None,
        summary: Vec::new(),
        groups,
        capabilities: capabilities::ask(kvm),
        costs,
        instructions,
    };
    report.summary = summary::of(&report);
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn report() -> Report {
        examine(&crate::kvm::open().expect("tests need a usable /dev/kvm"), &mut |_| {})
    }

    #[test]
    fn every_probe_answers_and_the_report_survives_json() {
        let report = report();
        assert!(report.usable);
        assert_eq!(report.schema_version, SCHEMA_VERSION);
        let findings: Vec<_> = report.groups.iter().flat_map(|g| &g.findings).collect();
        assert_eq!(findings.len(), GROUPS.iter().map(|(_, _, probes)| probes.len()).sum::<usize>());
        for finding in &findings {
            assert_ne!(finding.value, "not measured", "{finding:?}");
            assert!(!finding.value.is_empty(), "{finding:?}");
            assert!(
                finding.verdict != Verdict::LimitsRecording || !finding.meaning.is_empty(),
                "{finding:?}"
            );
        }
        let ids: BTreeSet<_> = findings.iter().map(|f| &f.id).collect();
        assert_eq!(ids.len(), findings.len(), "an id is there twice");
        assert_eq!(report.summary.len(), 5);
        assert!(!report.costs.is_empty() && report.costs.iter().all(|c| c.ticks.p10 <= c.ticks.p90));
        assert_eq!(report.instructions.len(), instruction_list::CASES.len());
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }

    #[test]
    fn an_unusable_kvm_is_a_report_with_a_remedy() {
        let report = Report::unusable(Trouble::of_open(libc::ENOENT));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["usable"], false);
        assert!(json["trouble"]["remedy"].as_str().is_some_and(|r| !r.is_empty()));
    }
}
