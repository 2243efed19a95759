//! What all probes share, and how they come to their guests.

use super::cpuid::Visible;
use super::guest::Guest;
use super::tables::Mode;
use super::window::Windows;
use crate::convention::Convention;
use crate::error::{MachineError, refused};
use crate::kvm;
use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use std::cell::OnceCell;
use trapline_formats::MsrRange;

/// What all probes share.
#[derive(Debug)]
pub(super) struct Lab<'a> {
    pub(super) kvm: &'a Kvm,
    /// What KVM supports, unchanged.
    pub(super) cpuid: CpuId,
    /// Frequency of the host's time stamp counter.
    pub(super) tick_hz: u64,
    /// A machine that is never run. Linux patches its own code (static keys) when the first vCPU of all comes and when the
    /// last one goes; with a hundred probe guests, one after the other, that would be slow, and disturb what is measured.
    _anchor: (VcpuFd, VmFd),
    convention: OnceCell<Convention>,
    visible: OnceCell<Visible>,
    windows: OnceCell<Windows>,
}

impl<'a> Lab<'a> {
    pub(super) fn new(kvm: &'a Kvm) -> Result<Self, MachineError> {
        let cpuid =
            kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(refused("KVM_GET_SUPPORTED_CPUID"))?;
        let vm = kvm::create_vm(kvm)?;
        let vcpu = vm.create_vcpu(0).map_err(refused("KVM_CREATE_VCPU"))?;
        let khz = vcpu.get_tsc_khz().map_err(refused("KVM_GET_TSC_KHZ"))?;
        Ok(Self {
            kvm,
            cpuid,
            tick_hz: u64::from(khz) * 1000,
            _anchor: (vcpu, vm),
            convention: OnceCell::new(),
            visible: OnceCell::new(),
            windows: OnceCell::new(),
        })
    }

    /// Where RIP stands at each kind of exit.
    pub(super) fn convention(&self) -> Result<Convention, MachineError> {
        once(&self.convention, || Convention::probe(self.kvm)).copied()
    }

    /// What guests see in CPUID.
    pub(super) fn visible(&self) -> Result<&Visible, MachineError> {
        once(&self.visible, || Visible::look(self))
    }

    /// Where interrupt windows open.
    pub(super) fn windows(&self) -> Result<&Windows, MachineError> {
        once(&self.windows, || Windows::look(self))
    }

    /// A guest with this code in this mode, with everything as KVM has it by default.
    pub(super) fn guest(&self, mode: Mode, code: &[u8]) -> Result<Guest, MachineError> {
        self.build(&Setup::default(), mode, code)
    }

    pub(super) fn build(&self, setup: &Setup, mode: Mode, code: &[u8]) -> Result<Guest, MachineError> {
        Guest::new(self.kvm, setup, setup.cpuid.as_ref().unwrap_or(&self.cpuid), mode, code)
    }
}

/// What several probes ask for is found once.
fn once<T>(cell: &OnceCell<T>, find: impl FnOnce() -> Result<T, MachineError>) -> Result<&T, MachineError> {
    if let Some(found) = cell.get() {
        return Ok(found);
    }
    let found = find()?;
    Ok(cell.get_or_init(|| found))
}

/// How a guest differs from the default.
#[derive(Debug, Default)]
pub(super) struct Setup {
    /// The CPUID table; `None`: all that KVM supports.
    pub(super) cpuid: Option<CpuId>,
    /// Who answers MSR accesses.
    pub(super) msrs: Msrs,
}

/// Who answers MSR accesses.
#[derive(Debug, Default, Clone)]
pub(super) enum Msrs {
    /// KVM alone.
    #[default]
    Kvm,
    /// KVM; those it does not know or refuses exit.
    KvmFirst,
    /// KVM those in the ranges; all others exit.
    Only(Vec<MsrRange>),
}
