//! Model-specific registers that a virtual machine's monitor has to answer because KVM would answer them from the host
//! (Intel SDM volume 4, AMD APM volume 2 appendix A). Everything not listed raises #GP, as an absent register does.

use super::frequency::Frequency;
use crate::platform::MsrAnswer::{self, GeneralProtection, Value};
use crate::platform::{IA32_TSC as TSC, IA32_TSC_ADJUST as TSC_ADJUST, Time};

const MPERF: u32 = 0xE7;
const APERF: u32 = 0xE8;
/// AMD's read-only copies.
const MPERF_READ_ONLY: u32 = 0xC000_00E7;
const APERF_READ_ONLY: u32 = 0xC000_00E8;
const PLATFORM_INFO: u32 = 0xCE;

/// What a write does.
#[derive(Debug, Clone, Copy)]
enum OnWrite {
    /// It raises #GP, whatever the value.
    Refuse,
    /// It has no effect.
    Ignore,
    /// It raises #GP if it sets one of the bits outside `allowed`; otherwise it changes the bits in `stored`.
    Store { allowed: u64, stored: u64 },
}

/// A register that only stores.
#[derive(Debug)]
struct Register {
    index: u32,
    name: &'static str,
    reset: u64,
    on_write: OnWrite,
}

const fn read_only(index: u32, name: &'static str, value: u64) -> Register {
    Register { index, name, reset: value, on_write: OnWrite::Refuse }
}

const fn fixed(index: u32, name: &'static str, value: u64) -> Register {
    Register { index, name, reset: value, on_write: OnWrite::Ignore }
}

/// Every bit outside `stored` is ignored.
const fn storage(index: u32, name: &'static str, reset: u64, stored: u64) -> Register {
    Register { index, name, reset, on_write: OnWrite::Store { allowed: u64::MAX, stored } }
}

/// Every bit outside `allowed` raises #GP.
const fn strict(index: u32, name: &'static str, allowed: u64, stored: u64) -> Register {
    Register { index, name, reset: 0, on_write: OnWrite::Store { allowed, stored } }
}

const REGISTER_COUNT: usize = 33;

/// Ordered by index.
static REGISTERS: [Register; REGISTER_COUNT] = [
    fixed(0x17, "platform ID", 0),
    read_only(0x34, "SMI count", 0),
    // Locked, nothing enabled: a write, even of the same value, raises #GP (SDM vol. 3, 24.7).
    read_only(0x3A, "feature control", 1),
    strict(0x48, "speculation control", 0x7, 0x7),
    // Commands: nothing to flush that a guest could see.
    strict(0x49, "prediction command", 0x1, 0),
    fixed(0x79, "microcode update trigger", 0),
    // Intel's revision is in the high half, AMD's patch level in the low one: KVM's own defaults for both.
    fixed(0x8B, "microcode revision", 0x0000_0001_0100_0065),
    read_only(0x10A, "architectural capabilities", 0),
    strict(0x10B, "flush command", 0x1, 0),
    strict(0x140, "miscellaneous feature enables", 0, 0),
    // No machine check banks.
    read_only(0x179, "machine check capabilities", 0),
    strict(0x17A, "machine check status", 0x7, 0x7),
    // Fast strings; branch trace and precise event sampling are unavailable (SDM vol. 4, table 2-2).
    storage(0x1A0, "miscellaneous enable", 0x1801, 0x0000_0004_0084_0009),
    strict(0x1D9, "debug control", 0, 0),
    strict(0xDA0, "extended supervisor states", 0, 0),
    storage(0xC001_0010, "system configuration", 0, u64::MAX),
    // TscFreqSel: the TSC counts at the P0 frequency.
    storage(0xC001_0015, "hardware configuration", 1 << 24, !(1 << 24)),
    fixed(0xC001_001A, "top of memory", 0),
    fixed(0xC001_001D, "top of memory 2", 0),
    storage(0xC001_001F, "northbridge configuration", 0, u64::MAX),
    fixed(0xC001_0020, "microcode patch loader", 0),
    fixed(0xC001_0055, "interrupt pending", 0),
    fixed(0xC001_0112, "TSEG base", 0),
    fixed(0xC001_0113, "TSEG mask", 0),
    // SVM disabled, and locked so.
    fixed(0xC001_0114, "VM control", 0x18),
    // KVM offers it in CPUID (80000008 EBX bit 25); its one bit is SSBD (AMD, Speculative Store Bypass Disable, 2018).
    strict(0xC001_011F, "virtualized speculation control", 0x4, 0x4),
    read_only(0xC001_0140, "OSVW ID length", 0),
    read_only(0xC001_0141, "OSVW status", 0),
    storage(0xC001_1020, "load-store configuration", 0, u64::MAX),
    storage(0xC001_1022, "data cache configuration", 0, u64::MAX),
    storage(0xC001_1023, "bus unit configuration", 0, u64::MAX),
    storage(0xC001_1029, "decode configuration", 0, u64::MAX),
    storage(0xC001_102A, "bus unit configuration 2", 0, u64::MAX),
];

/// Registers that count.
const COUNTING: [(u32, &str); 7] = [
    (TSC, "time stamp counter"),
    (TSC_ADJUST, "TSC adjust"),
    (PLATFORM_INFO, "platform information"),
    (MPERF, "maximum performance count"),
    (APERF, "actual performance count"),
    (MPERF_READ_ONLY, "maximum performance count, read-only"),
    (APERF_READ_ONLY, "actual performance count, read-only"),
];

/// The registers.
#[derive(Debug)]
pub struct Msrs {
    clock: Frequency,
    tsc_hz: u64,
    /// The value of `IA32_TSC_ADJUST`, which is also what the TSC is ahead of its clock (SDM vol. 3, 18.17.3).
    tsc_adjust: u64,
    mperf_offset: u64,
    aperf_offset: u64,
    /// The stored registers, in the order of [`REGISTERS`].
    values: [u64; REGISTER_COUNT],
}

impl Msrs {
    /// Registers after reset, with a TSC at this frequency.
    pub fn new(tsc_hz: u64) -> Self {
        Self {
            clock: Frequency::hz(tsc_hz),
            tsc_hz,
            tsc_adjust: 0,
            mperf_offset: 0,
            aperf_offset: 0,
            values: std::array::from_fn(|i| REGISTERS[i].reset),
        }
    }

    /// Answers RDMSR.
    pub fn read(&self, now: Time, index: u32) -> MsrAnswer {
        let ticks = || self.clock.ticks(now);
        match index {
            TSC => Value(ticks().wrapping_add(self.tsc_adjust)),
            TSC_ADJUST => Value(self.tsc_adjust),
            // The processor always runs at the frequency of its TSC.
            MPERF | MPERF_READ_ONLY => Value(ticks().wrapping_add(self.mperf_offset)),
            APERF | APERF_READ_ONLY => Value(ticks().wrapping_add(self.aperf_offset)),
            PLATFORM_INFO => Value(self.platform_info()),
            _ => find(index).map_or(GeneralProtection, |(i, _)| Value(self.values[i])),
        }
    }

    /// Takes WRMSR.
    pub fn write(&mut self, now: Time, index: u32, value: u64) -> MsrAnswer {
        let ticks = self.clock.ticks(now);
        match index {
            TSC => self.tsc_adjust = value.wrapping_sub(ticks),
            TSC_ADJUST => self.tsc_adjust = value,
            MPERF => self.mperf_offset = value.wrapping_sub(ticks),
            APERF => self.aperf_offset = value.wrapping_sub(ticks),
            MPERF_READ_ONLY | APERF_READ_ONLY | PLATFORM_INFO => return GeneralProtection,
            _ => return self.store(index, value),
        }
        Value(value)
    }

    fn store(&mut self, index: u32, value: u64) -> MsrAnswer {
        let Some((i, register)) = find(index) else { return GeneralProtection };
        match register.on_write {
            OnWrite::Refuse => return GeneralProtection,
            OnWrite::Store { allowed, .. } if value & !allowed != 0 => return GeneralProtection,
            OnWrite::Ignore => {}
            OnWrite::Store { stored, .. } => {
                self.values[i] = register.reset & !stored | value & stored;
            }
        }
        Value(value)
    }

    /// Index and name of every register, for reports.
    pub fn names() -> impl Iterator<Item = (u32, &'static str)> {
        COUNTING.into_iter().chain(REGISTERS.iter().map(|msr| (msr.index, msr.name)))
    }

    /// Ratios of the TSC to 100 MHz: maximum non-turbo (bits 15:8) and maximum efficiency (bits 47:40). CPUID faulting
    /// (bit 31) is off.
    fn platform_info(&self) -> u64 {
        let ratio = (self.tsc_hz / 100_000_000).min(0xFF);
        ratio << 8 | ratio << 40
    }
}

fn find(index: u32) -> Option<(usize, &'static Register)> {
    let i = REGISTERS.binary_search_by_key(&index, |register| register.index).ok()?;
    Some((i, &REGISTERS[i]))
}

#[cfg(test)]
mod tests;
