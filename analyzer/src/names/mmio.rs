//! Well-known device memory of a PC.
//!
//! Sources: Intel SDM volume 3, "Local APIC Register Address Map"; Intel 82093AA (I/O APIC), 3.0; IA-PC HPET
//! specification 1.0a, 2.3.1; TCG PC Client TPM Interface Specification (0xFED40000); IBM VGA (0xA0000).

use super::Known;

const IO_APIC: &str = "I/O APIC";
const HPET: &str = "HPET";
/// Name of the local APIC, as memory and as MSRs.
pub(super) const LOCAL_APIC: &str = "local APIC";

/// Where ranges overlap, the smallest one names an address.
pub(super) const MMIO: &[Known] = &[
    (0xa_0000, 0xc_0000, "VGA", "memory"),
    (0xfec0_0000, 0xfec0_1000, IO_APIC, ""),
    (0xfec0_0000, 0xfec0_0004, IO_APIC, "index"),
    (0xfec0_0010, 0xfec0_0014, IO_APIC, "data"),
    (0xfec0_0040, 0xfec0_0044, IO_APIC, "EOI"),
    (0xfed0_0000, 0xfed0_0400, HPET, ""),
    (0xfed0_0000, 0xfed0_0008, HPET, "capabilities"),
    (0xfed0_0010, 0xfed0_0018, HPET, "configuration"),
    (0xfed0_0020, 0xfed0_0028, HPET, "interrupt status"),
    (0xfed0_00f0, 0xfed0_00f8, HPET, "main counter"),
    (0xfed0_0100, 0xfed0_0108, HPET, "timer 0 configuration"),
    (0xfed0_0108, 0xfed0_0110, HPET, "timer 0 comparator"),
    (0xfed0_0110, 0xfed0_0118, HPET, "timer 0 interrupt route"),
    (0xfed0_0120, 0xfed0_0128, HPET, "timer 1 configuration"),
    (0xfed0_0128, 0xfed0_0130, HPET, "timer 1 comparator"),
    (0xfed0_0130, 0xfed0_0138, HPET, "timer 1 interrupt route"),
    (0xfed0_0140, 0xfed0_0148, HPET, "timer 2 configuration"),
    (0xfed0_0148, 0xfed0_0150, HPET, "timer 2 comparator"),
    (0xfed0_0150, 0xfed0_0158, HPET, "timer 2 interrupt route"),
    (0xfed4_0000, 0xfed4_5000, "TPM", ""),
    (0xfee0_0000, 0xfee0_1000, LOCAL_APIC, ""),
    (0xfee0_0020, 0xfee0_0030, LOCAL_APIC, "id"),
    (0xfee0_0030, 0xfee0_0040, LOCAL_APIC, "version"),
    (0xfee0_0080, 0xfee0_0090, LOCAL_APIC, "task priority"),
    (0xfee0_0090, 0xfee0_00a0, LOCAL_APIC, "arbitration priority"),
    (0xfee0_00a0, 0xfee0_00b0, LOCAL_APIC, "processor priority"),
    (0xfee0_00b0, 0xfee0_00c0, LOCAL_APIC, "EOI"),
    (0xfee0_00d0, 0xfee0_00e0, LOCAL_APIC, "logical destination"),
    (0xfee0_00e0, 0xfee0_00f0, LOCAL_APIC, "destination format"),
    (0xfee0_00f0, 0xfee0_0100, LOCAL_APIC, "spurious vector"),
    (0xfee0_0100, 0xfee0_0180, LOCAL_APIC, "in service"),
    (0xfee0_0180, 0xfee0_0200, LOCAL_APIC, "trigger mode"),
    (0xfee0_0200, 0xfee0_0280, LOCAL_APIC, "interrupt request"),
    (0xfee0_0280, 0xfee0_0290, LOCAL_APIC, "error status"),
    (0xfee0_02f0, 0xfee0_0300, LOCAL_APIC, "LVT CMCI"),
    (0xfee0_0300, 0xfee0_0310, LOCAL_APIC, "interrupt command"),
    (0xfee0_0310, 0xfee0_0320, LOCAL_APIC, "interrupt command high"),
    (0xfee0_0320, 0xfee0_0330, LOCAL_APIC, "LVT timer"),
    (0xfee0_0330, 0xfee0_0340, LOCAL_APIC, "LVT thermal"),
    (0xfee0_0340, 0xfee0_0350, LOCAL_APIC, "LVT performance"),
    (0xfee0_0350, 0xfee0_0360, LOCAL_APIC, "LVT LINT0"),
    (0xfee0_0360, 0xfee0_0370, LOCAL_APIC, "LVT LINT1"),
    (0xfee0_0370, 0xfee0_0380, LOCAL_APIC, "LVT error"),
    (0xfee0_0380, 0xfee0_0390, LOCAL_APIC, "initial count"),
    (0xfee0_0390, 0xfee0_03a0, LOCAL_APIC, "current count"),
    (0xfee0_03e0, 0xfee0_03f0, LOCAL_APIC, "divide"),
];
