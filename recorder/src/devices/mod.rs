//! The devices of a PC, one per file, as pure state machines.
//!
//! None has a clock: every call that depends on time is told `now`. None can panic on what a guest does, and none does
//! more than a bounded amount of work per access. A device keeps its own interrupt output; [`crate::pc::Pc`] carries
//! it to the interrupt controller.

pub mod alarm;
pub mod apic_timer;
pub mod calendar;
pub mod cmos;
pub mod counter;
pub mod debugcon;
pub mod dma;
pub mod exit;
pub mod frequency;
pub mod fw_cfg;
pub mod i8042;
pub mod i8259;
pub mod interrupt_message;
pub mod io_apic;
pub mod keyboard;
pub mod local_apic;
pub mod msrs;
pub mod pci;
pub mod pic;
pub mod pit;
pub mod pm_timer;
pub mod port_map;
pub mod rtc;
mod rtc_codec;
pub mod serial;
pub mod vector_set;
pub mod virtio;
