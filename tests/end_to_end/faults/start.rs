//! The state of the processor at the start is another, or what the machine is made from.

use super::fault::Fault;
use crate::support::plain::Plain;
use trapline_formats::{MsrRange, Registers};

/// Bits that can be changed, and the guest goes on: DF, AC and ID of the flags.
const FLAGS: [usize; 3] = [10, 18, 21];
const CR0_BITS: [usize; 3] = [1, 16, 18];
const CR4_BITS: [usize; 3] = [2, 9, 10];
const CR4_PAE: u64 = 1 << 5;
/// Long mode enabled. Not without PAE: that takes the svm lab down (tests/lab/README.md).
const EFER_LME: usize = 8;
const EFER_LMA: usize = 10;
/// Areas of an XSAVE image (SDM vol. 1, 10.5.1 and 13.4.2).
const X87: usize = 32;
const SSE: usize = 160;
const XSTATE_BV: usize = 512;
/// Model-specific registers that any value fits into: SYSENTER and SYSCALL (SDM vol. 4, table 2-2).
const MSRS: [u32; 6] = [0x174, 0x175, 0x176, 0xc000_0081, 0xc000_0082, 0xc000_0084];

pub const FAULTS: &[Fault] = &[
    Fault {
        name: "general register at the start",
        places: |_| (0..16).filter(|register| *register != Registers::RSP).collect(),
        put: |plain, register| plain.start.registers.general[register] ^= 0x40,
    },
    Fault {
        name: "RIP at the start",
        places: |_| vec![1, 2, 3],
        put: |plain, bytes| plain.start.registers.rip += bytes as u64,
    },
    Fault {
        name: "RFLAGS at the start",
        places: |_| FLAGS.to_vec(),
        put: |plain, bit| plain.start.registers.rflags ^= 1 << bit,
    },
    Fault {
        name: "base of a segment at the start",
        // The base of FS and GS is an MSR, too.
        places: |_| vec![1, 2, 5],
        put: |plain, segment| plain.start.system.segments[segment].base ^= 0x10,
    },
    Fault {
        name: "limit of a segment at the start",
        places: |_| vec![1, 2, 3, 4],
        put: |plain, segment| plain.start.system.segments[segment].limit ^= 0x1000,
    },
    Fault {
        name: "selector of a segment at the start",
        places: |_| vec![1, 2, 3, 4],
        put: |plain, segment| plain.start.system.segments[segment].selector ^= 0x40,
    },
    Fault {
        name: "CR0 at the start",
        places: |_| CR0_BITS.to_vec(),
        put: |plain, bit| plain.start.system.control[0] ^= 1 << bit,
    },
    Fault {
        name: "CR2 at the start",
        places: |_| vec![0, 12, 30],
        put: |plain, bit| plain.start.system.control[1] ^= 1 << bit,
    },
    Fault {
        name: "CR3 at the start",
        places: |_| vec![3, 4, 13],
        put: |plain, bit| plain.start.system.control[2] ^= 1 << bit,
    },
    Fault {
        name: "CR4 at the start",
        places: |_| CR4_BITS.to_vec(),
        put: |plain, bit| plain.start.system.control[3] ^= 1 << bit,
    },
    Fault {
        name: "CR8 at the start",
        places: |_| vec![1, 2, 3],
        put: |plain, bits| plain.start.system.control[4] ^= bits as u64,
    },
    Fault {
        name: "EFER at the start",
        places: |plain| {
            let has_pae = plain.start.system.control[3] & CR4_PAE != 0;
            vec![0, if has_pae { EFER_LME } else { EFER_LMA }, 11]
        },
        put: |plain, bit| plain.start.system.efer ^= 1 << bit,
    },
    Fault {
        name: "GDT at the start",
        places: |_| vec![0, 1, 2],
        put: |plain, which| match which {
            0 => plain.start.system.gdt.0 ^= 0x100,
            1 => plain.start.system.gdt.1 ^= 0x100,
            _ => plain.start.system.gdt.0 ^= 0x8000,
        },
    },
    Fault {
        name: "MSR at the start",
        places: |plain| {
            let fits = |i: &usize| MSRS.contains(&plain.start.msrs[*i].0);
            (0..plain.start.msrs.len()).filter(fits).collect()
        },
        put: |plain, place| plain.start.msrs[place].1 ^= 0x10,
    },
    Fault {
        name: "XCR0 at the start",
        places: |_| vec![2, 4, 6],
        put: |plain, bits| plain.start.xcr0 ^= bits as u64,
    },
    Fault {
        name: "x87 register at the start",
        places: |_| vec![0, 3, 7],
        put: |plain, register| dirty(plain, X87 + 16 * register, 1),
    },
    Fault {
        name: "XMM register at the start",
        places: |_| vec![0, 7, 15],
        put: |plain, register| dirty(plain, SSE + 16 * register, 2),
    },
    Fault {
        name: "debug address at the start",
        places: |_| vec![0, 1, 3],
        put: |plain, register| plain.start.debug.addresses[register] ^= 0x1000,
    },
    Fault {
        // Breakpoints of slot 0 to 2 for execution at an address that nobody executes, where another slot has none (SDM vol. 3, 18.2.4).
        name: "DR7 at the start",
        places: |_| vec![1, 3, 5],
        put: |plain, bit| {
            plain.start.debug.addresses = [0xdead_0000; 4];
            plain.start.debug.dr7 ^= 1 << bit;
        },
    },
    Fault {
        name: "interrupt shadow at the start",
        places: |_| vec![1, 2],
        put: |plain, shadow| plain.start.events.shadow ^= shadow as u8,
    },
    Fault {
        name: "pending event at the start",
        places: |_| vec![0, 1, 2],
        put: |plain, which| {
            let events = &mut plain.start.events;
            match which {
                0 => events.exception = (false, true, 3, None, None),
                1 => events.nmi.1 = true,
                _ => events.interrupt = (true, 0x2f, false),
            }
        },
    },
    Fault {
        name: "row of the CPUID table",
        places: |plain| {
            let asked = |i: &usize| matches!(plain.header.cpuid[*i].leaf, 0 | 1 | 0x8000_0000 | 0x8000_0001);
            let cpuid = |page: &(u64, Vec<u8>)| page.1.windows(2).any(|bytes| bytes == [0x0f, 0xa2]);
            let asks = plain.pages.iter().any(cpuid);
            if asks { (0..plain.header.cpuid.len()).filter(asked).collect() } else { Vec::new() }
        },
        put: |plain, row| plain.header.cpuid[row].registers[1] ^= 0x0100_0000,
    },
    Fault {
        name: "list of allowed MSRs",
        places: |plain| (0..plain.header.msrs_allowed.len()).collect(),
        put: |plain, row| {
            let MsrRange { start, .. } = plain.header.msrs_allowed.remove(row);
            assert_ne!(start, 0, "no range begins at 0");
        },
    },
];

/// Initial FCW and MXCSR, and where they are (SDM vol. 1, 10.5.1 and 13.6).
const CONTROL: [(usize, [u8; 2]); 2] = [(0, [0x7f, 0x03]), (24, [0x80, 0x1f])];

/// Sets a byte of an XSAVE image, and marks its component as in use: its other registers are as they are when it is not.
fn dirty(plain: &mut Plain, at: usize, component: u8) {
    for (place, initial) in CONTROL {
        plain.start.xsave[place..place + 2].copy_from_slice(&initial);
    }
    plain.start.xsave[at] ^= 0x77;
    plain.start.xsave[XSTATE_BV] |= component;
}
