//! One exit, taken out of `kvm_run`, and its answer put back.

use kvm_bindings::kvm_run;
use trapline_formats::{ExitKind, scalar};

/// An exit that the guest caused.
#[derive(Debug)]
pub struct Exit {
    /// What happened.
    kind: ExitKind,
    /// Port, GPA or MSR index; 0 where there is none.
    pub address: u64,
    /// Bytes of one element; 0 where there is no data.
    pub size: u8,
    /// RIP as KVM reports it here: at the instruction or after it, by engine and kind.
    pub rip: u64,
    /// An MSR access that raises #GP. For the handler to set.
    pub fault: bool,
    /// Of an instruction that KVM gave up on: RIP stands at it, and the answer goes to [`crate::finish`], not to KVM.
    pub(crate) is_ours: bool,
    scalar: [u8; 8],
    bulk: Vec<u8>,
    is_bulk: bool,
}

impl Default for Exit {
    fn default() -> Self {
        Self {
            kind: ExitKind::Shutdown,
            address: 0,
            size: 0,
            rip: 0,
            fault: false,
            is_ours: false,
            scalar: [0; 8],
            bulk: Vec::new(),
            is_bulk: false,
        }
    }
}

impl Exit {
    /// What happened.
    #[inline]
    pub fn kind(&self) -> ExitKind {
        self.kind
    }

    /// The data: what the guest wrote, or room for what it reads.
    #[inline]
    pub fn data(&self) -> &[u8] {
        if self.is_bulk { &self.bulk } else { &self.scalar[..usize::from(self.size)] }
    }

    /// The data, to be filled in by the handler for reads.
    #[inline]
    pub fn data_mut(&mut self) -> &mut [u8] {
        if self.is_bulk { &mut self.bulk } else { &mut self.scalar[..usize::from(self.size)] }
    }

    /// Scalar data as a number.
    #[inline]
    pub fn value(&self) -> u64 {
        u64::from_le_bytes(self.scalar)
    }

    /// Sets scalar data from a number.
    #[inline]
    pub fn set_value(&mut self, value: u64) {
        self.scalar = value.to_le_bytes();
    }

    /// Whether the data is one element.
    #[inline]
    pub fn is_scalar(&self) -> bool {
        !self.is_bulk
    }

    /// An exit that hands out data.
    #[inline]
    pub(crate) fn set(&mut self, kind: ExitKind, address: u64, size: u8, data: &[u8]) {
        self.begin(kind, address, size, data.len());
        if self.is_bulk {
            self.bulk.extend_from_slice(data);
        } else {
            self.scalar = scalar(data).to_le_bytes();
        }
    }

    /// An exit that waits for data: this many zeros, to be filled in.
    #[inline]
    pub(crate) fn set_read(&mut self, kind: ExitKind, address: u64, size: u8, bytes: usize) {
        self.begin(kind, address, size, bytes);
        if self.is_bulk {
            self.bulk.resize(bytes, 0);
        }
    }

    #[inline]
    fn begin(&mut self, kind: ExitKind, address: u64, size: u8, bytes: usize) {
        self.kind = kind;
        self.address = address;
        self.size = size;
        self.fault = false;
        self.is_ours = false;
        self.scalar = [0; 8];
        self.is_bulk = bytes > usize::from(size);
        if self.is_bulk {
            self.bulk.clear();
        }
    }

    /// Copies the answer to where KVM looks for it.
    #[inline]
    pub(crate) fn copy_to(&self, place: &mut [u8]) {
        match place {
            [a] if !self.is_bulk => *a = self.scalar[0],
            place => place.copy_from_slice(self.data()),
        }
    }

    /// An exit that turned out to be a rewritten clock read: its data becomes the eight bytes of the clock.
    pub(crate) fn become_clock_read(&mut self) {
        self.set_read(ExitKind::ClockRead, 0, 8, 8);
    }
}

/// A view of the shared page and the I/O data behind it.
#[derive(Debug)]
pub(crate) struct RunPage {
    run: *mut kvm_run,
}

impl RunPage {
    /// The page of a vCPU, which must outlive the view.
    pub(crate) fn new(run: &mut kvm_run) -> Self {
        Self { run: std::ptr::from_mut(run) }
    }

    #[inline]
    pub(crate) fn get(&self) -> &kvm_run {
        // SAFETY: the page stays mapped as long as the vCPU, which owns this view; the kernel writes it only inside
        // KVM_RUN, when no reference is held.
        unsafe { &*self.run }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self) -> &mut kvm_run {
        // SAFETY: as above; `&mut self` makes the reference exclusive.
        unsafe { &mut *self.run }
    }

    /// `immediate_exit`, for kicks.
    pub(crate) fn immediate_exit(&mut self) -> *mut u8 {
        // SAFETY: a field of the mapped page; no reference is made.
        unsafe { &raw mut (*self.run).immediate_exit }
    }

    /// Port I/O: (port, size, is a write, data).
    #[inline]
    pub(crate) fn io(&mut self) -> (u16, u8, bool, &mut [u8]) {
        // SAFETY: called on KVM_EXIT_IO, which says that `io` is the valid member of the union.
        let io = unsafe { self.get().__bindgen_anon_1.io };
        let bytes = usize::from(io.size) * io.count as usize;
        // SAFETY: the kernel places `size * count` bytes at `data_offset` inside the mapping of the vCPU, which is larger
        // than `kvm_run` (KVM API 4.3, KVM_GET_VCPU_MMAP_SIZE); the slice borrows the view.
        let data = unsafe {
            std::slice::from_raw_parts_mut(self.run.cast::<u8>().add(io.data_offset as usize), bytes)
        };
        (io.port, io.size, u32::from(io.direction) == kvm_bindings::KVM_EXIT_IO_OUT, data)
    }

    /// Memory-mapped I/O: (GPA, is a write, data).
    #[inline]
    pub(crate) fn mmio(&mut self) -> (u64, bool, &mut [u8]) {
        // SAFETY: called on KVM_EXIT_MMIO, which says that `mmio` is the valid member of the union.
        let mmio = unsafe { &mut self.get_mut().__bindgen_anon_1.mmio };
        let length = (mmio.len as usize).min(mmio.data.len());
        (mmio.phys_addr, mmio.is_write != 0, &mut mmio.data[..length])
    }

    /// MSR access: (index, value).
    pub(crate) fn msr(&self) -> (u32, u64) {
        // SAFETY: called on KVM_EXIT_X86_RDMSR or KVM_EXIT_X86_WRMSR, which say that `msr` is the valid member.
        let msr = unsafe { self.get().__bindgen_anon_1.msr };
        (msr.index, msr.data)
    }

    /// Why an MSR access came to us: KVM_MSR_EXIT_REASON_*.
    pub(crate) fn msr_reason(&self) -> u32 {
        // SAFETY: as above.
        unsafe { self.get().__bindgen_anon_1.msr.reason }
    }

    /// KVM_EXIT_DEBUG: (linear address, DR6, exception).
    pub(crate) fn debug(&self) -> (u64, u64, u32) {
        // SAFETY: called on KVM_EXIT_DEBUG, which says that `debug` is the valid member of the union.
        let debug = unsafe { self.get().__bindgen_anon_1.debug.arch };
        (debug.pc, debug.dr6, debug.exception)
    }

    /// Answers an MSR access.
    pub(crate) fn answer_msr(&mut self, value: u64, fault: bool) {
        // SAFETY: as above.
        let msr = unsafe { &mut self.get_mut().__bindgen_anon_1.msr };
        msr.data = value;
        msr.error = fault.into();
    }

    /// KVM_EXIT_INTERNAL_ERROR: (suberror, data words).
    pub(crate) fn internal_error(&self) -> (u32, Vec<u64>) {
        // SAFETY: called on KVM_EXIT_INTERNAL_ERROR, which says that `internal` is the valid member.
        let internal = unsafe { self.get().__bindgen_anon_1.internal };
        let count = (internal.ndata as usize).min(internal.data.len());
        (internal.suberror, internal.data[..count].to_vec())
    }

    /// KVM_EXIT_INTERNAL_ERROR with suberror *emulation*: the bytes that KVM fetched, which may run past the instruction,
    /// and are none where it could fetch none. `None` for every other suberror.
    pub(crate) fn unfinished(&self) -> Option<([u8; 15], usize)> {
        // SAFETY: called on KVM_EXIT_INTERNAL_ERROR, which says that `emulation_failure` or `internal`, which has the same
        // first fields, is the valid member; all bytes of it are initialized, whichever it is.
        let failure = unsafe { self.get().__bindgen_anon_1.emulation_failure };
        if failure.suberror != kvm_bindings::KVM_INTERNAL_ERROR_EMULATION {
            return None;
        }
        // ndata counts 64-bit words: flags, and two of size and bytes (KVM API 5).
        let has_bytes = failure.ndata >= 3
            && failure.flags & u64::from(kvm_bindings::KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES)
                != 0;
        // SAFETY: the union has one member.
        let instruction = unsafe { failure.__bindgen_anon_1.__bindgen_anon_1 };
        let length = if has_bytes { usize::from(instruction.insn_size).min(15) } else { 0 };
        Some((instruction.insn_bytes, length))
    }

    /// KVM_EXIT_FAIL_ENTRY: the hardware's reason.
    pub(crate) fn entry_failure(&self) -> u64 {
        // SAFETY: called on KVM_EXIT_FAIL_ENTRY, which says that `fail_entry` is the valid member.
        unsafe { self.get().__bindgen_anon_1.fail_entry.hardware_entry_failure_reason }
    }

    /// The registers of KVM_CAP_SYNC_REGS; where KVM does not share them, those that were put here.
    #[inline]
    pub(crate) fn sync_regs(&self) -> &kvm_bindings::kvm_sync_regs {
        // SAFETY: the union has one member that x86 uses, and any bytes are valid for it.
        unsafe { &self.get().s.regs }
    }

    /// As above, to be changed.
    #[inline]
    pub(crate) fn sync_regs_mut(&mut self) -> &mut kvm_bindings::kvm_sync_regs {
        // SAFETY: as above.
        unsafe { &mut self.get_mut().s.regs }
    }
}
