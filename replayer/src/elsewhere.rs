//! Replaying what another engine, or another processor, recorded: what is compared less strictly there, and what is missing.
//! `docs/determinism.md` ("Between engines") has the reasons.

mod image;
mod memory;
mod state;

use crate::error::ReplayError;
use trapline_formats::digests::{self, COMPARED, Compared};
use trapline_formats::{CpuState, Difference, ExitKind, Header, Host};
use trapline_machine::{FeatureUse, Kvm, Machine, MissingFeatures, describe_host, fixed_table};

pub(crate) use memory::is_same_but_for_resume_flag;

/// RFLAGS.AF: left undefined by AND, OR, XOR and TEST (SDM vol. 1, appendix A), and processors differ in it.
const AF: u64 = 1 << 4;

/// A replay on another engine or processor than the recording's.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    recorded: String,
    here: String,
    pub(crate) missing: MissingFeatures,
}

impl Elsewhere {
    /// `None` on the same engine and processor.
    pub(crate) fn of(kvm: &Kvm, header: &Header) -> Result<Option<Self>, ReplayError> {
        let here = describe_host(kvm);
        let what = |host: &Host| (host.engine.clone(), host.cpu_vendor.clone(), host.cpu_signature);
        if what(&here) == what(&header.host) {
            return Ok(None);
        }
        let missing = MissingFeatures::between(&header.cpuid, &fixed_table(kvm)?);
        Ok(Some(Self { recorded: name(&header.host), here: name(&here), missing }))
    }

    /// Whether registers are the same as far as two processors agree on them.
    pub(crate) fn are_same_registers(recorded: &Compared, replayed: &Compared) -> bool {
        (0..COMPARED).all(|r| {
            let ignored = if digests::name(r) == "RFLAGS" { AF } else { 0 };
            (recorded[r] ^ replayed[r]) & !ignored == 0
        })
    }

    /// Exits that one engine makes and another has no need of. They carry nothing inward.
    pub(crate) fn is_optional(kind: ExitKind) -> bool {
        matches!(kind, ExitKind::Unfinished | ExitKind::SetTpr)
    }

    /// What differs between complete states.
    pub(crate) fn differences(
        recorded: &CpuState,
        replayed: &CpuState,
        machine: &Machine,
    ) -> Vec<Difference> {
        state::compared(recorded, machine.msrs()).differences(&state::compared(replayed, machine.msrs()))
    }

    /// The refusal that a use of a missing feature comes to.
    pub(crate) fn refusal(&self, used: &FeatureUse, exit: u64) -> ReplayError {
        let FeatureUse { feature, address, instruction } = used;
        self.lacks(feature.clone(), format!("by `{instruction}` at {address}, before exit {exit}"))
    }

    /// The refusal of an MSR that only one of the two KVMs answers by itself.
    pub(crate) fn msr_refusal(&self, index: u64, exit: u64) -> ReplayError {
        self.lacks(format!("MSR {index:#x} as KVM answers it there"), format!("at exit {exit}"))
    }

    /// The refusal of an interrupt window where this engine opens them late.
    pub(crate) fn window_refusal(&self, exit: u64) -> ReplayError {
        self.lacks("interrupt windows that open at once".to_owned(), format!("at exit {exit}"))
    }

    fn lacks(&self, feature: String, place: String) -> ReplayError {
        ReplayError::Lacks { feature, place, recorded: self.recorded.clone(), here: self.here.clone() }
    }

    /// What to say beside a divergence that no missing feature explains.
    pub(crate) fn note(&self) -> String {
        let names = self.missing.names();
        let lacks = if names.is_empty() {
            "lacks nothing that the recording offered its guest".to_owned()
        } else {
            format!(
                "lacks {}, which the recording offered its guest; none of it was seen in use",
                names.join(", ")
            )
        };
        format!("recorded by {}, replayed by {}, which {lacks}", self.recorded, self.here)
    }
}

fn name(host: &Host) -> String {
    let cpu = if host.cpu_brand.is_empty() { &host.cpu_vendor } else { &host.cpu_brand };
    format!("{} on {}", host.engine.escape_debug(), cpu.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_adjust_flag_alone_is_left_out() {
        let recorded = [0x57; COMPARED];
        let mut replayed = recorded;
        replayed[0] ^= AF;
        assert!(Elsewhere::are_same_registers(&recorded, &replayed));
        replayed[0] ^= 1;
        assert!(!Elsewhere::are_same_registers(&recorded, &replayed));
        let mut replayed = recorded;
        replayed[1] ^= AF;
        assert!(!Elsewhere::are_same_registers(&recorded, &replayed));
    }
}
