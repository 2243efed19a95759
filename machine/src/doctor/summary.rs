//! What all of it means for recording here, in five lines.

use super::report::{Fate, Finding, ModeFate, Report, Verdict};

impl Report {
    pub(super) fn is_good(&self, id: &str) -> bool {
        self.finding(id).is_some_and(|f| f.verdict == Verdict::Good)
    }

    fn value(&self, id: &str) -> &str {
        self.finding(id).map_or("unknown", |f| f.value.as_str())
    }
}

/// The summary of a report on a usable KVM.
pub(super) fn of(report: &Report) -> Vec<String> {
    let limits = report.groups.iter().flat_map(|g| &g.findings).filter(|f| is_limit(f)).count();
    vec![
        format!(
            "Trapline can record here ({}, Linux {}). Limits: {}",
            report.value("engine"),
            report.value("kernel"),
            if limits == 0 { "none found.".to_owned() } else { format!("{limits}. In short:") }
        ),
        interrupts(report),
        clock(report),
        guests(report),
        price(report),
    ]
}

fn is_limit(finding: &Finding) -> bool {
    finding.verdict == Verdict::LimitsRecording
}

fn interrupts(report: &Report) -> String {
    let modes = ["interrupt-real", "interrupt-protected", "interrupt-long", "interrupt-user"];
    if !modes.iter().all(|id| report.is_good(id)) {
        "Interrupts: not delivered in every mode, see below.".to_owned()
    } else if report.is_good("window-prompt") {
        "Interrupts: delivered at exits and at interrupt windows.".to_owned()
    } else {
        "Interrupts: delivered only at exits, because this KVM reports the interrupt window late.".to_owned()
    }
}

fn clock(report: &Report) -> String {
    let names = [("rdtsc", "RDTSC"), ("rdtscp", "RDTSCP"), ("rdrand", "RDRAND"), ("rdseed", "RDSEED")];
    let open: Vec<_> = names
        .iter()
        .filter(|(id, _)| report.finding(id).is_some_and(is_limit))
        .map(|(_, name)| *name)
        .collect();
    if open.is_empty() {
        "Clock and random numbers: every instruction that reads them traps.".to_owned()
    } else {
        let held = if report.is_good("tsc-held") {
            "; what is left of RDTSC stands still between exits"
        } else {
            ""
        };
        format!("{}: cannot be hidden here; closed by persuasion and by rewriting{held}.", open.join(", "))
    }
}

fn guests(report: &Report) -> String {
    let calls = match (report.is_good("syscall"), report.is_good("int-80")) {
        (true, true) => "Kernels that make system calls from user mode: yes",
        (false, false) => "Kernels that make system calls from user mode: not on this engine",
        (true, false) => "Kernels whose user mode calls with INT 0x80: not on this engine",
        (false, true) => "Kernels whose user mode calls with SYSCALL: not on this engine",
    };
    let gives_up = |f: &ModeFate| matches!(f.fate, Fate::EmulationFailure | Fate::Hangs);
    let count = |is: &dyn Fn(&ModeFate) -> bool| {
        report.instructions.iter().filter(|i| i.fates.iter().any(is)).count()
    };
    let (fails, finished) = (count(&gives_up), count(&|f| f.fate == Fate::Finished));
    let all = report.instructions.len();
    format!("{calls} (of {all} instructions, {finished} are finished for KVM, {fails} fail).")
}

fn price(report: &Report) -> String {
    let us = |id: &str| {
        report
            .costs
            .iter()
            .find(|c| c.id == id)
            .map_or("?".to_owned(), |c| format!("{:.1} us", c.ns.median / 1e3))
    };
    let share = if report.is_good("kvm-exit-fires") { "can be measured" } else { "estimated (no kvm_exit)" };
    format!(
        "A port read costs {}, an MMIO write {}; the kernel's share: {share}.",
        us("port-read"),
        us("mmio-write")
    )
}
