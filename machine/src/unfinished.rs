//! The machine's side of finishing instructions: what goes into it, and what comes of it.

use crate::convention::decoder;
use crate::error::{MachineError, refused};
use crate::exit::Exit;
use crate::finish::{Cpu, Effect, Image, Step, Stop, Trampoline, Work};
use crate::machine::Machine;
use crate::{msr, paging, state, xsave};
use kvm_bindings::{kvm_vcpu_events, kvm_xcr, kvm_xcrs, kvm_xsave};
use trapline_formats::{CpuidEntry, ExitKind, Gva, SystemRegisters};

/// IA32_TSC_AUX (SDM vol. 4).
const TSC_AUX: u32 = 0xc000_0103;
/// DR6.BS: a single step (SDM vol. 3, 18.2.3).
const DR6_BS: u64 = 1 << 14;

/// What finishing instructions keeps from one to the next.
#[derive(Debug)]
pub(crate) struct Finisher {
    pub(crate) physical_bits: u32,
    /// Components that the guest may switch on in XCR0.
    xcr0_offered: u64,
    /// Made for the first instruction that needs it.
    trampoline: Option<Trampoline>,
    /// The instruction whose exit is being handled.
    work: Option<Box<Work>>,
    /// What that is, where it was rewritten and is finished in place of its stand-in.
    pub(crate) stands_for: Option<Vec<u8>>,
    /// What the vCPU had before it: what is the same afterwards is not set again.
    before: Option<Before>,
}

#[derive(Debug)]
struct Before {
    system: SystemRegisters,
    image: Option<Box<Image>>,
}

impl Finisher {
    /// For a guest with this CPUID table.
    pub(crate) fn new(table: &[CpuidEntry]) -> Self {
        let components = table.iter().find(|e| (e.leaf, e.subleaf) == (0xd, 0));
        Self {
            physical_bits: paging::physical_bits(table),
            xcr0_offered: components
                .map_or(1, |e| u64::from(e.registers[0]) | u64::from(e.registers[3]) << 32),
            trampoline: None,
            work: None,
            stands_for: None,
            before: None,
        }
    }

    /// Forgets the instruction whose exit is being handled.
    pub(crate) fn forget(&mut self) {
        (self.work, self.stands_for, self.before) = (None, None, None);
    }
}

impl Machine {
    /// KVM gave up on an instruction: its first exit. `fetched` is what KVM read of it.
    #[cold]
    pub(crate) fn begin_unfinished(
        &mut self,
        exit: &mut Exit,
        fetched: ([u8; 15], usize),
    ) -> Result<(), MachineError> {
        self.finisher.stands_for = None;
        let mut cpu = self.copy_cpu()?;
        let (mut bytes, mut length) = fetched;
        if length == 0 {
            length = self.read_code(&cpu, &mut bytes);
        }
        let x86 = decoder(&bytes[..length], cpu.mode(), cpu.registers.rip).decode();
        let Some(effect) = Effect::of(&x86) else {
            return Err(self.unfinishable("what it does"));
        };
        if effect.uses_image() {
            cpu.image = Some(self.copy_image()?);
        }
        self.finisher.before = Some(Before { system: cpu.system.clone(), image: cpu.image.clone() });
        if effect.uses_tsc_aux() {
            cpu.tsc_aux = msr::get(self.vcpu(), &[TSC_AUX])?.first().map_or(0, |(_, value)| *value);
        }
        let mut trampoline = match self.finisher.trampoline.take() {
            Some(trampoline) => trampoline,
            None => Trampoline::new()?,
        };
        let begun = Work::begin(cpu, x86, effect).and_then(|mut work| {
            let step = work.first(&mut trampoline)?;
            Ok((work, step))
        });
        self.finisher.trampoline = Some(trampoline);
        match begun {
            Ok((work, step)) => {
                self.finisher.work = Some(Box::new(work));
                present(exit, &step);
                Ok(())
            }
            Err(stop) => Err(self.stopped(stop)),
        }
    }

    /// Goes on with the instruction whose exit was answered. True: it has another exit, which is in `exit`.
    #[cold]
    pub(crate) fn answer_unfinished(&mut self, exit: &mut Exit) -> Result<bool, MachineError> {
        let Some(mut work) = self.finisher.work.take() else { return Ok(false) };
        let Some(trampoline) = &mut self.finisher.trampoline else { return Ok(false) };
        match work.answered(exit.data(), trampoline) {
            Err(stop) => Err(self.stopped(stop)),
            Ok(Step::Done) => {
                self.take_over(&work)?;
                Ok(false)
            }
            Ok(step) => {
                present(exit, &step);
                self.finisher.work = Some(work);
                Ok(true)
            }
        }
    }

    /// A working copy of the vCPU, without what few instructions need.
    fn copy_cpu(&self) -> Result<Cpu, MachineError> {
        Ok(Cpu {
            memory: self.memory.clone(),
            registers: *self.registers(),
            system: state::system(self.vcpu(), &self.layout)?,
            physical_bits: self.finisher.physical_bits,
            image: None,
            xcr0_offered: self.finisher.xcr0_offered,
            tsc_aux: 0,
        })
    }

    fn copy_image(&self) -> Result<Box<Image>, MachineError> {
        let raw = self.vcpu().get_xsave().map_err(refused("KVM_GET_XSAVE"))?;
        let canonical = xsave::canonical(&raw.region, &self.layout.here);
        let xcr0 = if self.layout.xcrs {
            state::xcr0(&self.vcpu().get_xcrs().map_err(refused("KVM_GET_XCRS"))?)
        } else {
            1
        };
        Image::new(&canonical, xcr0)
    }

    fn read_code(&self, cpu: &Cpu, bytes: &mut [u8]) -> usize {
        self.read_linear(Gva(cpu.code_address()), bytes)
    }

    /// Gives the vCPU what came of the instruction.
    fn take_over(&mut self, work: &Work) -> Result<(), MachineError> {
        let cpu = &work.cpu;
        let Some(before) = self.finisher.before.take() else { return Ok(()) };
        if cpu.system != before.system {
            self.code.forget();
            state::set_system(self.vcpu(), &self.layout, &cpu.system)?;
        }
        if let (Some(image), Some(before)) = (&cpu.image, &before.image) {
            self.take_over_image(image, before)?;
        }
        self.set_registers(&cpu.registers)?;
        if work.steps {
            let mut debug = self.vcpu().get_debug_regs().map_err(refused("KVM_GET_DEBUGREGS"))?;
            debug.dr6 |= DR6_BS;
            self.vcpu().set_debug_regs(&debug).map_err(refused("KVM_SET_DEBUGREGS"))?;
        }
        let mut events = self.vcpu().get_vcpu_events().map_err(refused("KVM_GET_VCPU_EVENTS"))?;
        if end_shadows(&mut events, work.unblocks_nmi()) {
            self.vcpu().set_vcpu_events(&events).map_err(refused("KVM_SET_VCPU_EVENTS"))?;
        }
        Ok(())
    }

    fn take_over_image(&mut self, image: &Image, before: &Image) -> Result<(), MachineError> {
        if image.xcr0 != before.xcr0 {
            let mut xcrs = kvm_xcrs { nr_xcrs: 1, ..Default::default() };
            xcrs.xcrs[0] = kvm_xcr { xcr: 0, reserved: 0, value: image.xcr0 };
            self.vcpu().set_xcrs(&xcrs).map_err(refused("KVM_SET_XCRS"))?;
        }
        let canonical = image.canonical(&self.layout.here);
        if canonical != before.canonical(&self.layout.here) {
            let raw = kvm_xsave { region: xsave::to_words(&canonical)?, ..Default::default() };
            // SAFETY: KVM_SET_XSAVE reads 4096 bytes, the size of `kvm_xsave`; more only where AMX was permitted to this
            // process, which nothing here asks for.
            unsafe { self.vcpu().set_xsave(&raw) }.map_err(refused("KVM_SET_XSAVE"))?;
        }
        Ok(())
    }

    #[cold]
    fn stopped(&mut self, stop: Stop) -> MachineError {
        match stop {
            Stop::Machine(error) => error,
            Stop::Cannot(needed) => self.unfinishable(&needed),
            Stop::Fault(fault) => self.unfinishable(&format!("a place for exception {}", fault.vector)),
        }
    }

    fn unfinishable(&mut self, needed: &str) -> MachineError {
        let mut gave_up = self.gave_up("KVM cannot emulate the instruction".to_owned());
        gave_up.needed = Some(needed.to_owned());
        MachineError::GaveUp(Box::new(gave_up))
    }
}

/// The shadow of STI and MOV SS ends with the instruction after them (SDM vol. 3, 6.8.3); IRET lets NMIs come again
/// (6.7.1). Returns whether that changes anything.
fn end_shadows(events: &mut kvm_vcpu_events, unblocks_nmi: bool) -> bool {
    let unblocks_nmi = unblocks_nmi && events.nmi.masked != 0;
    let changes = events.interrupt.shadow != 0 || unblocks_nmi;
    events.interrupt.shadow = 0;
    if unblocks_nmi {
        events.nmi.masked = 0;
    }
    changes
}

/// The exit of a step.
fn present(exit: &mut Exit, step: &Step) {
    match step {
        Step::Whole => exit.set(ExitKind::Unfinished, 0, 0, &[]),
        Step::Clock => exit.set_read(ExitKind::ClockRead, 0, 8, 8),
        Step::Random => exit.set_read(ExitKind::RandomRead, 0, 8, 8),
        Step::Halt => exit.set(ExitKind::Halt, 0, 0, &[]),
        Step::Read(gpa, length) => exit.set_read(ExitKind::MmioRead, *gpa, *length as u8, *length),
        Step::Write(gpa, bytes) => exit.set(ExitKind::MmioWrite, *gpa, bytes.len() as u8, bytes),
        // Nothing is left of the instruction: KVM, or nobody, is to be asked for more.
        Step::Done | Step::Shutdown => {
            exit.set(ExitKind::Shutdown, 0, 0, &[]);
            return;
        }
    }
    exit.is_ours = true;
}
