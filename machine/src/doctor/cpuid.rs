//! Whether hiding something in CPUID hides it from the guest.

use super::guest::{Guest, with_end};
use super::lab::{Lab, Setup};
use super::probe::{Answer, Answered, Probe};
use super::stop::Stop;
use super::tables::Mode;
use crate::error::MachineError;
use kvm_bindings::CpuId;
use kvm_ioctls::Kvm;

pub(super) const PROBES: &[Probe] = &[
    Probe("cpuid-leaf-0", "Vendor changed in CPUID leaf 0", |lab| leaf_0(lab, Mode::Long)),
    Probe("cpuid-leaf-1", "Feature bits hidden in CPUID leaf 1", |lab| leaf_1(lab, Mode::Long)),
    Probe("cpuid-leaf-1-user", "The same, read in user mode", |lab| leaf_1(lab, Mode::User)),
    Probe("cpuid-hypervisor-leaf", "KVM's own leaf 0x40000000 left out", kvm_leaf),
    Probe("rdtsc", "RDTSC, hidden", |lab| hidden(lab, &RDTSC)),
    Probe("rdtscp", "RDTSCP, hidden", |lab| hidden(lab, &RDTSCP)),
    Probe("rdrand", "RDRAND, hidden", |lab| hidden(lab, &RDRAND)),
    Probe("rdseed", "RDSEED, hidden", |lab| hidden(lab, &RDSEED)),
    Probe("rdpid", "RDPID, hidden", |lab| hidden(lab, &RDPID)),
    Probe("rdtsc-tsd", "RDTSC in user mode with CR4.TSD set", rdtsc_tsd),
];

/// Whether the guest believes a CPUID table that hides features of the processor. Takes a few milliseconds.
pub fn cpuid_can_hide(kvm: &Kvm) -> Result<bool, MachineError> {
    Ok(leaf_1(&Lab::new(kvm)?, Mode::Long)?.is_good())
}

/// Registers by number, as CPUID fills them.
const EBX: usize = 1;
const ECX: usize = 2;
const EDX: usize = 3;

/// A feature that can be hidden, and the instruction behind it.
struct Hideable {
    name: &'static str,
    /// CPUID leaf, register, bit.
    bit: (u32, usize, u32),
    code: &'static [u8],
}

const RDTSC: Hideable = Hideable { name: "RDTSC", bit: (1, EDX, 4), code: &[0x0f, 0x31] };
const RDTSCP: Hideable = Hideable { name: "RDTSCP", bit: (0x8000_0001, EDX, 27), code: &[0x0f, 0x01, 0xf9] };
const RDRAND: Hideable = Hideable { name: "RDRAND", bit: (1, ECX, 30), code: &[0x0f, 0xc7, 0xf0] };
const RDSEED: Hideable = Hideable { name: "RDSEED", bit: (7, EBX, 18), code: &[0x0f, 0xc7, 0xf8] };
const RDPID: Hideable = Hideable { name: "RDPID", bit: (7, ECX, 22), code: &[0xf3, 0x0f, 0xc7, 0xf8] };

/// A bit of subleaf 0 in a table.
pub(super) fn has_bit(table: &CpuId, (leaf, register, bit): (u32, usize, u32)) -> bool {
    table
        .as_slice()
        .iter()
        .find(|e| (e.function, e.index) == (leaf, 0))
        .is_some_and(|e| [e.eax, e.ebx, e.ecx, e.edx][register] >> bit & 1 != 0)
}

/// The table without some bits of subleaf 0.
fn without(table: &CpuId, bits: &[(u32, usize, u32)]) -> CpuId {
    let mut table = table.clone();
    for entry in table.as_mut_slice() {
        for &(leaf, register, bit) in bits {
            if (entry.function, entry.index) == (leaf, 0) {
                let field = match register {
                    EBX => &mut entry.ebx,
                    ECX => &mut entry.ecx,
                    _ => &mut entry.edx,
                };
                *field &= !(1 << bit);
            }
        }
    }
    table
}

/// What the guest itself sees in CPUID when nothing is hidden: (leaf, registers). Not always what KVM says it supports.
#[derive(Debug)]
pub(super) struct Visible(Vec<(u32, [u32; 4])>);

impl Visible {
    pub(super) fn look(lab: &Lab<'_>) -> Result<Self, MachineError> {
        let mut guest = guest_with(lab, lab.cpuid.clone(), Mode::Long, CPUID)?;
        let mut leaves = Vec::new();
        for leaf in [1, 7, 0x8000_0001] {
            if let Ok(registers) = ask(&mut guest, leaf)? {
                leaves.push((leaf, registers));
            }
        }
        Ok(Self(leaves))
    }

    pub(super) fn has(&self, (leaf, register, bit): (u32, usize, u32)) -> bool {
        self.0.iter().any(|(l, registers)| *l == leaf && registers[register] >> bit & 1 != 0)
    }
}

fn guest_with(lab: &Lab<'_>, table: CpuId, mode: Mode, code: &[u8]) -> Result<Guest, MachineError> {
    lab.build(&Setup { cpuid: Some(table), ..Setup::default() }, mode, &with_end(mode, code))
}

const CPUID: &[u8] = &[0x0f, 0xa2];

/// EAX, EBX, ECX, EDX of CPUID as the guest sees it, or what happened instead.
fn ask(guest: &mut Guest, leaf: u32) -> Result<Result<[u32; 4], Stop>, MachineError> {
    guest.start(|r| r.rax = leaf.into())?;
    let stop = guest.run();
    let r = guest.regs()?;
    Ok(if guest.is_end(stop) { Ok([r.rax, r.rbx, r.rcx, r.rdx].map(|x| x as u32)) } else { Err(stop) })
}

fn guest_cpuid(
    lab: &Lab<'_>,
    table: CpuId,
    mode: Mode,
    leaf: u32,
) -> Result<Result<[u32; 4], Stop>, MachineError> {
    ask(&mut guest_with(lab, table, mode, CPUID)?, leaf)
}

fn leaf_0(lab: &Lab<'_>, mode: Mode) -> Answered {
    let mut table = lab.cpuid.clone();
    let vendor = *b"TraplineTest";
    let word = |i: usize| u32::from_le_bytes([vendor[i], vendor[i + 1], vendor[i + 2], vendor[i + 3]]);
    for entry in table.as_mut_slice().iter_mut().filter(|e| e.function == 0) {
        (entry.ebx, entry.edx, entry.ecx) = (word(0), word(4), word(8));
    }
    Ok(match guest_cpuid(lab, table, mode, 0)? {
        Ok([_, ebx, ecx, edx]) if (ebx, edx, ecx) == (word(0), word(4), word(8)) => {
            Answer::good("the guest sees it")
        }
        Ok(_) => {
            Answer::limits("ignored", "Guests see the host's vendor: a replay needs the same processor.")
        }
        Err(stop) => Answer::limits(stop.to_string(), "Guests cannot execute CPUID."),
    })
}

fn leaf_1(lab: &Lab<'_>, mode: Mode) -> Answered {
    let bits = [RDTSC.bit, (1, ECX, 23), RDRAND.bit];
    let names = ["TSC", "POPCNT", "RDRAND"];
    Ok(match guest_cpuid(lab, without(&lab.cpuid, &bits), mode, 1)? {
        Ok(seen) => {
            let visible: Vec<_> = bits
                .iter()
                .zip(names)
                .filter(|(b, _)| seen[b.1] >> b.2 & 1 != 0)
                .map(|(_, name)| name)
                .collect();
            Answer::good_if(
                visible.is_empty(),
                if visible.is_empty() {
                    "hidden".into()
                } else {
                    format!("ignored: {} still there", visible.join(", "))
                },
                "Guests see the host's features whatever they are told in CPUID: they must be persuaded by their \
                 command line (Linux: clearcpuid=), and a replay needs the same processor.",
            )
        }
        Err(stop) => Answer::limits(stop.to_string(), "Guests cannot execute CPUID here."),
    })
}

fn kvm_leaf(lab: &Lab<'_>) -> Answered {
    let entries: Vec<_> = lab.cpuid.as_slice().iter().copied().filter(|e| e.function >> 28 != 4).collect();
    let table = CpuId::from_entries(&entries).unwrap_or_else(|_| lab.cpuid.clone());
    Ok(match guest_cpuid(lab, table, Mode::Long, 0x4000_0000)? {
        Ok([_, ebx, ecx, _]) => {
            let kvm = ebx == u32::from_le_bytes(*b"KVMK") && ecx == u32::from_le_bytes(*b"VMKV");
            Answer::good_if(
                !kvm,
                if kvm { "still there" } else { "hidden" },
                "Guests find kvmclock and steal time, which KVM writes into their memory: a Linux guest needs \
                 no-kvmclock no-steal-acc on its command line.",
            )
        }
        Err(stop) => Answer::limits(stop.to_string(), "Guests cannot execute CPUID."),
    })
}

/// What an instruction does that CPUID denies, at CPL 0 and 3.
fn hidden(lab: &Lab<'_>, feature: &Hideable) -> Answered {
    if !has_bit(&lab.cpuid, feature.bit) && !lab.visible()?.has(feature.bit) {
        return Ok(Answer::info("not offered to guests"));
    }
    let [kernel, user] = [Mode::Long, Mode::User].map(|mode| -> Result<_, MachineError> {
        let mut guest = guest_with(lab, without(&lab.cpuid, &[feature.bit]), mode, feature.code)?;
        let stop = guest.run();
        Ok((guest.is_end(stop), stop))
    });
    let ((kernel_executes, kernel), (user_executes, user)) = (kernel?, user?);
    let words = |executes: bool, stop: Stop| if executes { "executes".to_owned() } else { stop.to_string() };
    let both = if words(kernel_executes, kernel) == words(user_executes, user) {
        words(kernel_executes, kernel)
    } else {
        format!("{} at CPL 0, {} at CPL 3", words(kernel_executes, kernel), words(user_executes, user))
    };
    let meaning = match feature.name {
        "RDTSC" => {
            "Cannot be hidden (it never exits under KVM): closed by persuading the guest not to use it, and by rewriting \
             its sites."
        }
        "RDTSCP" => {
            "Where it executes it reads the host's clock: closed by persuading the guest, and by rewriting."
        }
        _ => {
            "Where it executes, the host decides its result: closed by persuading the guest (its CPUID bit is hidden)."
        }
    };
    // An emulation failure is an exit to us, which is as good as a trap.
    let closed = !kernel_executes && !user_executes;
    Ok(if closed { Answer::good(both) } else { Answer::limits(both, meaning) })
}

fn rdtsc_tsd(lab: &Lab<'_>) -> Answered {
    let mut guest = lab.guest(Mode::User, &with_end(Mode::User, RDTSC.code))?;
    guest.set_sregs(|s| s.cr4 |= 1 << 2)?; // TSD
    let stop = guest.run();
    Ok(match stop {
        Stop::Vector(13) => {
            Answer::info("#GP in the guest").meaning("As on hardware: a guest kernel can trap it.")
        }
        stop if guest.is_end(stop) => Answer::info("executes").meaning("CR4.TSD is ignored."),
        stop => Answer::info(stop.to_string()),
    })
}
