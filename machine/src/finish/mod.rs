//! Finishing instructions that KVM gave up on (KVM_EXIT_INTERNAL_ERROR with suberror *emulation*, KVM API 5).
//!
//! KVM has done nothing of the instruction then. It is decoded here and carried out on a working copy of the vCPU
//! ([`cpu::Cpu`]), with its faults, and what changed is given back to KVM:
//!
//! * what computes with registers and one operand in memory runs on our own processor ([`native`]);
//! * what concerns privilege, interrupts or XCR0 is written out ([`effect`], [`deliver`], [`iret`], [`state_area`]);
//! * an operand that is a device becomes the MMIO exits that KVM would have made of it ([`operand`]).
//!
//! To handlers it is one exit like all others: a clock read, a halt, MMIO, and otherwise
//! [`ExitKind::Unfinished`](trapline_formats::ExitKind::Unfinished), which has no data: its effect is a function of the
//! guest's state, and so the replay has it again.

mod cpu;
mod deliver;
mod descriptor;
mod effect;
mod fault;
mod image;
mod iret;
mod native;
mod operand;
mod stack;
mod state_area;
mod trampoline;
mod work;

pub(crate) use cpu::Cpu;
pub(crate) use effect::Effect;
pub(crate) use fault::Stop;
pub(crate) use image::Image;
pub(crate) use trampoline::Trampoline;
pub(crate) use work::{Step, Work};
