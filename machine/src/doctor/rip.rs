//! Where RIP stands at each kind of exit.

use super::lab::Lab;
use super::probe::{Answer, Answered, Probe};
use crate::convention::{Convention, RipAt};

pub(super) const PROBES: &[Probe] = &[
    Probe("rip-port-read", "RIP at IN", |lab| rip(lab, |c| c.port_read)),
    Probe("rip-port-write", "RIP at OUT", |lab| rip(lab, |c| c.port_write)),
    Probe("rip-port-write-7e", "RIP at OUT to port 0x7E", |lab| rip(lab, |c| c.port_write_7e)),
    Probe("rip-mmio-read", "RIP at an MMIO read", |lab| rip(lab, |c| c.mmio_read)),
    Probe("rip-mmio-write", "RIP at an MMIO write", |lab| rip(lab, |c| c.mmio_write)),
    Probe("rip-msr-read", "RIP at RDMSR", |lab| rip(lab, |c| c.msr_read)),
    Probe("rip-msr-write", "RIP at WRMSR", |lab| rip(lab, |c| c.msr_write)),
    Probe("rip-hlt", "RIP at HLT", |lab| rip(lab, |c| c.halt)),
];

fn rip(lab: &Lab<'_>, kind: fn(&Convention) -> RipAt) -> Answered {
    Ok(Answer::info(match kind(&lab.convention()?) {
        RipAt::Instruction => "at the instruction",
        RipAt::Next => "after the instruction",
    }))
}
