//! A trace that says it was recorded by another engine, with features and MSRs that this one has not: what of that keeps it from
//! being replayed, and by which name.

use crate::support::host::{Host, host};
use crate::support::mutated::{Mutated, assert_diverged};
use crate::support::replayed::attempt;
use trapline_formats::{CpuidEntry, ExitKind};
use trapline_replayer::{Divergence, ReplayError, ReplayOptions, What};

const ECX: usize = 2;
const EDX: usize = 3;
/// CPUID bits that no host offers: the fixed table hides RDTSCP, and no processor since 2011 has 3DNow.
const RDTSCP: (u32, usize, u32) = (0x8000_0001, EDX, 27);
const D3NOW: (u32, usize, u32) = (0x8000_0001, EDX, 31);
const XOP: (u32, usize, u32) = (0x8000_0001, ECX, 11);

/// An MSR of no processor.
const NOBODYS: u32 = 0x4b56_4dff;

/// A trace of a guest that executes one RDTSCP, from an engine of another name.
fn from_elsewhere(host: &Host) -> Mutated {
    let mut mutated = Mutated::of(host, &trapline_guests::lone_rdtscp_64());
    mutated.plain.header.host.engine = "kvm_elsewhere".into();
    mutated
}

/// Has the recording offer a feature.
fn offer(mutated: &mut Mutated, (leaf, register, bit): (u32, usize, u32)) {
    let cpuid = &mut mutated.plain.header.cpuid;
    let at = cpuid.iter().position(|e| (e.leaf, e.subleaf) == (leaf, 0)).unwrap_or_else(|| {
        cpuid.push(CpuidEntry { leaf, subleaf: 0, flags: 0, registers: [0; 4] });
        cpuid.len() - 1
    });
    cpuid[at].registers[register] |= 1 << bit;
}

/// Changes what the registers were at the exit behind the RDTSCP, or, where it exits, at its own: the number of that exit.
fn lead_astray(mutated: &mut Mutated) -> usize {
    let before = mutated.exits_at(ExitKind::PortWrite, 0x80)[0];
    mutated.plain.exits[before + 1].registers[16] ^= 1;
    before + 1
}

fn replay(host: &Host, mutated: &Mutated) -> Result<Result<u64, Box<Divergence>>, ReplayError> {
    mutated.write();
    let replayed = attempt(host, &mutated.recorded.path, &ReplayOptions::default())?;
    Ok(replayed.map(|replayed| replayed.exits))
}

#[test]
fn features_that_are_offered_and_not_used_do_not_keep_a_trace_from_being_replayed() {
    let Some(host) = host() else { return };
    let mut mutated = from_elsewhere(&host);
    for feature in [D3NOW, XOP] {
        offer(&mut mutated, feature);
    }
    assert_eq!(replay(&host, &mutated).unwrap().unwrap(), mutated.recorded.end.exits);
}

#[test]
fn a_feature_that_is_used_and_missing_is_named_with_its_instruction() {
    let Some(host) = host() else { return };
    let mut mutated = from_elsewhere(&host);
    for feature in [D3NOW, RDTSCP] {
        offer(&mut mutated, feature);
    }
    let astray = lead_astray(&mut mutated);
    match replay(&host, &mutated) {
        Err(ReplayError::Lacks { feature, place, recorded, .. }) => {
            assert_eq!(feature, "RDTSCP");
            assert!(
                place.contains("`rdtscp`") && place.ends_with(&format!("before exit {astray}")),
                "{place}"
            );
            assert!(recorded.starts_with("kvm_elsewhere on "), "{recorded}");
        }
        other => panic!("not refused for RDTSCP: {other:?}"),
    }
}

#[test]
fn a_divergence_without_a_use_of_a_missing_feature_stays_one() {
    let Some(host) = host() else { return };
    let mut mutated = from_elsewhere(&host);
    offer(&mut mutated, D3NOW);
    let astray = lead_astray(&mut mutated);
    let divergence = replay(&host, &mutated).unwrap().unwrap_err();
    assert_diverged(&divergence, What::Registers, astray);
    assert!(divergence.note.contains("D3NOW") && divergence.note.contains("none of it was seen in use"));
}

#[test]
fn on_the_engine_that_recorded_it_a_divergence_is_no_refusal() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::lone_rdtscp_64());
    offer(&mut mutated, RDTSCP);
    let astray = lead_astray(&mut mutated);
    assert_diverged(&replay(&host, &mutated).unwrap().unwrap_err(), What::Registers, astray);
}

#[test]
fn an_msr_that_is_not_here_and_was_not_written_does_not_count() {
    let Some(host) = host() else { return };
    let mut mutated = from_elsewhere(&host);
    mutated.plain.start.msrs.push((NOBODYS, 5));
    mutated.last_checkpoint().cpu.msrs.push((NOBODYS, 5));
    assert_eq!(replay(&host, &mutated).unwrap().unwrap(), mutated.recorded.end.exits);
}

#[test]
fn an_msr_access_that_only_one_kvm_hands_out_is_refused_by_the_name_of_the_msr() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::msrs_64());
    mutated.plain.header.host.engine = "kvm_elsewhere".into();
    // As where KVM answers it.
    let sites = &mutated.plain.sites;
    let is_msr = |site: usize| sites[site].kind == ExitKind::MsrRead;
    let at = mutated.plain.exits.iter().position(|exit| is_msr(exit.site)).unwrap();
    let index = sites[mutated.plain.exits[at].site].address;
    mutated.plain.exits.remove(at);
    mutated.plain.end.as_mut().unwrap().exits -= 1;
    match replay(&host, &mutated) {
        Err(ReplayError::Lacks { feature, .. }) => {
            assert_eq!(feature, format!("MSR {index:#x} as KVM answers it there"));
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_value_that_an_msr_does_not_take_here_is_named() {
    let Some(host) = host() else { return };
    let mut mutated = from_elsewhere(&host);
    // LSTAR with an address that is none (SDM vol. 4).
    mutated.plain.start.msrs.iter_mut().find(|m| m.0 == 0xc000_0082).unwrap().1 = 1 << 63;
    let refused = replay(&host, &mutated).unwrap_err().to_string();
    assert!(refused.contains("MSR 0xc0000082"), "{refused}");
}

#[test]
fn an_exit_that_only_one_engine_makes_is_passed_over() {
    let Some(host) = host() else { return };
    let mut mutated = from_elsewhere(&host);
    let print = mutated.exits_at(ExitKind::PortWrite, 0x3f8)[1];
    let mut site = mutated.plain.sites[mutated.plain.exits[print].site].clone();
    (site.kind, site.address, site.size) = (ExitKind::Unfinished, 0, 0);
    mutated.plain.sites.push(site);
    let mut unfinished = mutated.plain.exits[print].clone();
    (unfinished.site, unfinished.data) = (mutated.plain.sites.len() - 1, Vec::new());
    mutated.plain.exits.insert(print, unfinished);
    mutated.plain.end.as_mut().unwrap().exits += 1;
    assert_eq!(replay(&host, &mutated).unwrap().unwrap(), mutated.recorded.end.exits + 1);
}

#[test]
fn the_header_of_a_recording_says_where_it_was_made() {
    let Some(host) = host() else { return };
    let header = Mutated::of(&host, &trapline_guests::port64()).plain.header;
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let field = |name: &str| {
        let line =
            cpuinfo.lines().find(|l| l.starts_with(name) && l[name.len()..].trim_start().starts_with(':'));
        line.and_then(|l| l.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    assert!(!header.host.engine.is_empty());
    assert_eq!(header.host.kernel, std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim());
    assert_eq!(
        (&header.host.cpu_vendor, &header.host.cpu_brand),
        (&field("vendor_id"), &field("model name"))
    );
    // SDM vol. 2, CPUID leaf 1: what the processor says itself, stepping, model and family.
    let signature = core::arch::x86_64::__cpuid(1).eax;
    assert_eq!(header.host.cpu_signature, signature & 0x0fff_0fff, "{signature:#x}");
    let microcode = field("microcode");
    assert_eq!(
        format!("{:#x}", header.host.microcode),
        if microcode.is_empty() { "0x0" } else { microcode.as_str() }
    );
    let capability = |name: &str| header.host.capabilities.iter().find(|c| c.0 == name).map(|c| c.1);
    assert!(capability("KVM_CAP_IMMEDIATE_EXIT").is_some_and(|value| value > 0), "every recording needs it");
    for name in [
        "KVM_CAP_SYNC_REGS",
        "KVM_CAP_XCRS",
        "KVM_CAP_DEBUGREGS",
        "KVM_CAP_SREGS2",
        "KVM_CAP_X86_USER_SPACE_MSR",
    ] {
        assert!(capability(name).is_some(), "{name}");
    }
    let leaf = |leaf: u32| {
        header.cpuid.iter().find(|e| e.leaf == leaf).unwrap_or_else(|| panic!("no leaf {leaf:#x}"))
    };
    let [_, ebx, ecx, edx] = leaf(0).registers;
    let vendor: Vec<u8> = [ebx, edx, ecx].iter().flat_map(|r| r.to_le_bytes()).collect();
    assert_eq!(String::from_utf8_lossy(&vendor), header.host.cpu_vendor);
    assert!(leaf(1).registers[EDX] & 1 != 0, "every processor has an x87");
    assert!(leaf(0x8000_0001).registers[EDX] >> 29 & 1 != 0, "and the guest long mode");
}

#[test]
fn another_microcode_and_a_missing_capability_keep_nothing_from_being_replayed() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::port64());
    let recorded = &mut mutated.plain.header.host;
    recorded.microcode ^= 0xf00;
    recorded.capabilities.push(("KVM_CAP_OF_THE_FUTURE".into(), 1));
    let lacking = trapline_replayer::lacking(host.kvm, &mutated.plain.header).unwrap();
    assert_eq!(lacking, ["KVM_CAP_OF_THE_FUTURE"]);
    assert_eq!(replay(&host, &mutated).unwrap().unwrap(), mutated.recorded.end.exits);
}

#[test]
fn a_divergence_says_what_else_is_not_as_it_was_there() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::port64());
    let here = mutated.plain.header.host.clone();
    let recorded = &mut mutated.plain.header.host;
    recorded.microcode = here.microcode ^ 0xf00;
    recorded.kernel = "9.9.9".into();
    recorded.capabilities.push(("KVM_CAP_OF_THE_FUTURE".into(), 1));
    mutated.plain.exits[5].registers[16] ^= 1;
    let divergence = replay(&host, &mutated).unwrap().unwrap_err();
    assert_diverged(&divergence, What::Registers, 5);
    let microcode = format!("microcode {:#x}, here {:#x}", here.microcode ^ 0xf00, here.microcode);
    for words in [microcode.as_str(), "Linux 9.9.9, here ", "KVM_CAP_OF_THE_FUTURE, which is missing here"] {
        assert!(divergence.note.contains(words), "`{words}` is not in: {}", divergence.note);
    }
}

#[test]
fn another_vendor_is_tried_and_told_of() {
    let Some(host) = host() else { return };
    let mut mutated = Mutated::of(&host, &trapline_guests::port64());
    mutated.plain.header.host.cpu_vendor = "NobodysOwnCPU".into();
    mutated.plain.header.host.cpu_brand = "Nobody's Own CPU".into();
    assert_eq!(replay(&host, &mutated).unwrap().unwrap(), mutated.recorded.end.exits);
    mutated.plain.exits[5].registers[16] ^= 1;
    let divergence = replay(&host, &mutated).unwrap().unwrap_err();
    assert_diverged(&divergence, What::Registers, 5);
    assert!(
        divergence.note.contains("Nobody\\'s Own CPU") || divergence.note.contains("Nobody's Own CPU"),
        "{}",
        divergence.note
    );
}

#[test]
fn an_xsave_component_that_is_in_use_and_missing_is_refused_by_name() {
    let Some(host) = host() else { return };
    let mut mutated = from_elsewhere(&host);
    // The bits of a component that no processor has (SDM vol. 1, 13.1: 20 to 61 are reserved), marked as present.
    let bits = 1u64 << 40;
    let start = &mut mutated.plain.start;
    let marked = u64::from_le_bytes(start.xsave[512..520].try_into().unwrap()) | bits;
    start.xsave[512..520].copy_from_slice(&marked.to_le_bytes());
    let refused = replay(&host, &mutated).unwrap_err().to_string();
    assert!(refused.contains("XSAVE component 40"), "{refused}");
    let mut mutated = from_elsewhere(&host);
    mutated.plain.start.xcr0 |= bits;
    let refused = replay(&host, &mutated).unwrap_err().to_string();
    assert!(refused.contains("XSAVE component 40") || !refused.contains("KVM refused"), "{refused}");
}
