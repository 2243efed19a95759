//! One KVM virtual machine that can be run, stopped, digested and restored exactly: the one crate that talks to KVM.
//!
//! [`Machine::run`] is the run loop. Recording and replaying are two [`Handler`]s of it.

mod alarm;
mod code;
mod convention;
mod cpuid;
pub mod doctor;
mod dump;
mod error;
mod exit;
mod features;
mod finish;
mod hardware_clock;
mod held_tsc;
mod histogram;
mod host;
mod ioctl;
pub mod kick;
mod kvm;
mod machine;
mod memory;
mod msr;
mod page_map;
pub mod paging;
mod probe;
mod site;
pub mod stand_in;
mod state;
pub mod statistics;
mod tap;
mod ticks;
mod unfinished;
mod xsave;

pub use alarm::Alarm;
pub use convention::{Convention, RipAt};
pub use cpuid::{fixed_table, offer_x2apic};
pub use dump::Dump;
pub use error::{GaveUp, MachineError};
pub use exit::Exit;
pub use features::MissingFeatures;
pub use hardware_clock::{HardwareClock, Shown};
pub use histogram::Histogram;
pub use host::{available_memory, describe as describe_host, tick_hz};
pub use kick::Kicker;
pub use kvm::{engine_name, open};
pub use kvm_ioctls::Kvm;
pub use machine::{Control, FeatureUse, Flow, Handler, Machine, MachineConfig, Reached, View};
pub use memory::{Changed, Mapping, Memory, MemoryWatch, PageSet, PageTable};
pub use msr::ALLOWED as MSRS_ALLOWED;
pub use probe::open_and_probe;
pub use site::SiteTable;
pub use tap::open_tap;
pub use ticks::{process_time, thread_time, ticks};
