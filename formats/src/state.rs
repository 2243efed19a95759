//! The complete state of a vCPU, in the terms of the KVM API, independent of its C structures.
//!
//! Sources: KVM API, sections named at each field; Intel SDM volume 3, chapter 2 (system registers).

use crate::address::Gva;
use crate::exit::CpuMode;
use crate::xsave_names;
use serde::{Deserialize, Serialize};

/// Names of the general registers, in the order of [`Registers::general`]: that of `struct kvm_regs`, so that taking them
/// from KVM is a mere copy.
pub const GENERAL_NAMES: [&str; 16] = [
    "RAX", "RBX", "RCX", "RDX", "RSI", "RDI", "RSP", "RBP", "R8", "R9", "R10", "R11", "R12", "R13", "R14",
    "R15",
];

/// RFLAGS.RF: set or not by how an exit happened, not by the guest's program (SDM vol. 3, 18.3.1.1). Never compared.
pub const RFLAGS_RF: u64 = 1 << 16;

/// General registers, instruction pointer, flags (KVM_GET_REGS), laid out as `struct kvm_regs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[repr(C)]
pub struct Registers {
    /// RAX to R15, see [`GENERAL_NAMES`].
    pub general: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// Flags.
    pub rflags: u64,
}

impl Registers {
    /// Index of RAX in [`Registers::general`].
    pub const RAX: usize = 0;
    /// Index of RCX.
    pub const RCX: usize = 2;
    /// Index of RDX.
    pub const RDX: usize = 3;
    /// Index of RSP.
    pub const RSP: usize = 6;

    /// The flags that are compared: all but RF.
    pub fn flags_compared(&self) -> u64 {
        self.rflags & !RFLAGS_RF
    }
}

/// A segment register with its hidden part (`struct kvm_segment`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Segment {
    /// Base address.
    pub base: u64,
    /// Limit.
    pub limit: u32,
    /// Selector.
    pub selector: u16,
    /// Access rights: type, S, DPL, P, AVL, L, D/B, G, unusable, as a bit field in this order (4,1,2,1,1,1,1,1,1 bits).
    pub rights: u16,
}

/// System registers (KVM_GET_SREGS2, or KVM_GET_SREGS where the former is missing).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SystemRegisters {
    /// CS, DS, ES, FS, GS, SS, TR, LDTR.
    pub segments: [Segment; 8],
    /// GDT base and limit.
    pub gdt: (u64, u16),
    /// IDT base and limit.
    pub idt: (u64, u16),
    /// CR0, CR2, CR3, CR4, CR8.
    pub control: [u64; 5],
    /// EFER.
    pub efer: u64,
    /// APIC base MSR as KVM keeps it.
    pub apic_base: u64,
    /// The four PDPTE registers, where PAE paging holds them.
    pub pdptrs: Option<[u64; 4]>,
}

/// Names of [`SystemRegisters::segments`].
pub const SEGMENT_NAMES: [&str; 8] = ["CS", "DS", "ES", "FS", "GS", "SS", "TR", "LDTR"];
/// Names of [`SystemRegisters::control`].
pub const CONTROL_NAMES: [&str; 5] = ["CR0", "CR2", "CR3", "CR4", "CR8"];

/// CR0.PE (SDM vol. 3, 2.5), EFER.LMA (2.2.1).
const CR0_PE: u64 = 1;
const EFER_LMA: u64 = 1 << 10;
/// CS.L and CS.D, as bits of [`Segment::rights`].
const LONG: u16 = 1 << 9;
const DEFAULT_32: u16 = 1 << 10;

impl SystemRegisters {
    /// How instructions are decoded.
    pub fn mode(&self) -> CpuMode {
        let code = self.segments[0].rights;
        if self.control[0] & CR0_PE == 0 {
            CpuMode::Real16
        } else if self.efer & EFER_LMA != 0 && code & LONG != 0 {
            CpuMode::Long64
        } else if code & DEFAULT_32 != 0 {
            CpuMode::Protected32
        } else {
            CpuMode::Protected16
        }
    }

    /// Whether the processor is at privilege level 3, which SS has in every mode but real mode (SDM vol. 3, 6.5).
    pub fn is_user_mode(&self) -> bool {
        /// SS.DPL, as bits of [`Segment::rights`].
        const DPL: u16 = 3 << 5;
        self.mode() != CpuMode::Real16 && self.segments[5].rights & DPL == DPL
    }

    /// The linear address of an offset in the code segment.
    pub fn code_address(&self, offset: u64) -> Gva {
        match self.mode() {
            CpuMode::Long64 => Gva(offset),
            _ => Gva(self.segments[0].base.wrapping_add(offset) & 0xffff_ffff),
        }
    }
}

/// What is in flight in the processor (KVM_GET_VCPU_EVENTS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PendingEvents {
    /// Exception: pending, injected, vector, error code if any, payload if any.
    pub exception: (bool, bool, u8, Option<u32>, Option<u64>),
    /// Interrupt: injected, vector, soft.
    pub interrupt: (bool, u8, bool),
    /// Interrupt shadow (bit 0: MOV SS, bit 1: STI).
    pub shadow: u8,
    /// NMI: injected, pending, masked.
    pub nmi: (bool, bool, bool),
    /// SMM: in SMM, SMI pending, inside an NMI, latched INIT.
    pub smm: (bool, bool, bool, bool),
    /// SIPI vector.
    pub sipi_vector: u32,
    /// Triple fault pending.
    pub triple_fault: bool,
}

impl PendingEvents {
    /// Whether something is about to be delivered to the guest, or was interrupted while it was. What is merely masked or shadowed
    /// does not count.
    pub fn are_in_flight(&self) -> bool {
        let (smm, smi, ..) = self.smm;
        let exception = self.exception.0 || self.exception.1;
        let nmi = self.nmi.0 || self.nmi.1;
        exception || self.interrupt.0 || nmi || smm || smi || self.triple_fault
    }
}

/// Debug registers (KVM_GET_DEBUGREGS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DebugRegisters {
    /// DR0 to DR3.
    pub addresses: [u64; 4],
    /// DR6.
    pub dr6: u64,
    /// DR7.
    pub dr7: u64,
}

impl DebugRegisters {
    /// Whether DR7 switches a breakpoint on (SDM vol. 3, 18.2.4).
    pub fn has_breakpoints(&self) -> bool {
        self.dr7 & 0xff != 0
    }
}

/// The complete state of a vCPU. Restoring it and saving it again yields an equal value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CpuState {
    /// General registers.
    pub registers: Registers,
    /// System registers.
    pub system: SystemRegisters,
    /// MSRs that are guest state: (index, value), ascending. The TSC is not among them: it is the host's.
    pub msrs: Vec<(u32, u64)>,
    /// XSAVE image, canonical (SDM vol. 1, 13.4): components in their initial configuration are zero.
    #[serde(with = "crate::sparse")]
    pub xsave: Vec<u8>,
    /// XCR0.
    pub xcr0: u64,
    /// Pending events.
    pub events: PendingEvents,
    /// Debug registers.
    pub debug: DebugRegisters,
    /// KVM_MP_STATE_*.
    pub mp_state: u32,
}

impl CpuState {
    /// Names what differs between two states, with both values: the field by field comparison behind every check.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut compare = |name: String, a: u64, b: u64| {
            if a != b {
                found.push(Difference { name, expected: format!("{a:#x}"), actual: format!("{b:#x}") });
            }
        };
        for (i, name) in GENERAL_NAMES.iter().enumerate() {
            compare((*name).into(), self.registers.general[i], other.registers.general[i]);
        }
        compare("RIP".into(), self.registers.rip, other.registers.rip);
        compare("RFLAGS".into(), self.registers.flags_compared(), other.registers.flags_compared());
        for (i, name) in SEGMENT_NAMES.iter().enumerate() {
            let (a, b) = (&self.system.segments[i], &other.system.segments[i]);
            compare(format!("{name}.base"), a.base, b.base);
            compare(format!("{name}.limit"), a.limit.into(), b.limit.into());
            compare(format!("{name}.selector"), a.selector.into(), b.selector.into());
            compare(format!("{name}.rights"), a.rights.into(), b.rights.into());
        }
        compare("GDTR.base".into(), self.system.gdt.0, other.system.gdt.0);
        compare("GDTR.limit".into(), self.system.gdt.1.into(), other.system.gdt.1.into());
        compare("IDTR.base".into(), self.system.idt.0, other.system.idt.0);
        compare("IDTR.limit".into(), self.system.idt.1.into(), other.system.idt.1.into());
        for (i, name) in CONTROL_NAMES.iter().enumerate() {
            compare((*name).into(), self.system.control[i], other.system.control[i]);
        }
        compare("EFER".into(), self.system.efer, other.system.efer);
        compare("APIC_BASE".into(), self.system.apic_base, other.system.apic_base);
        for i in 0..4 {
            let of = |s: &Self| s.system.pdptrs.map_or(0, |p| p[i]);
            compare(format!("PDPTE{i}"), of(self), of(other));
        }
        compare("XCR0".into(), self.xcr0, other.xcr0);
        for i in 0..4 {
            compare(format!("DR{i}"), self.debug.addresses[i], other.debug.addresses[i]);
        }
        compare("DR6".into(), self.debug.dr6, other.debug.dr6);
        compare("DR7".into(), self.debug.dr7, other.debug.dr7);
        compare("mp_state".into(), self.mp_state.into(), other.mp_state.into());
        found.extend(self.differing_msrs(other));
        if self.events != other.events {
            found.push(Difference {
                name: "pending events".into(),
                expected: format!("{:?}", self.events),
                actual: format!("{:?}", other.events),
            });
        }
        found.extend(xsave_names::differences(&self.xsave, &other.xsave));
        found
    }

    /// The registers of the XSAVE image that are not zero: (name, value in hexadecimal).
    pub fn xsave_registers(&self) -> Vec<(String, String)> {
        xsave_names::registers(&self.xsave)
    }

    fn differing_msrs(&self, other: &Self) -> Vec<Difference> {
        let ours: std::collections::BTreeMap<_, _> = self.msrs.iter().copied().collect();
        let theirs: std::collections::BTreeMap<_, _> = other.msrs.iter().copied().collect();
        let indices: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).copied().collect();
        let show = |v: Option<&u64>| v.map_or_else(|| "absent".to_owned(), |v| format!("{v:#x}"));
        indices
            .into_iter()
            .filter(|i| ours.get(i) != theirs.get(i))
            .map(|i| Difference {
                name: format!("MSR {i:#x}"),
                expected: show(ours.get(&i)),
                actual: show(theirs.get(&i)),
            })
            .collect()
    }
}

/// One thing that differs between what was expected and what is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What: "RAX", "CS.base", "MSR 0xc0000080", "memory 0x1000".
    pub name: String,
    /// The recorded value.
    pub expected: String,
    /// The value now.
    pub actual: String,
}
