//! Runs one instruction of a guest on our own processor: its registers loaded, its memory operand in a buffer of ours.
//!
//! The page of code is written and executed at the same address, so that the processor itself sees the change (SDM vol. 3,
//! 9.1.3). An exception of the instruction comes as a signal, whose handler lets the instruction "return".

use super::image::{BYTES, Image};
use crate::error::MachineError;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::cell::Cell;
use std::mem::offset_of;
use std::ptr;
use std::sync::OnceLock;
use trapline_formats::Registers;

const PAGE: usize = 4096;
/// The code page, and behind it the operand: at most an XSAVE area and what aligns it.
const PAGES: usize = 4;

/// What the trampoline loads and stores, at fixed offsets.
#[repr(C, align(64))]
struct State {
    image: [u8; BYTES],
    general: [u64; 16],
    flags: u64,
    /// XSAVE components to load and store; 0: none.
    components: u64,
    /// Without XSAVE, FXSAVE does.
    has_xsave: u64,
    code: u64,
    host_mxcsr: u32,
    host_fcw: u16,
}

const GENERAL: usize = offset_of!(State, general);
const fn general(place: usize) -> usize {
    GENERAL + place * 8
}

// The order of `Registers::general` is RAX RBX RCX RDX RSI RDI RSP RBP R8-R15. RSP stays ours. After the call, RFLAGS is
// saved before anything changes it. ABI (System V, 3.2.1): MXCSR's control bits and the x87 control word are the
// callee's to keep, the x87 stack must be empty, and all vector registers are free to be changed.
std::arch::global_asm!(
    ".balign 16",
    "trapline_run_native:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "push rdi",
    "stmxcsr [rdi + {mxcsr}]",
    "fnstcw [rdi + {fcw}]",
    "mov eax, [rdi + {components}]",
    "mov edx, [rdi + {components} + 4]",
    "mov ecx, eax",
    "or ecx, edx",
    "jz 2f",
    "cmp qword ptr [rdi + {has_xsave}], 0",
    "je 1f",
    "xrstor64 [rdi]",
    "jmp 2f",
    "1: fxrstor64 [rdi]",
    "2: push qword ptr [rdi + {code}]",
    "push qword ptr [rdi + {flags}]",
    "popfq",
    "mov rax, [rdi + {rax}]",
    "mov rbx, [rdi + {rax} + 8]",
    "mov rcx, [rdi + {rax} + 16]",
    "mov rdx, [rdi + {rax} + 24]",
    "mov rsi, [rdi + {rax} + 32]",
    "mov rbp, [rdi + {rax} + 56]",
    "mov r8, [rdi + {rax} + 64]",
    "mov r9, [rdi + {rax} + 72]",
    "mov r10, [rdi + {rax} + 80]",
    "mov r11, [rdi + {rax} + 88]",
    "mov r12, [rdi + {rax} + 96]",
    "mov r13, [rdi + {rax} + 104]",
    "mov r14, [rdi + {rax} + 112]",
    "mov r15, [rdi + {rax} + 120]",
    "mov rdi, [rdi + {rax} + 40]",
    "call [rsp]",
    "pushfq",
    "push rdi",
    "mov rdi, [rsp + 24]",
    "mov [rdi + {rax}], rax",
    "mov [rdi + {rax} + 8], rbx",
    "mov [rdi + {rax} + 16], rcx",
    "mov [rdi + {rax} + 24], rdx",
    "mov [rdi + {rax} + 32], rsi",
    "pop qword ptr [rdi + {rax} + 40]",
    "mov [rdi + {rax} + 56], rbp",
    "mov [rdi + {rax} + 64], r8",
    "mov [rdi + {rax} + 72], r9",
    "mov [rdi + {rax} + 80], r10",
    "mov [rdi + {rax} + 88], r11",
    "mov [rdi + {rax} + 96], r12",
    "mov [rdi + {rax} + 104], r13",
    "mov [rdi + {rax} + 112], r14",
    "mov [rdi + {rax} + 120], r15",
    "pop qword ptr [rdi + {flags}]",
    "cld",
    "mov eax, [rdi + {components}]",
    "mov edx, [rdi + {components} + 4]",
    "mov ecx, eax",
    "or ecx, edx",
    "jz 5f",
    "cmp qword ptr [rdi + {has_xsave}], 0",
    "je 3f",
    "xsave64 [rdi]",
    "test eax, 4",
    "jz 4f",
    "vzeroupper",
    "jmp 4f",
    "3: fxsave64 [rdi]",
    "4: fninit",
    "fldcw [rdi + {fcw}]",
    "ldmxcsr [rdi + {mxcsr}]",
    "5: add rsp, 16",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    mxcsr = const offset_of!(State, host_mxcsr),
    fcw = const offset_of!(State, host_fcw),
    components = const offset_of!(State, components),
    has_xsave = const offset_of!(State, has_xsave),
    code = const offset_of!(State, code),
    flags = const offset_of!(State, flags),
    rax = const general(0),
);

unsafe extern "sysv64" {
    fn trapline_run_native(state: *mut State);
}

/// CF, PF, AF, ZF, SF, OF: the flags that user-level instructions read and write.
const ARITHMETIC: u64 = 0x8d5;
/// x87, SSE, AVX and AVX-512: what instructions compute with. Not PKRU, which is our own process's too.
pub(crate) const COMPUTING: u64 = 0xe7;

thread_local! {
    /// Where this thread's instruction is while it runs; 0 while none does.
    static RUNNING: Cell<u64> = const { Cell::new(0) };
    /// The exception that it raised.
    static TRAP: Cell<Option<u8>> = const { Cell::new(None) };
}

/// Signals that exceptions of a user-level instruction become.
const SIGNALS: [libc::c_int; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL];
static PREVIOUS: OnceLock<[libc::sigaction; 4]> = OnceLock::new();

extern "C" fn on_signal(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a `ucontext_t` to handlers installed with SA_SIGINFO; it is ours until we return.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let running = RUNNING.get();
    if running == 0 || registers[libc::REG_RIP as usize] as u64 != running {
        return pass_on(signal, info, context);
    }
    TRAP.set(Some(registers[libc::REG_TRAPNO as usize] as u8));
    // The instruction "returns": its caller's address is on top of the stack, which it does not touch.
    let top = registers[libc::REG_RSP as usize] as *const i64;
    // SAFETY: `trapline_run_native` called the code page, so RSP points to the return address that this call pushed.
    registers[libc::REG_RIP as usize] = unsafe { *top };
    registers[libc::REG_RSP as usize] += 8;
}

/// Gives a signal that is not ours to whoever had it before.
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let place = SIGNALS.iter().position(|s| *s == signal);
    let Some(previous) = PREVIOUS.get().zip(place).map(|(all, i)| all[i]) else { return };
    if previous.sa_sigaction == libc::SIG_DFL || previous.sa_sigaction == libc::SIG_IGN {
        // SAFETY: `previous` is an action that the kernel gave us. Returning runs the instruction again, which raises the
        // signal again.
        unsafe { libc::sigaction(signal, &raw const previous, ptr::null_mut()) };
        return;
    }
    if previous.sa_flags & libc::SA_SIGINFO != 0 {
        type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
        // SAFETY: with SA_SIGINFO the action is the address of a function of this type.
        let handler = unsafe { std::mem::transmute::<usize, Handler>(previous.sa_sigaction) };
        handler(signal, info, context);
    } else {
        // SAFETY: without SA_SIGINFO, and neither default nor ignored, it is the address of a function of this type.
        let handler =
            unsafe { std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(previous.sa_sigaction) };
        handler(signal);
    }
}

fn install() {
    PREVIOUS.get_or_init(|| {
        SIGNALS.map(|signal| {
            // SAFETY: both actions are valid as all zeros; the handler touches const-initialized thread-locals without
            // destructors, an initialized static, and what the kernel passes it.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                let mut previous: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = on_signal as extern "C" fn(_, _, _) as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
                libc::sigaction(signal, &raw const action, &raw mut previous);
                previous
            }
        })
    });
}

/// The place where instructions of the guest run: one page of code, and room for their operand behind it.
#[derive(Debug)]
pub(crate) struct Trampoline {
    pages: *mut u8,
    state: Box<State>,
    components: u64,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("general", &self.general).finish_non_exhaustive()
    }
}

impl Trampoline {
    pub(crate) fn new() -> Result<Self, MachineError> {
        install();
        // SAFETY: an anonymous private mapping at an address of the kernel's choice touches nothing that exists.
        let pages = unsafe {
            libc::mmap(
                ptr::null_mut(),
                PAGES * PAGE,
                libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if pages == libc::MAP_FAILED {
            let source = std::io::Error::last_os_error();
            return Err(MachineError::Refused { request: "a page to run an instruction in", source });
        }
        // SAFETY: all of State is numbers, for which zeros are valid.
        let state = unsafe { Box::<State>::new_zeroed().assume_init() };
        Ok(Self { pages: pages.cast(), state, components: host_components() })
    }

    /// The XSAVE components that are loaded and stored; none where this processor has no XSAVE.
    pub(crate) fn components(&self) -> u64 {
        self.components
    }

    /// Where code is run.
    pub(crate) fn code_address(&self) -> u64 {
        self.pages as u64
    }

    /// Where an operand is put that has this linear address in the guest: with the same alignment.
    pub(crate) fn operand_address(&self, linear: u64) -> u64 {
        self.pages as u64 + PAGE as u64 + (linear & 63)
    }

    /// The bytes of such an operand.
    pub(crate) fn operand(&mut self, linear: u64, length: usize) -> &mut [u8] {
        let offset = PAGE + (linear & 63) as usize;
        assert!(length <= PAGES * PAGE - offset, "an operand of at most two pages");
        // SAFETY: the mapping has PAGES pages, which the assertion keeps within; `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.pages.add(offset), length) }
    }

    /// Runs an instruction that was encoded for [`Trampoline::code_address`], does not jump, and uses neither RSP nor
    /// memory but its operand. Returns the vector of the exception that it raised; then only the image is changed.
    pub(crate) fn run(
        &mut self,
        code: &[u8],
        registers: &mut Registers,
        image: Option<&mut Image>,
    ) -> Option<u8> {
        const RET: u8 = 0xc3;
        assert!(code.len() <= 15, "an instruction has at most 15 bytes");
        // SAFETY: the mapping is larger than 16 bytes and writable, and nothing runs in it now.
        unsafe {
            ptr::copy_nonoverlapping(code.as_ptr(), self.pages, code.len());
            self.pages.add(code.len()).write(RET);
        }
        let state = &mut *self.state;
        state.general = registers.general;
        state.flags = registers.rflags & ARITHMETIC | 2;
        state.components = if image.is_some() { self.components | 3 } else { 0 };
        state.has_xsave = u64::from(self.components != 0);
        state.code = self.pages as u64;
        if let Some(image) = &image {
            state.image = image.bytes;
        }
        RUNNING.set(state.code);
        TRAP.set(None);
        // SAFETY: `state` is laid out as the assembly expects (offsets are computed from it), aligned to 64, and exclusively
        // ours; its image came from KVM, so XRSTOR takes it. The code is one instruction that neither jumps nor uses the
        // stack, and a `ret`; an exception in it comes back through `on_signal`. All that the ABI wants kept is kept.
        unsafe { trapline_run_native(state) };
        RUNNING.set(0);
        if let Some(image) = image {
            image.bytes = state.image;
        }
        let trap = TRAP.take();
        if trap.is_none() {
            let stack_pointer = registers.general[Registers::RSP];
            registers.general = state.general;
            registers.general[Registers::RSP] = stack_pointer;
            registers.rflags = registers.rflags & !ARITHMETIC | state.flags & ARITHMETIC;
        }
        trap
    }
}

impl Drop for Trampoline {
    fn drop(&mut self) {
        // SAFETY: `pages` is the mapping of PAGES pages that `new` made; no reference into it outlives `self`.
        unsafe { libc::munmap(self.pages.cast(), PAGES * PAGE) };
    }
}

/// The components of XCR0 that instructions compute with; 0 where this host has no XSAVE.
fn host_components() -> u64 {
    const OSXSAVE: u32 = 1 << 27;
    if __cpuid(1).ecx & OSXSAVE == 0 || __cpuid_count(0xd, 0).eax == 0 {
        return 0;
    }
    let (low, high): (u32, u32);
    // SAFETY: OSXSAVE says that XGETBV may be executed; it reads XCR0, which always exists then.
    unsafe {
        std::arch::asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack));
    };
    (u64::from(high) << 32 | u64::from(low)) & COMPUTING
}
