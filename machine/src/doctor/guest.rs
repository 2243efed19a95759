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

use super::lab::{Msrs, Setup};
use super::stop::{END_PORT, Stop, VECTOR_PORT};
use super::tables::{self, Mode};
use super::watchdog::Watchdog;
use crate::error::{MachineError, refused};
use crate::exit::RunPage;
use crate::kvm;
use crate::memory::Memory;
use crate::ticks::ticks;
use crate::{ioctl, kick, msr};
use kvm_bindings::{
    CpuId, KVM_VCPUEVENT_VALID_NMI_PENDING, KVM_VCPUEVENT_VALID_SHADOW, kvm_regs, kvm_sregs, kvm_vcpu_events,
};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use std::time::Duration;
use trapline_formats::{Gpa, MemoryRegion};

pub(super) const GDT: u64 = 0x4000;
pub(super) const TSS: u64 = 0x5000;
pub(super) const IDT: u64 = 0x6000;
pub(super) const TEXT: u64 = 0x8000;
pub(super) const HANDLERS: u64 = 0xa000;
pub(super) const STACK: u64 = 0xf000;
pub(super) const HANDLER_STACK: u64 = 0xff00;
pub(super) const DATA: u64 = 0x1_0000;
pub(super) const MMIO: u64 = 0x1000_0000;
/// Where user mode says that it is done.
const END_MMIO: u64 = MMIO + 0x1000;
pub(super) const RAM_BYTES: u64 = 2 << 20;

/// RFLAGS: interrupts are on.
pub(super) const IF: u64 = 1 << 9;

/// How long a guest may take, all its runs together, before it counts as hanging.
const LIMIT: Duration = Duration::from_millis(250);

/// The last instruction of a probe: an exit that nothing else makes.
pub(super) fn end(mode: Mode) -> &'static [u8] {
    match mode {
        // mov [END_MMIO], al
        Mode::User => &[0x88, 0x04, 0x25, 0x00, 0x10, 0x00, 0x10],
        // out END_PORT, al
        _ => &[0xe6, END_PORT as u8],
    }
}

/// The code, and then the end of a probe.
pub(super) fn with_end(mode: Mode, code: &[u8]) -> Vec<u8> {
    [code, end(mode)].concat()
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
    mode: Mode,
    /// The last exit's instruction may still be unfinished.
    in_exit: bool,
}

impl Guest {
    /// A guest that has not run yet.
    pub(super) fn new(
        kvm: &Kvm,
        setup: &Setup,
        cpuid: &CpuId,
        mode: Mode,
        code: &[u8],
    ) -> Result<Self, MachineError> {
        let memory = Memory::new(&[MemoryRegion { gpa: 0, bytes: RAM_BYTES, readonly: false }])?;
        let vm = kvm::create_vm(kvm)?;
        memory.register(&vm)?;
        match &setup.msrs {
            Msrs::Kvm => {}
            Msrs::KvmFirst => msr::report(&vm)?,
            Msrs::Only(allowed) => msr::filter(&vm, allowed)?,
        }
        let mut vcpu = vm.create_vcpu(0).map_err(refused("KVM_CREATE_VCPU"))?;
        vcpu.set_cpuid2(cpuid).map_err(refused("KVM_SET_CPUID2"))?;
        let page = RunPage::new(vcpu.get_kvm_run());
        let mut guest = Self { watchdog: Watchdog::new()?, page, vcpu, vm, memory, mode, in_exit: false };
        tables::write(&guest.memory, mode)?;
        let handlers: Vec<u8> = (0..=255u8).flat_map(handler).collect();
        guest.write(HANDLERS, &handlers)?;
        guest.write(TEXT, code)?;
        guest.set_sregs(|s| tables::enter(s, mode))?;
        guest.start(|_| {})?;
        Ok(guest)
    }

    /// Loads other code, in the mode it began in, and puts everything back to where it began.
    pub(super) fn load(&mut self, code: &[u8]) -> Result<(), MachineError> {
        self.finish();
        self.write(TEXT, &[0xf4; 256])?; // hlt
        self.write(TEXT, code)?;
        let mode = self.mode;
        self.set_sregs(|s| tables::enter(s, mode))?;
        let quiet = kvm_vcpu_events {
            flags: KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW,
            ..Default::default()
        };
        self.vcpu.set_vcpu_events(&quiet).map_err(refused("KVM_SET_VCPU_EVENTS"))?;
        self.start(|_| {})
    }

    /// Finishes the instruction of the last exit, which KVM would otherwise do on top of whatever comes next.
    fn finish(&mut self) {
        while self.in_exit && self.complete().is_some() {}
    }

    /// Puts the registers back to where the code begins, with changes, and gives it its time again.
    pub(super) fn start(&mut self, change: impl FnOnce(&mut kvm_regs)) -> Result<(), MachineError> {
        self.finish();
        // Interrupts on, although none come: there are machines on which kicks do not reach a guest that has them off.
        let mut regs = kvm_regs { rip: TEXT, rflags: 2 | IF, rsp: STACK, ..Default::default() };
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
        self.timed_run().0
    }

    /// One KVM_RUN, and the ticks from its entry to its return.
    pub(super) fn timed_run(&mut self) -> (Stop, u64) {
        let armed = kick::arm(self.page.immediate_exit());
        let entry = ticks();
        let result = ioctl::run(&mut self.vcpu);
        let spent = ticks().wrapping_sub(entry);
        drop(armed);
        if result.is_err() {
            kick::take();
            self.page.get_mut().immediate_exit = 0;
        }
        let stop = Stop::of(result.map_err(rustix::io::Errno::raw_os_error), &mut self.page);
        self.in_exit = stop.is_unfinished();
        (stop, spent)
    }

    /// Runs on, giving reads zeros, until the code is at its end or something else happens.
    pub(super) fn run_to_end(&mut self) -> Stop {
        loop {
            let stop = self.run();
            if self.is_end(stop) || !stop.is_unfinished() || matches!(stop, Stop::Vector(_)) {
                return stop;
            }
        }
    }

    /// Whether the guest came to [`end`] of its mode.
    pub(super) fn is_end(&self, stop: Stop) -> bool {
        match self.mode {
            Mode::User => matches!(stop, Stop::MmioWrite(END_MMIO, 1)),
            _ => matches!(stop, Stop::PortWrite(END_PORT, _)),
        }
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
