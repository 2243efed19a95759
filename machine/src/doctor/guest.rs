//! Probe guests: a few bytes of machine code in a small, complete machine.
//!
//! Guest-physical memory, the same in every mode (identity-mapped where there is paging):
//!
//! | from | what |
//! |---|---|
//! | 0x0000 | real mode: interrupt vectors |
//! | 0x1000 | 64-bit: page tables, 2 MiB pages, the first GiB, all open to user mode |
//! | 0x4000 | GDT, see [`tables`](super::tables) |
//! | 0x5000 | TSS |
//! | 0x6000 | IDT |
//! | 0x8000 | the code of the probe |
//! | 0xA000 | handlers, 16 bytes per vector: `mov al, vector; out VECTOR_PORT, al; hlt` |
//! | 0xF000 | top of the stack of the probe |
//! | 0xFF00 | top of the stack of handlers that are entered from user mode |
//! | 0x10000 | data |
//! | 0x10000000 | nothing: accesses are MMIO exits |

use super::stop::{Stop, VECTOR_PORT};
use super::tables::{self, Mode};
use super::watchdog::Watchdog;
use crate::error::{MachineError, refused};
use crate::exit::RunPage;
use crate::kvm::{self, CAP_EXIT_ON_EMULATION_FAILURE};
use crate::memory::Memory;
use crate::{kick, msr};
use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, kvm_enable_cap, kvm_regs, kvm_sregs};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use std::time::Duration;
use trapline_formats::{Gpa, MemoryRegion, MsrRange};

pub(super) const GDT: u64 = 0x4000;
pub(super) const TSS: u64 = 0x5000;
pub(super) const IDT: u64 = 0x6000;
pub(super) const TEXT: u64 = 0x8000;
pub(super) const HANDLERS: u64 = 0xa000;
pub(super) const STACK: u64 = 0xf000;
pub(super) const HANDLER_STACK: u64 = 0xff00;
pub(super) const DATA: u64 = 0x1_0000;
pub(super) const MMIO: u64 = 0x1000_0000;
pub(super) const RAM_BYTES: u64 = 2 << 20;

/// How long a guest may take, all its runs together, before it counts as hanging.
const LIMIT: Duration = Duration::from_millis(250);

/// What all probes share.
#[derive(Debug)]
pub(super) struct Lab<'a> {
    pub(super) kvm: &'a Kvm,
    /// What KVM supports, unchanged.
    pub(super) cpuid: CpuId,
}

impl<'a> Lab<'a> {
    pub(super) fn new(kvm: &'a Kvm) -> Result<Self, MachineError> {
        let cpuid =
            kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(refused("KVM_GET_SUPPORTED_CPUID"))?;
        Ok(Self { kvm, cpuid })
    }

    /// A guest with this code in this mode, with everything as KVM has it by default.
    pub(super) fn guest(&self, mode: Mode, code: &[u8]) -> Result<Guest, MachineError> {
        self.build(&Setup::default(), mode, code)
    }

    pub(super) fn build(&self, setup: &Setup, mode: Mode, code: &[u8]) -> Result<Guest, MachineError> {
        Guest::new(self.kvm, setup, setup.cpuid.as_ref().unwrap_or(&self.cpuid), mode, code)
    }
}

/// How a guest differs from the default.
#[derive(Debug, Default)]
pub(super) struct Setup {
    /// The CPUID table; `None`: all that KVM supports.
    pub(super) cpuid: Option<CpuId>,
    /// MSRs that KVM answers itself, all others exit; `None`: KVM answers all.
    pub(super) msrs_allowed: Option<Vec<MsrRange>>,
}

/// mov al, vector; out VECTOR_PORT, al; hlt
fn handler(vector: u8) -> [u8; 16] {
    let mut code = [0xf4; 16];
    code[..4].copy_from_slice(&[0xb0, vector, 0xe6, VECTOR_PORT as u8]);
    code
}

/// One guest. Fields drop in order: the vCPU before the VM before the memory it uses.
#[derive(Debug)]
pub(super) struct Guest {
    watchdog: Watchdog,
    pub(super) page: RunPage,
    pub(super) vcpu: VcpuFd,
    pub(super) vm: VmFd,
    pub(super) memory: Memory,
}

impl Guest {
    fn new(kvm: &Kvm, setup: &Setup, cpuid: &CpuId, mode: Mode, code: &[u8]) -> Result<Self, MachineError> {
        let memory = Memory::new(&[MemoryRegion { gpa: 0, bytes: RAM_BYTES, readonly: false }])?;
        let vm = kvm::create_vm(kvm)?;
        memory.register(&vm)?;
        if kvm::has(kvm, CAP_EXIT_ON_EMULATION_FAILURE) {
            let cap = kvm_enable_cap {
                cap: CAP_EXIT_ON_EMULATION_FAILURE as u32,
                args: [1, 0, 0, 0],
                ..Default::default()
            };
            vm.enable_cap(&cap).map_err(refused("KVM_ENABLE_CAP(KVM_CAP_EXIT_ON_EMULATION_FAILURE)"))?;
        }
        if let Some(allowed) = &setup.msrs_allowed {
            msr::filter(&vm, allowed)?;
        }
        let mut vcpu = vm.create_vcpu(0).map_err(refused("KVM_CREATE_VCPU"))?;
        vcpu.set_cpuid2(cpuid).map_err(refused("KVM_SET_CPUID2"))?;
        let page = RunPage::new(vcpu.get_kvm_run());
        let mut guest = Self { watchdog: Watchdog::new()?, page, vcpu, vm, memory };
        tables::write(&guest.memory, mode)?;
        let handlers: Vec<u8> = (0..=255u8).flat_map(handler).collect();
        guest.write(HANDLERS, &handlers)?;
        guest.write(TEXT, code)?;
        guest.set_sregs(|s| tables::enter(s, mode))?;
        guest.start(|_| {})?;
        Ok(guest)
    }

    /// Puts the registers back to where the code begins, with changes, and gives it its time again.
    pub(super) fn start(&mut self, change: impl FnOnce(&mut kvm_regs)) -> Result<(), MachineError> {
        let mut regs = kvm_regs { rip: TEXT, rflags: 2, rsp: STACK, ..Default::default() };
        change(&mut regs);
        self.vcpu.set_regs(&regs).map_err(refused("KVM_SET_REGS"))?;
        self.allow(LIMIT);
        Ok(())
    }

    /// Gives the guest this much time from now on.
    pub(super) fn allow(&self, limit: Duration) {
        self.watchdog.bark_after(limit);
    }

    /// One KVM_RUN.
    pub(super) fn run(&mut self) -> Stop {
        let armed = kick::arm(self.page.immediate_exit());
        let result = self.vcpu.run().map(|_| ()).map_err(|e| e.errno());
        drop(armed);
        if result.is_err() {
            kick::take();
            self.page.get_mut().immediate_exit = 0;
        }
        Stop::of(result, &mut self.page)
    }

    /// Completes the instruction of the last exit without entering the guest. `None`: done. `Some`: that led to a further
    /// exit.
    pub(super) fn complete(&mut self) -> Option<Stop> {
        self.page.get_mut().immediate_exit = 1;
        let stop = self.run();
        self.page.get_mut().immediate_exit = 0;
        (stop != Stop::Kicked).then_some(stop)
    }

    pub(super) fn regs(&self) -> Result<kvm_regs, MachineError> {
        self.vcpu.get_regs().map_err(refused("KVM_GET_REGS"))
    }

    pub(super) fn set_sregs(&mut self, change: impl FnOnce(&mut kvm_sregs)) -> Result<(), MachineError> {
        let mut sregs = self.vcpu.get_sregs().map_err(refused("KVM_GET_SREGS"))?;
        change(&mut sregs);
        self.vcpu.set_sregs(&sregs).map_err(refused("KVM_SET_SREGS"))
    }

    pub(super) fn write(&mut self, gpa: u64, bytes: &[u8]) -> Result<(), MachineError> {
        self.memory.write(Gpa(gpa), bytes)
    }

    pub(super) fn read_u64(&self, gpa: u64) -> Result<u64, MachineError> {
        let mut bytes = [0; 8];
        self.memory.read(Gpa(gpa), &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}
