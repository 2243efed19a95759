//! A guest's TSC that stands still: whoever reads it, in kernel or user mode, finds the value that was set last.
//!
//! With TSC scaling (SDM vol. 3, 25.6.5; APM vol. 2, 15.30.5) KVM lets a guest's TSC run at 1 kHz: it is
//! `(host's TSC × ratio >> fraction bits) + offset`. Before the product comes to the next whole number, a millisecond at most, the guest
//! is taken out, and goes on with an offset that leaves its TSC as it was. So a clock read that nothing closed is as good as one that is:
//! what it shows is what the host set, and that is logged.
//!
//! A host that is busy may come too late. Then the guest may have seen a number that nobody set: that is a *slip*, and it is told.

use crate::alarm::Alarm;
use crate::error::{MachineError, refused};
use crate::hardware_clock::Shown;
use crate::ioctl;
use crate::msr;
use crate::ticks::ticks;
use kvm_ioctls::VcpuFd;
use std::time::Duration;

/// The slowest that KVM_SET_TSC_KHZ takes (KVM API 4.55).
const SLOWEST_KHZ: u32 = 1;
/// Readings that have to show what the product says.
const READINGS: u32 = 32;
/// Slips that are kept until somebody asks.
const MOST_SLIPS: usize = 64;
/// How early a guest is taken out, as a part of the time between two numbers: at first, at least, and at most.
const FIRST_MARGIN: u64 = 8;
const LEAST_MARGIN: u64 = 64;
const MOST_MARGIN: u64 = 4;

/// How KVM scales the TSC of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Scale {
    ratio: u64,
    fraction_bits: u32,
}

impl Scale {
    /// Of the slowest TSC on a host of this frequency, as KVM calculates it.
    fn slowest(host_khz: u32) -> Self {
        // The formats of VMX's multiplier and SVM's ratio.
        let fraction_bits = if is_amd() { 32 } else { 48 };
        let ratio = (1u64 << fraction_bits) * u64::from(SLOWEST_KHZ) / u64::from(host_khz.max(1));
        Self { ratio: ratio.max(1), fraction_bits }
    }

    fn product(self, host: u64) -> u64 {
        ((u128::from(host) * u128::from(self.ratio)) >> self.fraction_bits) as u64
    }

    /// When the product comes to this number: a value of the host's TSC.
    fn when(self, product: u64) -> u64 {
        let scaled = u128::from(product) << self.fraction_bits;
        u64::try_from(scaled.div_ceil(u128::from(self.ratio))).unwrap_or(u64::MAX)
    }

    /// Ticks of the host between two numbers.
    fn period(self) -> u64 {
        (1u64 << self.fraction_bits) / self.ratio
    }
}

fn is_amd() -> bool {
    let vendor = core::arch::x86_64::__cpuid(0);
    let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
    matches!(name.as_flattened(), b"AuthenticAMD" | b"HygonGenuine")
}

/// Keeps the TSC of one vCPU still.
#[derive(Debug)]
pub(crate) struct HeldTsc {
    scale: Scale,
    ns_per_tick: f64,
    /// What the guest is to see.
    value: u64,
    /// What the product was when the offset was set, and the host's TSC when it comes to the next number.
    product: u64,
    until: u64,
    /// From then on nobody enters the guest before the offset is set anew; a guest that is in comes out. 0: it is to be set.
    leave_at: u64,
    /// How long before `until` that is: what coming out takes, as it was seen.
    margin: u64,
    alarm: Alarm,
    /// Numbers that the guest may have seen and that nobody set.
    slips: Vec<Shown>,
}

impl HeldTsc {
    /// Holds the TSC at this value. `None`: this host has no TSC scaling, or another one than its documentation says.
    pub(crate) fn start(vcpu: &VcpuFd, value: u64) -> Result<Option<Self>, MachineError> {
        if !is_stable() {
            return Ok(None);
        }
        let (Ok(host_khz), Ok(())) = (vcpu.get_tsc_khz(), vcpu.set_tsc_khz(SLOWEST_KHZ)) else {
            return Ok(None);
        };
        let scale = Scale::slowest(host_khz);
        if ioctl::set_tsc_offset(vcpu, 0).is_err() || !is_as_calculated(vcpu, scale)? {
            vcpu.set_tsc_khz(host_khz).map_err(refused("KVM_SET_TSC_KHZ"))?;
            return Ok(None);
        }
        Ok(Some(Self {
            scale,
            ns_per_tick: 1e6 / f64::from(host_khz),
            value,
            product: 0,
            until: 0,
            leave_at: 0,
            margin: scale.period() / FIRST_MARGIN,
            alarm: Alarm::that_takes_out()?,
            slips: Vec::new(),
        }))
    }

    /// The guest sees this from now on.
    pub(crate) fn set(&mut self, value: u64) {
        if value != self.value {
            (self.value, self.leave_at) = (value, 0);
        }
    }

    /// The guest's TSC runs on where it stands, as one that is not held would: nobody logs what it shows.
    pub(crate) fn slip_to(&mut self, value: u64) {
        self.set(value);
        self.note_slip(Shown { first: value, span: 1 });
    }

    /// Before the guest is entered, now. Returns when that may be: now, or later.
    #[inline]
    pub(crate) fn enter(&mut self, vcpu: &VcpuFd, now: u64) -> Result<u64, MachineError> {
        if now < self.leave_at { Ok(now) } else { self.renew(vcpu) }
    }

    /// After the guest came out, now.
    #[inline]
    pub(crate) fn left(&mut self, now: u64) {
        if now >= self.leave_at {
            self.came_out(now);
        }
    }

    /// The guest came out when it had to, or later.
    #[cold]
    fn came_out(&mut self, now: u64) {
        let period = self.scale.period();
        let took = now - self.leave_at;
        // Twice as long as it takes, and a little less each time that it takes less. Somebody else had the processor where it took long.
        if took < period / MOST_MARGIN {
            let less = self.margin - self.margin / 8;
            self.margin = less.max(2 * took).clamp(period / LEAST_MARGIN, period / MOST_MARGIN);
        }
        if now >= self.until {
            let span = self.scale.product(now) - self.product;
            self.note_slip(Shown { first: self.value.wrapping_add(1), span });
        }
    }

    fn note_slip(&mut self, numbers: Shown) {
        if self.slips.len() == MOST_SLIPS {
            self.slips.remove(0);
        }
        self.slips.push(numbers);
    }

    /// Whether the guest may have seen numbers that nobody set.
    #[inline]
    pub(crate) fn has_slipped(&self) -> bool {
        !self.slips.is_empty()
    }

    /// These numbers, since this was last asked; of very many the last.
    pub(crate) fn take_slips(&mut self) -> Vec<Shown> {
        std::mem::take(&mut self.slips)
    }

    /// The guest is not run for a while.
    pub(crate) fn rest(&mut self) -> Result<(), MachineError> {
        self.leave_at = 0;
        self.alarm.clear()
    }

    /// Sets the offset, and with it how long the guest may run; first waits for the next number if that is too near.
    #[cold]
    fn renew(&mut self, vcpu: &VcpuFd) -> Result<u64, MachineError> {
        loop {
            let mut now = ticks();
            let mut product = self.scale.product(now);
            if now + self.margin >= self.scale.when(product + 1) {
                product += 1;
                while now < self.scale.when(product) {
                    std::hint::spin_loop();
                    now = ticks();
                }
            }
            ioctl::set_tsc_offset(vcpu, self.value.wrapping_sub(product))?;
            (self.product, self.until) = (product, self.scale.when(product + 1));
            self.leave_at = self.until - self.margin;
            let now = ticks();
            if now < self.leave_at {
                let left = (self.leave_at - now) as f64 * self.ns_per_tick;
                self.alarm.set(Duration::from_nanos(left as u64 + 1))?;
                return Ok(ticks());
            }
        }
    }
}

/// Whether Linux takes the host's TSC for stable: it offers it as a clock, by the name `tsc-early` in its first seconds. Elsewhere KVM
/// corrects a guest's offset behind everybody's back.
fn is_stable() -> bool {
    std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/available_clocksource")
        .map_or(true, |sources| sources.split_whitespace().any(|source| source.starts_with("tsc")))
}

/// Whether the guest's TSC, at an offset of zero, is the product.
fn is_as_calculated(vcpu: &VcpuFd, scale: Scale) -> Result<bool, MachineError> {
    for _ in 0..READINGS {
        let before = ticks();
        let value = msr::tsc(vcpu)?;
        if value < scale.product(before) || value > scale.product(ticks()) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_comes_when_it_is_said_and_not_a_tick_before() {
        for (host_khz, fraction_bits) in [(2_999_998u32, 48), (2_999_998, 32), (100_000, 48), (4_200_000, 32)]
        {
            let scale = Scale { ratio: (1 << fraction_bits) / u64::from(host_khz), fraction_bits };
            for host in [1, 12_345_678, 1 << 40, (1 << 50) + 77] {
                let next = scale.product(host) + 1;
                let when = scale.when(next);
                assert!(when > host && when - host <= scale.period() + 1);
                assert_eq!((scale.product(when - 1), scale.product(when)), (next - 1, next));
            }
            let ms = u64::from(host_khz);
            assert!(scale.period().abs_diff(ms) <= ms / 1000, "a millisecond");
        }
    }
}
