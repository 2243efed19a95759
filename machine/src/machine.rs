//! One virtual machine: a vCPU, its memory, and the run loop that recording and replaying share.

mod gave_up;
mod interrupts;
mod linear;
mod position;
mod reach;
mod shadow;
mod tsc;
mod view;
mod walk;
mod window;

pub use reach::Reached;
pub use view::View;
pub use walk::FeatureUse;

use crate::code::CodeSegment;
use crate::convention::Convention;
use crate::error::{MachineError, refused};
use crate::exit::{Exit, RunPage};
use crate::held_tsc::HeldTsc;
use crate::kick::{self, Armed};
use crate::kvm::{self, CAP_SREGS2};
use crate::memory::Memory;
use crate::state::{self, StateLayout};
use crate::ticks::ticks;
use crate::unfinished::Finisher;
use crate::{code, cpuid, ioctl, msr};
use kvm_bindings::{
    KVM_EXIT_HLT, KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_INTR, KVM_EXIT_IO, KVM_EXIT_IRQ_WINDOW_OPEN,
    KVM_EXIT_MMIO, KVM_EXIT_SET_TPR, KVM_EXIT_SHUTDOWN, KVM_EXIT_X86_RDMSR, KVM_EXIT_X86_WRMSR,
};
use kvm_ioctls::{Cap, Kvm, SyncReg, VcpuFd, VmFd};
use rustix::io::Errno;
use std::sync::Arc;
use trapline_formats::{CpuMode, CpuidEntry, ExitKind, MemoryRegion, MsrRange, Registers, StandIns, Timing};

/// What to build a machine from: the parts of a trace header that make the guest see what it saw.
#[derive(Debug, Clone)]
pub struct MachineConfig {
    /// Memory.
    pub memory: Vec<MemoryRegion>,
    /// The CPUID table.
    pub cpuid: Vec<CpuidEntry>,
    /// MSRs that KVM answers itself.
    pub msrs_allowed: Vec<MsrRange>,
    /// `OUT imm8, AL` to this port stands for a rewritten RDTSC.
    pub stand_ins: StandIns,
}

/// What a handler wants after an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// On to the next exit.
    Continue,
    /// Complete the instruction of this exit, then call [`Handler::settled`]: events and checkpoints go there, and runs
    /// end there.
    Settle,
}

/// What a handler wants after a kick, or once settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// On.
    Continue,
    /// Leave the run loop.
    Stop,
}

/// Recording and replaying: the two handlers of the one run loop.
pub trait Handler {
    /// What the handler fails with.
    type Error: From<MachineError>;

    /// An exit that the guest caused. For reads the handler fills in [`Exit::data_mut`].
    fn exit(&mut self, machine: &mut Machine, exit: &mut Exit) -> Result<Flow, Self::Error>;

    /// The instruction of the last exit is complete: a position. Not called when completing it led to the next exit.
    fn settled(&mut self, machine: &mut Machine) -> Result<Control, Self::Error>;

    /// Somebody kicked the vCPU thread; the guest may be anywhere.
    fn kicked(&mut self, machine: &mut Machine) -> Result<Control, Self::Error>;
}

/// A virtual machine with one vCPU. Fields drop in order: the vCPU before the VM before the memory it uses.
#[derive(Debug)]
pub struct Machine {
    armed: Option<Armed>,
    run: RunPage,
    vcpu: VcpuFd,
    vm: VmFd,
    pub(crate) memory: Arc<Memory>,
    pub(crate) layout: StateLayout,
    convention: Convention,
    stand_ins: StandIns,
    sync_registers: bool,
    sync_system: bool,
    pub(crate) code: code::Cache,
    pub(crate) finisher: Finisher,
    clock: Stopwatch,
    held_tsc: Option<HeldTsc>,
    /// KVM may have translations of this guest, and an exit that is not complete.
    has_run: bool,
    /// What a step of a guest that was kicked came to, where that was no step.
    left_over: Option<Result<(), Errno>>,
}

/// Splits time into inside and outside of KVM_RUN.
#[derive(Debug, Default)]
struct Stopwatch {
    is_on: bool,
    last_return: u64,
    spent: Timing,
}

impl Machine {
    /// Builds a machine whose vCPU is in its reset state.
    pub fn new(kvm: &Kvm, config: &MachineConfig) -> Result<Self, MachineError> {
        let memory = Arc::new(Memory::new(&config.memory)?);
        if config.memory.iter().any(|r| r.readonly) {
            kvm::require(kvm, Cap::ReadonlyMem, "KVM_CAP_READONLY_MEM", "keeps firmware in ROM")?;
        }
        let vm = kvm::create_vm(kvm)?;
        memory.register(&vm)?;
        msr::filter(&vm, &config.msrs_allowed)?;
        let mut vcpu = vm.create_vcpu(0).map_err(refused("KVM_CREATE_VCPU"))?;
        cpuid::set(&vcpu, &config.cpuid)?;
        let layout = StateLayout::of(
            &vcpu,
            kvm::has(kvm, CAP_SREGS2),
            kvm.check_extension(Cap::Xcrs),
            &config.cpuid,
            &config.msrs_allowed,
            cpuid::xsave_components(&cpuid::supported(kvm)?),
        );
        // KVM_CAP_SYNC_REGS returns the set of registers that can be shared at exits (KVM API 6, x86 kvm_valid_regs).
        let shareable = kvm.check_extension_int(Cap::SyncRegs) as u64;
        let sync_registers = shareable & SyncReg::Register as u64 != 0;
        let sync_system = shareable & SyncReg::SystemRegister as u64 != 0;
        if sync_registers {
            vcpu.set_sync_valid_reg(SyncReg::Register);
        }
        let run = RunPage::new(vcpu.get_kvm_run());
        Ok(Self {
            armed: None,
            run,
            vcpu,
            vm,
            memory,
            layout,
            convention: Convention::default(),
            stand_ins: config.stand_ins,
            sync_registers,
            sync_system,
            code: code::Cache::default(),
            finisher: Finisher::new(&config.cpuid),
            clock: Stopwatch::default(),
            held_tsc: None,
            has_run: false,
            left_over: None,
        })
    }

    /// Sets where RIP stands at each kind of exit, as [`Convention::probe`] found it.
    pub fn set_convention(&mut self, convention: Convention) {
        self.convention = convention;
    }

    /// Where RIP stands at each kind of exit.
    pub fn convention(&self) -> &Convention {
        &self.convention
    }

    /// Measures the time of exits from now on, see [`Machine::take_timing`]. Returns when that is, in ticks.
    pub fn start_timing(&mut self) -> u64 {
        self.clock = Stopwatch { is_on: true, last_return: ticks(), spent: Timing::default() };
        self.clock.last_return
    }

    /// The time since the last call: inside KVM_RUN, and outside of it up to the last entry.
    #[inline]
    pub fn take_timing(&mut self) -> Timing {
        std::mem::take(&mut self.clock.spent)
    }

    /// Leaves out the time since KVM_RUN returned: it belongs to no exit.
    pub fn leave_out_time(&mut self) {
        self.clock.last_return = ticks();
    }

    /// Guest memory.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The ports that stand for rewritten instructions.
    pub fn stand_ins(&self) -> StandIns {
        self.stand_ins
    }

    /// Runs the guest until the handler stops it. Kicks of the calling thread reach it.
    pub fn run<H: Handler>(&mut self, handler: &mut H) -> Result<(), H::Error> {
        self.has_run = true;
        self.armed = Some(kick::arm(self.run.immediate_exit()));
        let result = self.run_armed(handler);
        self.armed = None;
        if let Some(held) = &mut self.held_tsc {
            held.rest()?;
        }
        result
    }

    fn run_armed<H: Handler>(&mut self, handler: &mut H) -> Result<(), H::Error> {
        let mut exit = Exit::default();
        // Whether `exit` was reached while settling and is still to be handled.
        let mut waits = false;
        loop {
            if !waits && !self.enter(&mut exit)? {
                self.run.get_mut().immediate_exit = 0;
                if kick::was_only_taken_out() {
                    continue;
                }
                kick::take();
                if handler.kicked(self)? == Control::Stop {
                    return Ok(());
                }
                if let Some(entered) = self.left_over.take() {
                    waits = self.entered(entered, &mut exit)?;
                }
                continue;
            }
            let flow = handler.exit(self, &mut exit)?;
            // Whether answering, or completing, led to the next exit.
            waits = self.answer(&mut exit)? || flow == Flow::Settle && !self.settle(&mut exit)?;
            if flow == Flow::Settle && !waits && handler.settled(self)? == Control::Stop {
                return Ok(());
            }
        }
    }

    /// One KVM_RUN. True: an exit that the guest caused is in `exit`. False: KVM_RUN was interrupted.
    #[expect(clippy::inline_always, reason = "on the way of every exit: its result would go through memory")]
    #[inline(always)]
    fn enter(&mut self, exit: &mut Exit) -> Result<bool, MachineError> {
        let result = if self.clock.is_on {
            let mut entry = ticks();
            self.clock.spent.vmm += entry.wrapping_sub(self.clock.last_return);
            if let Some(held) = &mut self.held_tsc {
                // What that takes is no matter of the exit.
                entry = held.enter(&self.vcpu, entry)?;
            }
            let result = ioctl::run(&mut self.vcpu);
            let back = ticks();
            if let Some(held) = &mut self.held_tsc {
                held.left(back);
            }
            self.clock.spent.guest += back.wrapping_sub(entry);
            self.clock.last_return = back;
            result
        } else {
            self.run_vcpu()
        };
        self.entered(result, exit)
    }

    /// KVM_RUN, whatever comes of it.
    fn run_vcpu(&mut self) -> Result<(), Errno> {
        let Some(held) = &mut self.held_tsc else { return ioctl::run(&mut self.vcpu) };
        // KVM has taken this request before: see [`Machine::hold_tsc`].
        held.enter(&self.vcpu, ticks()).map_err(|_| Errno::IO)?;
        let result = ioctl::run(&mut self.vcpu);
        held.left(ticks());
        result
    }

    #[expect(clippy::inline_always, reason = "on the way of every exit: its result would go through memory")]
    #[inline(always)]
    fn entered(&mut self, result: Result<(), Errno>, exit: &mut Exit) -> Result<bool, MachineError> {
        match result {
            Ok(()) => self.take_exit(exit),
            // A signal, or `immediate_exit`.
            Err(Errno::INTR | Errno::AGAIN) => Ok(false),
            Err(error) => {
                Err(MachineError::GaveUp(Box::new(self.gave_up(format!("KVM_RUN failed: {error}")))))
            }
        }
    }

    #[expect(clippy::inline_always, reason = "on the way of every exit: its result would go through memory")]
    #[inline(always)]
    fn take_exit(&mut self, exit: &mut Exit) -> Result<bool, MachineError> {
        self.run.get_mut().kvm_dirty_regs = 0;
        self.fetch_registers()?;
        match self.run.get().exit_reason {
            KVM_EXIT_IO => {
                let (port, size, is_write, data) = self.run.io();
                if is_write {
                    exit.set(ExitKind::PortWrite, port.into(), size, data);
                    if self.stand_ins.long.map(u16::from) == Some(port) {
                        self.begin_stand_in(exit)?;
                    }
                } else {
                    exit.set_read(ExitKind::PortRead, port.into(), size, data.len());
                }
            }
            KVM_EXIT_MMIO => {
                let (gpa, is_write, data) = self.run.mmio();
                if is_write {
                    exit.set(ExitKind::MmioWrite, gpa, data.len() as u8, data);
                } else {
                    exit.set_read(ExitKind::MmioRead, gpa, data.len() as u8, data.len());
                }
            }
            KVM_EXIT_X86_RDMSR => {
                let (index, _) = self.run.msr();
                exit.set_read(ExitKind::MsrRead, index.into(), 8, 8);
            }
            KVM_EXIT_X86_WRMSR => {
                let (index, value) = self.run.msr();
                exit.set(ExitKind::MsrWrite, index.into(), 8, &value.to_le_bytes());
            }
            KVM_EXIT_HLT => exit.set(ExitKind::Halt, 0, 0, &[]),
            KVM_EXIT_IRQ_WINDOW_OPEN => {
                if !self.window_opened(exit)? {
                    return Ok(false);
                }
            }
            KVM_EXIT_SET_TPR => {
                let cr8 = self.run.get().cr8 as u8;
                exit.set(ExitKind::SetTpr, 0, 1, &[cr8]);
            }
            KVM_EXIT_SHUTDOWN => exit.set(ExitKind::Shutdown, 0, 0, &[]),
            KVM_EXIT_INTR => return Ok(false),
            KVM_EXIT_INTERNAL_ERROR if let Some(fetched) = self.run.unfinished() => {
                self.begin_unfinished(exit, fetched)?;
            }
            reason => return Err(MachineError::GaveUp(Box::new(self.unhandled(reason)))),
        }
        exit.rip = self.registers().rip;
        Ok(true)
    }

    /// Puts the handler's answer back where KVM looks for it. True: that led to the next exit, which is in `exit`.
    #[expect(clippy::inline_always, reason = "on the way of every exit: its result would go through memory")]
    #[inline(always)]
    fn answer(&mut self, exit: &mut Exit) -> Result<bool, MachineError> {
        if exit.is_ours {
            return self.answer_unfinished(exit);
        }
        match exit.kind() {
            ExitKind::PortRead => exit.copy_to(self.run.io().3),
            ExitKind::MmioRead => exit.copy_to(self.run.mmio().2),
            ExitKind::MsrRead | ExitKind::MsrWrite => self.run.answer_msr(exit.value(), exit.fault),
            ExitKind::ClockRead => {
                let mut registers = *self.registers();
                // RDTSC: EDX:EAX, upper halves cleared (SDM vol. 2, RDTSC).
                registers.general[Registers::RAX] = exit.value() & 0xffff_ffff;
                registers.general[Registers::RDX] = exit.value() >> 32;
                self.set_registers(&registers)?;
            }
            _ => {}
        }
        Ok(false)
    }

    /// Completes the instruction of the last exit, without entering the guest. False: that led to the next exit (the next
    /// fragment of an access, the next batch of a REP), which is now waiting to be handled.
    pub(crate) fn settle(&mut self, exit: &mut Exit) -> Result<bool, MachineError> {
        if exit.kind() == ExitKind::Shutdown {
            // A processor that shut down has nothing to complete, and KVM on AMD must not be entered again.
            return Ok(true);
        }
        self.run.get_mut().immediate_exit = 1;
        let led_on = self.enter(exit)?;
        // A kick that came meanwhile wanted the flag set.
        self.run.get_mut().immediate_exit = kick::is_pending().into();
        Ok(!led_on)
    }

    #[inline]
    fn fetch_registers(&mut self) -> Result<(), MachineError> {
        if !self.sync_registers {
            self.run.sync_regs_mut().regs = self.vcpu.get_regs().map_err(refused("KVM_GET_REGS"))?;
        }
        Ok(())
    }

    /// The general registers at the last exit.
    #[inline]
    pub fn registers(&self) -> &Registers {
        state::as_registers(&self.run.sync_regs().regs)
    }

    /// Lets [`Machine::registers`] show these until the next exit. The guest goes on with its own.
    pub(crate) fn show_registers(&mut self, registers: &Registers) {
        self.run.sync_regs_mut().regs = state::to_regs(registers);
    }

    /// Sets the general registers.
    pub fn set_registers(&mut self, registers: &Registers) -> Result<(), MachineError> {
        let raw = state::to_regs(registers);
        self.run.sync_regs_mut().regs = raw;
        if self.sync_registers {
            self.run.get_mut().kvm_dirty_regs |= SyncReg::Register as u64;
            return Ok(());
        }
        self.vcpu.set_regs(&raw).map_err(refused("KVM_SET_REGS"))
    }

    /// Makes the guest go on at this RIP. Valid once settled.
    pub fn jump(&mut self, rip: u64) -> Result<(), MachineError> {
        let mut registers = *self.registers();
        registers.rip = rip;
        self.set_registers(&registers)
    }

    /// The number of the code segment at the exit with this RIP: equal numbers, equal segments. Reading it costs a system
    /// call in 64-bit code, where it hardly ever changes, so there it is not read every time: see [`code::Cache`].
    #[inline]
    pub(crate) fn code_segment(&mut self, rip: u64) -> Result<u32, MachineError> {
        if !self.code.holds(rip) {
            self.read_code_segment()?;
        }
        Ok(self.code.generation())
    }

    /// The code segment as it is now. Outside of 64-bit mode, KVM is asked to share the system registers at every exit,
    /// which costs less than asking for them.
    pub(crate) fn read_code_segment(&mut self) -> Result<CodeSegment, MachineError> {
        let shared = self.sync_system && self.run.get().kvm_valid_regs & SyncReg::SystemRegister as u64 != 0;
        if !shared {
            // Also for the next call at this exit, which finds them shared and not yet filled in by KVM.
            self.run.sync_regs_mut().sregs = self.vcpu.get_sregs().map_err(refused("KVM_GET_SREGS"))?;
        }
        let segment = CodeSegment::of(&self.run.sync_regs().sregs);
        if self.sync_system && segment.mode != CpuMode::Long64 {
            self.vcpu.set_sync_valid_reg(SyncReg::SystemRegister);
        } else if shared {
            self.vcpu.clear_sync_valid_reg(SyncReg::SystemRegister);
        }
        Ok(self.code.put(segment))
    }

    /// The vCPU, for dumps and finishing.
    pub(crate) fn vcpu(&self) -> &VcpuFd {
        &self.vcpu
    }

    /// The VM, for probes.
    pub fn vm(&self) -> &VmFd {
        &self.vm
    }
}
