//! The sites that chunks are decoded with.

use trapline_formats::{CpuMode, ExitKind, Gva, Instruction, Site};

/// The kinds of sites that a stranger may put into a dictionary, those that no recorder writes too.
pub fn dictionary() -> Vec<Site> {
    let instruction = Instruction { address: Gva(0x1000), bytes: vec![0xec], mode: CpuMode::Long64, cpl: 0 };
    let site = |kind, size, rep| Site { kind, address: 0x3f8, size, rep, instruction: instruction.clone() };
    let own_size = |kind: ExitKind| if kind.has_data() { 1 } else { 0 };
    let mut sites: Vec<_> = ExitKind::ALL.into_iter().map(|kind| site(kind, own_size(kind), false)).collect();
    sites.push(site(ExitKind::PortRead, 2, true));
    for kind in [ExitKind::MmioRead, ExitKind::MsrWrite, ExitKind::Halt] {
        for size in [0, 2, 3, 4, 7, 8, 9, 255] {
            sites.extend([site(kind, size, false), site(kind, size, true)]);
        }
    }
    sites
}
