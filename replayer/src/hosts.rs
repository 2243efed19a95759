//! The recording's host and this one, as far as a guest could meet the difference.

use crate::error::ReplayError;
use std::collections::BTreeMap;
use trapline_formats::{Header, Host};
use trapline_machine::{Kvm, MissingFeatures, describe_host, fixed_table};

/// What the recording had, offered its guest or was made with, and this host lacks: KVM capabilities and features of the processor,
/// by name. It keeps nothing from being replayed that does not need it; where a guest does, a replay is refused or diverges.
pub fn lacking(kvm: &Kvm, header: &Header) -> Result<Vec<String>, ReplayError> {
    let mut names = missing_capabilities(&header.host, &describe_host(kvm));
    names.extend(MissingFeatures::between(&header.cpuid, &fixed_table(kvm)?).names());
    Ok(names)
}

fn missing_capabilities(recorded: &Host, here: &Host) -> Vec<String> {
    let here: BTreeMap<_, _> =
        here.capabilities.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let has = |name: &str| here.get(name).is_some_and(|value| *value > 0);
    let missing = recorded.capabilities.iter().filter(|(name, value)| *value > 0 && !has(name));
    missing.map(|(name, _)| name.escape_debug().to_string()).collect()
}

/// In what else two hosts of one engine and processor differ, to be said beside a divergence.
pub(crate) fn note(recorded: &Host, here: &Host) -> Option<String> {
    let mut differences = Vec::new();
    if recorded.kernel != here.kernel {
        differences.push(format!(
            "Linux {}, here {}",
            recorded.kernel.escape_debug(),
            here.kernel.escape_debug()
        ));
    }
    if recorded.microcode != here.microcode {
        differences.push(format!("microcode {:#x}, here {:#x}", recorded.microcode, here.microcode));
    }
    differences.extend(
        missing_capabilities(recorded, here).into_iter().map(|name| format!("{name}, which is missing here")),
    );
    (!differences.is_empty()).then(|| format!("recorded with {}", differences.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(microcode: u32, capabilities: &[(&str, i64)]) -> Host {
        let capabilities = capabilities.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Host { microcode, capabilities, ..Host::default() }
    }

    #[test]
    fn a_capability_is_missing_where_it_was_there_and_is_not_here() {
        let recorded = host(1, &[("KVM_CAP_A", 1), ("KVM_CAP_B", 3), ("KVM_CAP_C", 0)]);
        let here = host(1, &[("KVM_CAP_A", 0), ("KVM_CAP_B", 1)]);
        assert_eq!(missing_capabilities(&recorded, &here), ["KVM_CAP_A"]);
        assert_eq!(missing_capabilities(&recorded, &host(1, &[])), ["KVM_CAP_A", "KVM_CAP_B"]);
    }

    #[test]
    fn hosts_that_are_one_have_nothing_to_say() {
        let one = host(1, &[("KVM_CAP_A", 1)]);
        assert_eq!(note(&one, &one), None);
        let other = host(0x65, &[]);
        assert_eq!(
            note(&one, &other).unwrap(),
            "recorded with microcode 0x1, here 0x65; KVM_CAP_A, which is missing here"
        );
    }
}
