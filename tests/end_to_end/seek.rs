//! Seeking: a replay that starts at a keyframe comes to the very state that one from the start comes to.

use crate::seabios;
use crate::support::compare::assert_same_machine;
use crate::support::host::{Extent, Host, host};
use crate::support::plain::{Plain, PlainEvent, PlainKeyframe};
use crate::support::recorded::{Recorded, record_every};
use crate::support::replayed::try_replay;
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use trapline_formats::memory::PAGE_BYTES;
use trapline_formats::{ClockMode, CpuState, Gpa, Trace};
use trapline_guests::Guest;
use trapline_machine::{Control, Exit, Flow, Handler, Machine, MachineConfig, MachineError};
use trapline_recorder::Every;
use trapline_replayer::ReplayOptions;

fn every(keyframe: u64, digest: u64) -> Every {
    Every { keyframe: NonZeroU64::new(keyframe), digest: NonZeroU64::new(digest).unwrap() }
}

/// Guests that have something of everything in flight, but for x87 environments in memory: not every processor that KVM emulates keeps the
/// pointers in them, which the guests clear at once, and these recordings are compared that soon.
fn guests() -> Vec<Guest> {
    use trapline_guests as g;
    let quick = vec![g::demo(), g::string_ports_64(), g::timer_exits_32(), g::sse_64(), g::pages_64()];
    let more = vec![
        g::ports_16(),
        g::mmio_sse_64(),
        g::timer_window_64(),
        g::apic_periodic_64(),
        g::nmi_self_64(),
        g::msrs_refused_64(),
        g::software_interrupts_32(),
        g::xmm_64(),
        g::tsc_16(),
        g::task_priority_64(),
    ];
    if Extent::of_environment() == Extent::Quick { quick } else { [quick, more].concat() }
}

/// Positions in a recording: any, but the same each time.
fn positions(exits: u64, count: usize) -> Vec<u64> {
    let mut x = exits;
    let mut next = || {
        // Knuth's MMIX generator.
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 33) % exits
    };
    (0..count).map(|_| next()).chain([0, exits - 1]).collect()
}

fn assert_seeks(host: &Host, recorded: &Recorded, positions: &[u64]) {
    for &exit in positions {
        let replay = |from| {
            let options = ReplayOptions { from, until: Some(exit), ..ReplayOptions::default() };
            try_replay(host, &recorded.path, &options).unwrap_or_else(|divergence| panic!("{divergence}"))
        };
        let (linear, sought) = (replay(None), replay(Some(exit)));
        assert_eq!((linear.first_exit, linear.exits, sought.exits), (0, exit + 1, exit + 1));
        let keyframes = Trace::open(&recorded.path).unwrap().keyframes().before(exit);
        assert_eq!(sought.first_exit > 0, keyframes.is_some(), "exit {exit}");
        assert_same_machine(host, &linear.machine, &sought.machine);
    }
}

#[test]
fn seeking_is_replaying_from_the_start() {
    let Some(host) = host() else { return };
    let count = if Extent::of_environment() == Extent::Full { 40 } else { 3 };
    for guest in guests() {
        let recorded = record_every(&host, &guest, ClockMode::Virtual, every(7, 3));
        assert_seeks(&host, &recorded, &positions(recorded.end.exits, count));
    }
}

#[test]
fn seeking_in_a_firmware_is_replaying_it_from_the_start() {
    let Some(host) = host() else { return };
    let count = match Extent::of_environment() {
        Extent::Quick => 1,
        Extent::Normal => 2,
        Extent::Full => 20,
    };
    let recorded = seabios::boot_every(&host, "bios.bin", ClockMode::Virtual, every(300, 128));
    assert_seeks(&host, &recorded, &positions(recorded.end.exits, count));
}

#[test]
fn a_replay_from_any_keyframe_on_is_faithful_to_the_end() {
    let Some(host) = host() else { return };
    for guest in guests() {
        let recorded = record_every(&host, &guest, ClockMode::Host, every(5, 1));
        let exits = recorded.end.exits;
        for from in (0..exits).step_by((exits as usize / 6).max(1)) {
            let options = ReplayOptions { from: Some(from), ..ReplayOptions::default() };
            let replayed = try_replay(&host, &recorded.path, &options)
                .unwrap_or_else(|divergence| panic!("{divergence}"));
            assert!(replayed.first_exit <= from && from - replayed.first_exit < 7, "{from}");
            assert_eq!(replayed.exits, exits);
            assert_same_machine(&host, &recorded.machine, &replayed.machine);
        }
    }
}

#[test]
fn a_recording_with_keyframes_is_the_same_as_one_without() {
    let Some(host) = host() else { return };
    let record = |every| {
        let recorded = record_every(&host, &trapline_guests::demo(), ClockMode::Virtual, every);
        let plain = Plain::read(&recorded.path);
        let inputs: Vec<_> = plain
            .exits
            .iter()
            .map(|exit| (plain.sites[exit.site].clone(), exit.data.clone(), exit.registers))
            .collect();
        inputs
    };
    assert_eq!(record(every(3, 2)), record(Every { keyframe: None, digest: Every::DIGEST }));
}

/// Leaves a machine in the middle of an exit.
struct Leave {
    left: u64,
}

#[derive(Debug)]
enum Left {
    Here,
    #[expect(dead_code, reason = "shown where the test fails")]
    Failed(MachineError),
}

impl From<MachineError> for Left {
    fn from(error: MachineError) -> Self {
        Self::Failed(error)
    }
}

impl Handler for Leave {
    type Error = Left;

    fn exit(&mut self, _: &mut Machine, _: &mut Exit) -> Result<Flow, Left> {
        self.left = self.left.checked_sub(1).ok_or(Left::Here)?;
        Ok(Flow::Continue)
    }

    fn settled(&mut self, _: &mut Machine) -> Result<Control, Left> {
        Ok(Control::Continue)
    }

    fn kicked(&mut self, _: &mut Machine) -> Result<Control, Left> {
        Ok(Control::Continue)
    }
}

/// Every keyframe of a recording, with memory as it was there.
fn keyframes(plain: &Plain) -> Vec<(PlainKeyframe, BTreeMap<u64, Vec<u8>>)> {
    let mut memory: BTreeMap<u64, Vec<u8>> = plain.pages.iter().cloned().collect();
    let mut all = Vec::new();
    for event in plain.exits.iter().flat_map(|exit| &exit.events) {
        if let PlainEvent::Keyframe(keyframe) = event {
            memory.extend(keyframe.pages.iter().cloned());
            all.push(((**keyframe).clone(), memory.clone()));
        }
    }
    all
}

fn bring(machine: &mut Machine, cpu: &CpuState, memory: &BTreeMap<u64, Vec<u8>>) {
    let load = |machine: &Machine| {
        for region in machine.memory().regions() {
            for page in region.gpa / PAGE_BYTES as u64..(region.gpa + region.bytes) / PAGE_BYTES as u64 {
                let content = memory.get(&page).cloned().unwrap_or_else(|| vec![0; PAGE_BYTES]);
                machine.memory().write(Gpa(page * PAGE_BYTES as u64), &content)?;
            }
        }
        Ok::<_, MachineError>(true)
    };
    machine.bring_to(cpu, false, load).unwrap();
}

#[test]
fn a_keyframe_taken_over_in_the_middle_of_any_exit_is_saved_again_as_it_was() {
    let Some(host) = host() else { return };
    let mut compared = 0;
    for guest in guests() {
        let recorded = record_every(&host, &guest, ClockMode::Virtual, every(11, 11));
        let plain = Plain::read(&recorded.path);
        let config = MachineConfig {
            memory: plain.header.memory.clone(),
            cpuid: plain.header.cpuid.clone(),
            msrs_allowed: plain.header.msrs_allowed.clone(),
            stand_ins: plain.header.stand_ins,
        };
        let mut machine = Machine::new(host.kvm, &config).unwrap();
        machine.set_convention(host.convention);
        let start = plain.pages.iter().cloned().collect();
        for (i, (keyframe, memory)) in keyframes(&plain).into_iter().take(12).enumerate() {
            // Answers of zeros lead such a guest astray sooner or later: so far they get.
            bring(&mut machine, &plain.start, &start);
            let left = machine.run(&mut Leave { left: i as u64 % 5 });
            assert!(matches!(left, Err(Left::Here)), "{}: {left:?}", guest.name);
            bring(&mut machine, &keyframe.keyframe.cpu, &memory);
            let saved = machine.save().unwrap();
            assert_eq!(keyframe.keyframe.cpu.differences(&saved), [], "{}", guest.name);
            assert_eq!(keyframe.keyframe.cpu, saved, "{}", guest.name);
            let (shown, saved) = (machine.registers(), saved.registers);
            assert_eq!(*shown, saved, "{}", guest.name);
            compared += 1;
        }
    }
    assert!(compared > 20, "{compared} keyframes");
}
