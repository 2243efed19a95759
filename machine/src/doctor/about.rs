//! What machine this is.

#![expect(clippy::unnecessary_wraps, reason = "every probe has one signature")]

use super::lab::Lab;
use super::probe::{Answer, Answered, Probe};
use crate::host;
use crate::kvm::engine_name;
use std::fs;

pub(super) const PROBES: &[Probe] = &[
    Probe("api-version", "KVM API version", |lab| Ok(Answer::good(lab.kvm.get_api_version().to_string()))),
    Probe("engine", "KVM engine", |_| Ok(Answer::info(engine_name()))),
    Probe("engine-settings", "Its settings", settings),
    Probe("kernel", "Linux", |lab| Ok(Answer::info(host::describe(lab.kvm).kernel))),
    Probe("cpu", "Processor", cpu),
    Probe("virtual", "This machine is itself virtual", is_virtual),
    Probe("tsc-frequency", "Frequency of the time stamp counter", tsc_frequency),
    Probe("tsc-steady", "The time stamp counter is steady", tsc_steady),
];

fn cpu(lab: &Lab<'_>) -> Answered {
    let host = host::describe(lab.kvm);
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let name = if host.cpu_brand.is_empty() { host.cpu_vendor } else { host.cpu_brand };
    Ok(Answer::info(format!("{name}, {cpus} usable")))
}

fn settings(_: &Lab<'_>) -> Answered {
    const NAMES: [&str; 9] = [
        "ept",
        "npt",
        "unrestricted_guest",
        "nested",
        "preemption_timer",
        "enable_apicv",
        "avic",
        "vgif",
        "halt_poll_ns",
    ];
    let mut found = Vec::new();
    for module in [engine_name().as_str(), "kvm"] {
        for name in NAMES {
            if let Ok(value) = fs::read_to_string(format!("/sys/module/{module}/parameters/{name}")) {
                found.push(format!("{name}={}", value.trim()));
            }
        }
    }
    Ok(Answer::info(if found.is_empty() { "none to be seen".to_owned() } else { found.join(" ") }))
}

fn flags() -> Vec<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = cpuinfo.lines().find(|l| l.starts_with("flags")).unwrap_or_default();
    line.split_whitespace().map(str::to_owned).collect()
}

fn is_virtual(_: &Lab<'_>) -> Answered {
    if !flags().iter().any(|f| f == "hypervisor") {
        return Ok(Answer::info("no: KVM runs on the processor itself"));
    }
    // The hypervisor's name is in EBX, ECX, EDX of leaf 0x40000000, by agreement of hypervisors.
    let leaf = core::arch::x86_64::__cpuid(0x4000_0000);
    let name: String = [leaf.ebx, leaf.ecx, leaf.edx]
        .iter()
        .flat_map(|w| w.to_le_bytes())
        .filter(u8::is_ascii_graphic)
        .map(char::from)
        .collect();
    Ok(Answer::info(format!(
        "yes, under {}",
        if name.is_empty() { "a hypervisor without a name" } else { &name }
    ))
    .meaning("Exits cost more than on hardware, and other machines may disturb measurements."))
}

fn tsc_frequency(lab: &Lab<'_>) -> Answered {
    Ok(Answer::info(format!("{:.6} GHz", lab.tick_hz as f64 / 1e9)))
}

fn tsc_steady(_: &Lab<'_>) -> Answered {
    let flags = flags();
    let missing: Vec<_> =
        ["constant_tsc", "nonstop_tsc"].into_iter().filter(|f| !flags.iter().any(|g| g == f)).collect();
    Ok(Answer::good_if(
        missing.is_empty(),
        if missing.is_empty() {
            "yes".to_owned()
        } else {
            format!("not promised: no {}", missing.join(", no "))
        },
        "Times of exits may be off when the processor changes its frequency or sleeps.",
    ))
}
