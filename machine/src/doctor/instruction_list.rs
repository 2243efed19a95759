//! The instructions that KVM may have to emulate, in each mode in which that matters.

/// CPUID leaf, register (EAX is 0), bit.
pub(super) type Feature = (u32, usize, u32);

/// What a processor does with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    /// Goes on to the next instruction.
    Runs,
    /// Calls this handler.
    Vector(u8),
    /// Goes on, or #UD, depending on what is offered.
    RunsOrUndefined,
}
use Expect::{Runs, RunsOrUndefined, Vector};

/// One instruction. An empty code: not tried in that mode.
pub(super) struct Case {
    pub(super) id: &'static str,
    pub(super) text: &'static str,
    /// What CPUID must offer.
    pub(super) needs: Option<Feature>,
    pub(super) expect: Expect,
    /// 16-bit, 32-bit, 64-bit, 64-bit user mode. Memory operands are at [`OPERAND`], MMIO at `[ebx]`.
    pub(super) code: [&'static [u8]; 4],
}

/// Where memory operands are: below 64 KiB, aligned for XSAVE.
pub(super) const OPERAND: u64 = 0xd000;

const ECX: usize = 2;
const EDX: usize = 3;
const EBX: usize = 1;
const NONE: &[u8] = &[];

/// The same bytes in every mode.
const fn all(
    id: &'static str,
    text: &'static str,
    needs: Option<Feature>,
    expect: Expect,
    code: &'static [u8],
) -> Case {
    Case { id, text, needs, expect, code: [code; 4] }
}

/// The same bytes in every mode at CPL 0.
const fn kernel(
    id: &'static str,
    text: &'static str,
    needs: Option<Feature>,
    expect: Expect,
    code: &'static [u8],
) -> Case {
    Case { id, text, needs, expect, code: [code, code, code, NONE] }
}

/// A memory operand: 16-bit, 32-bit and 64-bit addressing.
const fn memory(
    id: &'static str,
    text: &'static str,
    needs: Option<Feature>,
    code: [&'static [u8]; 3],
) -> Case {
    Case { id, text, needs, expect: Runs, code: [code[0], code[1], code[2], code[2]] }
}

/// An operand that is MMIO, at `[ebx]` or `[rbx]`.
const fn mmio(id: &'static str, text: &'static str, code: &'static [u8]) -> Case {
    Case { id, text, needs: None, expect: Runs, code: [NONE, code, code, code] }
}

/// The list. Encodings: Intel SDM vol. 2.
pub(super) const CASES: &[Case] = &[
    all("ud2", "ud2", None, Vector(6), &[0x0f, 0x0b]),
    all("int3", "int3", None, Vector(3), &[0xcc]),
    all("int-21", "int 0x21", None, Vector(0x21), &[0xcd, 0x21]),
    all("int-80", "int 0x80", None, Vector(0x80), &[0xcd, 0x80]),
    Case {
        id: "iret",
        text: "iret",
        needs: None,
        expect: Runs,
        code: [
            &[0x9c, 0x0e, 0x68, 0x06, 0x80, 0xcf], // pushf; push cs; push next; iret
            &[0x9c, 0x0e, 0x68, 0x08, 0x80, 0x00, 0x00, 0xcf], // the same
            // push KERNEL_DATA; push rsp; pushf; push KERNEL_CODE; push next; iretq
            &[0x6a, 0x10, 0x54, 0x9c, 0x6a, 0x08, 0x68, 0x0d, 0x80, 0x00, 0x00, 0x48, 0xcf],
            &[0x6a, 0x23, 0x54, 0x9c, 0x6a, 0x2b, 0x68, 0x0d, 0x80, 0x00, 0x00, 0x48, 0xcf],
        ],
    },
    all("fwait", "fwait", None, Runs, &[0x9b]),
    all("fninit", "fninit", None, Runs, &[0xdb, 0xe3]),
    memory(
        "fld",
        "fld dword [m]",
        None,
        [
            &[0xd9, 0x06, 0x00, 0xd0],
            &[0xd9, 0x05, 0x00, 0xd0, 0x00, 0x00],
            &[0xd9, 0x04, 0x25, 0x00, 0xd0, 0x00, 0x00],
        ],
    ),
    memory(
        "fxsave",
        "fxsave [m]",
        None,
        [
            &[0x0f, 0xae, 0x06, 0x00, 0xd0],
            &[0x0f, 0xae, 0x05, 0x00, 0xd0, 0x00, 0x00],
            &[0x0f, 0xae, 0x04, 0x25, 0x00, 0xd0, 0x00, 0x00],
        ],
    ),
    memory(
        "movups",
        "movups xmm0, [m]",
        None,
        [
            &[0x0f, 0x10, 0x06, 0x00, 0xd0],
            &[0x0f, 0x10, 0x05, 0x00, 0xd0, 0x00, 0x00],
            &[0x0f, 0x10, 0x04, 0x25, 0x00, 0xd0, 0x00, 0x00],
        ],
    ),
    all("addps", "addps xmm0, xmm1", None, Runs, &[0x0f, 0x58, 0xc1]),
    all("pxor", "pxor xmm0, xmm1", None, Runs, &[0x66, 0x0f, 0xef, 0xc1]),
    all("popcnt", "popcnt eax, ecx", Some((1, ECX, 23)), Runs, &[0xf3, 0x0f, 0xb8, 0xc1]),
    all("crc32", "crc32 eax, cl", Some((1, ECX, 20)), Runs, &[0xf2, 0x0f, 0x38, 0xf0, 0xc1]),
    all("aesenc", "aesenc xmm0, xmm1", Some((1, ECX, 25)), Runs, &[0x66, 0x0f, 0x38, 0xdc, 0xc1]),
    Case {
        id: "avx",
        text: "vaddps ymm0, ymm1, ymm2",
        needs: Some((1, ECX, 28)),
        expect: Runs,
        code: [NONE, &[0xc5, 0xf4, 0x58, 0xc2], &[0xc5, 0xf4, 0x58, 0xc2], &[0xc5, 0xf4, 0x58, 0xc2]],
    },
    all("xgetbv", "xgetbv", Some((1, ECX, 26)), Runs, &[0x0f, 0x01, 0xd0]),
    memory(
        "xsave",
        "xsave [m]",
        Some((1, ECX, 26)),
        [
            &[0x0f, 0xae, 0x26, 0x00, 0xd0],
            &[0x0f, 0xae, 0x25, 0x00, 0xd0, 0x00, 0x00],
            &[0x0f, 0xae, 0x24, 0x25, 0x00, 0xd0, 0x00, 0x00],
        ],
    ),
    memory(
        "cmpxchg8b",
        "lock cmpxchg8b [m]",
        None,
        [
            &[0xf0, 0x0f, 0xc7, 0x0e, 0x00, 0xd0],
            &[0xf0, 0x0f, 0xc7, 0x0d, 0x00, 0xd0, 0x00, 0x00],
            &[0xf0, 0x0f, 0xc7, 0x0c, 0x25, 0x00, 0xd0, 0x00, 0x00],
        ],
    ),
    memory(
        "cmpxchg16b",
        "lock cmpxchg16b [m]",
        Some((1, ECX, 13)),
        [NONE, NONE, &[0xf0, 0x48, 0x0f, 0xc7, 0x0c, 0x25, 0x00, 0xd0, 0x00, 0x00]],
    ),
    all("rdtsc", "rdtsc", Some((1, EDX, 4)), Runs, &[0x0f, 0x31]),
    all("rdtscp", "rdtscp", Some((0x8000_0001, EDX, 27)), Runs, &[0x0f, 0x01, 0xf9]),
    all("rdrand", "rdrand", Some((1, ECX, 30)), Runs, &[0x0f, 0xc7, 0xf0]),
    all("rdseed", "rdseed", Some((7, EBX, 18)), Runs, &[0x0f, 0xc7, 0xf8]),
    kernel("clac", "clac", Some((7, EBX, 20)), Runs, &[0x0f, 0x01, 0xca]),
    kernel("stac", "stac", Some((7, EBX, 20)), Runs, &[0x0f, 0x01, 0xcb]),
    kernel("monitor", "monitor", None, RunsOrUndefined, &[0x0f, 0x01, 0xc8]),
    kernel("mwait", "mwait", None, RunsOrUndefined, &[0x0f, 0x01, 0xc9]),
    all("pause", "pause", None, Runs, &[0xf3, 0x90]),
    kernel("wbinvd", "wbinvd", None, Runs, &[0x0f, 0x09]),
    memory(
        "clflush",
        "clflush [m]",
        Some((1, EDX, 19)),
        [
            &[0x0f, 0xae, 0x3e, 0x00, 0xd0],
            &[0x0f, 0xae, 0x3d, 0x00, 0xd0, 0x00, 0x00],
            &[0x0f, 0xae, 0x3c, 0x25, 0x00, 0xd0, 0x00, 0x00],
        ],
    ),
    Case {
        id: "rdfsbase",
        text: "rdfsbase rax",
        needs: Some((7, EBX, 0)),
        expect: Runs,
        code: [NONE, NONE, &[0xf3, 0x48, 0x0f, 0xae, 0xc0], &[0xf3, 0x48, 0x0f, 0xae, 0xc0]],
    },
    Case {
        id: "swapgs",
        text: "swapgs",
        needs: None,
        expect: Runs,
        code: [NONE, NONE, &[0x0f, 0x01, 0xf8], NONE],
    },
    Case {
        id: "vmcall",
        text: "vmcall",
        needs: None,
        expect: Runs,
        code: [NONE, NONE, &[0x0f, 0x01, 0xc1], NONE],
    },
    mmio("mmio-add", "lock add [mmio], eax", &[0xf0, 0x01, 0x03]),
    mmio("mmio-movups", "movups xmm0, [mmio]", &[0x0f, 0x10, 0x03]),
    mmio("mmio-movq", "movq xmm0, [mmio]", &[0xf3, 0x0f, 0x7e, 0x03]),
    mmio("mmio-fld", "fld dword [mmio]", &[0xd9, 0x03]),
];
