//! Whether the interrupt window opens where the guest can first take an interrupt, every time.

use super::guest::{Guest, IF, TEXT};
use super::lab::Lab;
use super::stop::Stop;
use super::tables::Mode;
use crate::error::MachineError;
use kvm_ioctls::Kvm;

/// A guest that cannot take an interrupt, or must not yet, at its first exit.
struct Shape {
    name: &'static str,
    /// `out 0x80, al` first; the window is requested at that exit.
    code: &'static [u8],
    rflags: u64,
    /// Offset of the first instruction before which an interrupt can come, and RCX there.
    opens_at: (u64, u64),
}

const LOOPS: u64 = 50_000;

/// A loop without exits follows, long enough for every engine that looks late to show it.
const SHAPES: &[Shape] = &[
    Shape {
        name: "STI",
        // STI shadows one instruction: DEC runs, then it opens.
        code: &[
            0xe6, 0x80, // out 0x80, al
            0xfb, // sti
            0xff, 0xc9, // loop: dec ecx
            0x75, 0xfc, // jnz loop
            0xf4, // hlt
        ],
        rflags: 2,
        opens_at: (5, LOOPS - 1),
    },
    Shape {
        name: "POPF",
        code: &[
            0xe6, 0x80, // out 0x80, al
            0x53, // push rbx
            0x9d, // popf
            0xff, 0xc9, // loop: dec ecx
            0x75, 0xfc, // jnz loop
            0xf4, // hlt
        ],
        rflags: 2,
        opens_at: (4, LOOPS),
    },
    Shape {
        name: "IRETQ",
        code: &[
            0xe6, 0x80, // out 0x80, al
            0x6a, 0x10, // push KERNEL_DATA: SS
            0x54, // push rsp
            0x53, // push rbx: RFLAGS
            0x6a, 0x08, // push KERNEL_CODE: CS
            0x68, 0x0f, 0x80, 0x00, 0x00, // push loop: RIP
            0x48, 0xcf, // iretq
            0xff, 0xc9, // loop: dec ecx
            0x75, 0xfc, // jnz loop
            0xf4, // hlt
        ],
        rflags: 2,
        opens_at: (15, LOOPS),
    },
    Shape {
        name: "interrupts on already",
        code: &[
            0xe6, 0x80, // out 0x80, al
            0xff, 0xc9, // loop: dec ecx
            0x75, 0xfc, // jnz loop
            0xf4, // hlt
        ],
        rflags: 2 | IF,
        opens_at: (2, LOOPS),
    },
];

/// How often each guest runs. An engine that looks now and then shows itself at the first; one whose place varies, in a few.
const ROUNDS: usize = 8;

/// What was seen.
#[derive(Debug)]
pub(super) struct Windows {
    /// Opened at the first boundary at which the guest could take an interrupt, each time.
    pub(super) prompt: bool,
    /// Opened at the same place each time, wherever.
    pub(super) steady: bool,
    /// The most instructions that ran after one could have been interrupted; `None`: a window never opened.
    pub(super) latest: Option<u64>,
    /// Guest, and the places it opened at.
    pub(super) seen: Vec<(&'static str, Vec<Place>)>,
}

/// Where a window opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// RIP from the start of the code; RCX.
    At(u64, u64),
    /// It did not: the guest came to this instead.
    Not(Stop),
}

impl Windows {
    pub(super) fn look(lab: &Lab<'_>) -> Result<Self, MachineError> {
        let mut windows = Self { prompt: true, steady: true, latest: Some(0), seen: Vec::new() };
        let mut guest = lab.guest(Mode::Long, &[])?;
        for shape in SHAPES {
            guest.write(TEXT, shape.code)?;
            let places = (0..ROUNDS).map(|_| once(&mut guest, shape)).collect::<Result<Vec<_>, _>>()?;
            windows.add(shape, places);
        }
        Ok(windows)
    }

    fn add(&mut self, shape: &Shape, places: Vec<Place>) {
        let (rip, rcx) = shape.opens_at;
        self.prompt &= places.iter().all(|p| *p == Place::At(rip, rcx));
        self.steady &= places.iter().all(|p| p == &places[0]);
        for place in &places {
            self.latest = match (self.latest, place) {
                // Two instructions per loop.
                (Some(n), Place::At(_, now)) => Some(n.max(2 * rcx.saturating_sub(*now))),
                _ => None,
            };
        }
        self.seen.push((shape.name, places));
    }
}

fn once(guest: &mut Guest, shape: &Shape) -> Result<Place, MachineError> {
    guest.page.get_mut().request_interrupt_window = 0;
    guest.start(|r| {
        r.rflags = shape.rflags;
        r.rcx = LOOPS;
        r.rbx = 2 | IF;
    })?;
    let first = guest.run();
    if first != Stop::PortWrite(0x80, 0) {
        return Ok(Place::Not(first));
    }
    guest.page.get_mut().request_interrupt_window = 1;
    let stop = guest.run();
    guest.page.get_mut().request_interrupt_window = 0;
    if stop != Stop::Window {
        return Ok(Place::Not(stop));
    }
    let regs = guest.regs()?;
    Ok(Place::At(regs.rip - TEXT, regs.rcx))
}

/// Whether a requested interrupt window opens at the first instruction boundary at which the guest can take an interrupt,
/// every time. Only then is its place an exact position, and only then may a recorder request it. Takes a few milliseconds.
pub fn window_is_prompt(kvm: &Kvm) -> Result<bool, MachineError> {
    Ok(Windows::look(&Lab::new(kvm)?)?.prompt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_the_same_each_time() {
        let kvm = crate::kvm::open().expect("tests need a usable /dev/kvm");
        let first = window_is_prompt(&kvm).unwrap();
        for _ in 0..5 {
            assert_eq!(window_is_prompt(&kvm).unwrap(), first);
        }
    }

    #[test]
    fn no_guest_hangs_and_every_guest_comes_to_a_place() {
        let kvm = crate::kvm::open().expect("tests need a usable /dev/kvm");
        let windows = Windows::look(&Lab::new(&kvm).unwrap()).unwrap();
        assert_eq!(windows.seen.len(), SHAPES.len());
        for (name, places) in &windows.seen {
            for place in places {
                assert!(matches!(place, Place::At(..) | Place::Not(Stop::Halt)), "{name}: {place:?}");
            }
        }
        assert!(windows.steady || !windows.prompt);
    }
}
