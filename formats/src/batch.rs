//! Exits as the vCPU's thread leaves them: to be encoded on the thread that writes the trace.
//!
//! Encoding an exit takes several times as long as noting it down, and the guest would wait for it.

use crate::digests::{Checkpoint, DigestEncoder};
use crate::exit::{Event, Site};
use crate::held_tsc::{HeldTsc, HeldValue};
use crate::inputs::InputEncoder;
use crate::state::Registers;
use crate::timing::{Timing, TimingEncoder};

/// What an event takes, about, beside the bytes in it.
const EVENT_BYTES: usize = 16;

/// An exit, noted down.
#[derive(Debug, Clone, Copy, Default)]
pub struct RawExit {
    /// The registers at the exit.
    pub registers: Registers,
    /// Time since the exit before: outside of KVM_RUN, then inside.
    pub spent: Timing,
    /// Number of its site.
    pub site: u32,
    /// Bytes of its data among the bulk data; 0 where its data is `value`.
    pub bulk: u32,
    /// Data of one element, zero-extended.
    pub value: u64,
    /// Whether the access raised #GP in the guest.
    pub fault: bool,
}

/// The exits of a chunk, the events between them, and their checkpoints.
#[derive(Debug)]
pub struct Batch {
    /// Room for exits; the first `len` are there. Noting one writes to its place, which is in memory already.
    room: Vec<RawExit>,
    len: usize,
    /// Data of the exits of more than one element, one after the other.
    bulk: Vec<u8>,
    /// Events, each with the number of exits of the batch before it; ascending.
    events: Vec<(u32, Event)>,
    /// Bytes in them.
    event_bytes: usize,
    checkpoints: Vec<Checkpoint>,
    /// Values at which the TSC was held.
    held: Vec<HeldValue>,
}

impl Batch {
    /// A batch with room for so many exits; it grows when it must.
    pub fn with_room(exits: usize) -> Self {
        Self {
            room: vec![RawExit::default(); exits],
            len: 0,
            bulk: Vec::new(),
            events: Vec::new(),
            event_bytes: 0,
            checkpoints: Vec::new(),
            held: Vec::new(),
        }
    }

    /// The place of the next exit, to be filled in whole.
    #[inline]
    pub fn next_exit(&mut self) -> &mut RawExit {
        if self.len == self.room.len() {
            self.grow();
        }
        self.len += 1;
        &mut self.room[self.len - 1]
    }

    #[cold]
    fn grow(&mut self) {
        self.room.resize(2 * self.len + 1, RawExit::default());
    }

    /// Notes the data of an exit of several elements; the exit itself says how many bytes it has.
    pub fn bulk(&mut self, data: &[u8]) {
        self.bulk.extend_from_slice(data);
    }

    /// Notes an event after the last exit.
    pub fn event(&mut self, event: Event) {
        self.event_bytes += EVENT_BYTES
            + match &event {
                Event::MemoryWrite { bytes, .. } => bytes.len(),
                _ => 0,
            };
        self.events.push((self.len as u32, event));
    }

    /// Notes a checkpoint after the last exit.
    pub fn checkpoint(&mut self, checkpoint: Checkpoint) {
        self.event(Event::Checkpoint);
        self.checkpoints.push(checkpoint);
    }

    /// Notes that the guest's TSC shows this from here on: behind the last exit, or the carried keyframe of this number. If it is held at
    /// all, that is noted before the first exit.
    pub fn hold_tsc(&mut self, keyframe: Option<u32>, value: u64) {
        self.held.push(HeldValue { exits: self.len as u64, keyframe, value });
    }

    /// The exits.
    #[inline]
    pub fn exits(&self) -> &[RawExit] {
        &self.room[..self.len]
    }

    /// Bytes of data: of exits of several elements, and of events, about.
    pub fn bulk_bytes(&self) -> usize {
        self.bulk.len() + self.event_bytes
    }

    /// Whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.len == 0 && self.events.is_empty()
    }

    /// Forgets everything but its room.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.bulk.clear();
        self.events.clear();
        self.event_bytes = 0;
        self.checkpoints.clear();
        self.held.clear();
    }
}

/// The chunks of the streams of exits.
pub(crate) struct EncodedBatch {
    pub(crate) inputs: Vec<u8>,
    pub(crate) digests: Vec<u8>,
    /// Empty where the TSC is not held.
    pub(crate) held: Vec<u8>,
    /// Timings of the exits up to the one before the last: how long that one will have taken is not known yet.
    pub(crate) timings: Vec<u8>,
    /// The exit of the first timing.
    pub(crate) first_timing: u64,
}

/// Encodes batches, one after the other.
#[derive(Default)]
pub(crate) struct BatchEncoder {
    sites: Vec<Site>,
    inputs: InputEncoder,
    digests: DigestEncoder,
    timings: TimingEncoder,
    /// What the TSC is held at.
    held: Option<u64>,
    /// Timings so far.
    timed: u64,
    /// Time inside of KVM_RUN of the exit whose time outside is not known yet.
    guest_ticks: Option<u64>,
}

impl BatchEncoder {
    /// Adds sites to the dictionary.
    pub(crate) fn sites(&mut self, sites: Vec<Site>) {
        self.sites.extend(sites);
    }

    /// The dictionary so far.
    pub(crate) fn all_sites(&self) -> &[Site] {
        &self.sites
    }

    /// Encodes a batch and empties it.
    pub(crate) fn encode(&mut self, batch: &mut Batch) -> EncodedBatch {
        let first_timing = self.timed;
        let mut bulk = batch.bulk.as_slice();
        let mut events = batch.events.iter().peekable();
        for (exit, number) in batch.room[..batch.len].iter().zip(0u32..) {
            while let Some((_, event)) = events.next_if(|(before, _)| *before <= number) {
                self.inputs.event(event);
            }
            self.exit(exit, &mut bulk);
        }
        for (_, event) in events {
            self.inputs.event(event);
        }
        let held = self.held(std::mem::take(&mut batch.held));
        for checkpoint in batch.checkpoints.drain(..) {
            self.digests.checkpoint(checkpoint);
        }
        batch.clear();
        EncodedBatch {
            inputs: self.inputs.take(),
            digests: self.digests.take(),
            held,
            timings: self.timings.take(),
            first_timing,
        }
    }

    fn held(&mut self, mut values: Vec<HeldValue>) -> Vec<u8> {
        if self.held.is_none() && !values.is_empty() {
            // The first of all says what it begins with.
            self.held = Some(values.remove(0).value);
        }
        let Some(first) = self.held else { return Vec::new() };
        let chunk = HeldTsc { first, values };
        self.held = Some(chunk.last());
        chunk.encode()
    }

    #[inline]
    fn exit(&mut self, exit: &RawExit, bulk: &mut &[u8]) {
        // Whoever notes an exit has given its site before, and its data.
        let Some(site) = self.sites.get(exit.site as usize) else { return };
        let value = exit.value.to_le_bytes();
        let data = if exit.bulk == 0 {
            &value[..usize::from(site.size).min(value.len())]
        } else {
            let (data, rest) = bulk.split_at((exit.bulk as usize).min(bulk.len()));
            *bulk = rest;
            data
        };
        self.inputs.exit(exit.site, site, data, exit.fault);
        self.digests.exit(exit.site, &exit.registers);
        self.timing(exit.spent.vmm);
        self.guest_ticks = Some(exit.spent.guest);
    }

    fn timing(&mut self, vmm: u64) {
        if let Some(guest) = self.guest_ticks.take() {
            self.timings.push(Timing { guest, vmm });
            self.timed += 1;
        }
    }

    /// The timing of the very last exit, after which the guest was not entered again.
    pub(crate) fn last_timing(&mut self) -> (u64, Vec<u8>) {
        let first_timing = self.timed;
        self.timing(0);
        (first_timing, self.timings.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Gva;
    use crate::digests::{DigestDecoder, compared};
    use crate::exit::{CpuMode, ExitKind, Instruction};
    use crate::inputs::InputChunk;
    use crate::timing;

    fn sites() -> Vec<Site> {
        let instruction =
            Instruction { address: Gva(0x1000), bytes: vec![0xec], mode: CpuMode::Long64, cpl: 0 };
        let site = |size, rep| Site {
            kind: ExitKind::PortRead,
            address: 0x3f8,
            size,
            rep,
            instruction: instruction.clone(),
        };
        vec![site(1, false), site(4, false), site(2, true)]
    }

    fn exit(site: u32, value: u64, bulk: u32, number: u64) -> RawExit {
        let spent = Timing { guest: 100 + number, vmm: 10 + number };
        let registers = Registers { general: [number; 16], rip: 0x1000, rflags: 2 };
        RawExit { registers, spent, site, bulk, value, fault: false }
    }

    fn note(batch: &mut Batch, exit: RawExit) {
        *batch.next_exit() = exit;
    }

    #[test]
    fn what_was_noted_is_what_is_decoded() {
        let mut encoder = BatchEncoder::default();
        encoder.sites(sites());
        let mut batch = Batch::with_room(2);
        note(&mut batch, exit(0, 0x60, 0, 0));
        batch.event(Event::Interrupt { vector: 8 });
        batch.bulk(&[1, 2, 3, 4]);
        note(&mut batch, exit(2, 0, 4, 1));
        note(&mut batch, exit(2, 0x0201, 0, 2));
        batch.event(Event::Nmi);
        note(&mut batch, exit(1, 0x0403_0201, 0, 3));
        batch.event(Event::WindowRequested);
        let encoded = encoder.encode(&mut batch);
        assert!(batch.is_empty());
        let inputs = InputChunk::decode(0, &encoded.inputs, &sites()).unwrap();
        let data: Vec<_> = inputs.exits().map(|e| e.data.to_vec()).collect();
        assert_eq!(data, [vec![0x60], vec![1, 2, 3, 4], vec![1, 2], vec![1, 2, 3, 4]]);
        let events: Vec<_> = inputs.events().map(|(exit, event)| (exit, event.clone())).collect();
        assert_eq!(
            events,
            [(0, Event::Interrupt { vector: 8 }), (2, Event::Nmi), (3, Event::WindowRequested)]
        );
        let digests =
            DigestDecoder::default().decode(0, &encoded.digests, inputs.exits().map(|e| e.site)).unwrap();
        assert_eq!(digests.registers[3], compared(&exit(1, 0, 0, 3).registers));
    }

    #[test]
    fn events_without_bytes_fill_a_batch_too() {
        let mut batch = Batch::with_room(1);
        let read = Event::FileRead { gpa: 0, file: 0, offset: 0, length: 1, xxh3: 0 };
        (0..1000).for_each(|_| batch.event(read.clone()));
        assert!(batch.bulk_bytes() >= 16_000);
        batch.clear();
        assert_eq!(batch.bulk_bytes(), 0);
    }

    #[test]
    fn the_time_outside_of_an_exit_is_noted_at_the_next_one_whichever_batch_that_is_in() {
        let mut encoder = BatchEncoder::default();
        encoder.sites(sites());
        let mut timings = Vec::new();
        for numbers in [0..2, 2..3] {
            let mut batch = Batch::with_room(2);
            numbers.for_each(|n| note(&mut batch, exit(0, 0, 0, n)));
            let encoded = encoder.encode(&mut batch);
            assert_eq!(encoded.first_timing, timings.len() as u64);
            timings.extend(timing::decode(&encoded.timings).unwrap());
        }
        let (first, last) = encoder.last_timing();
        assert_eq!(first, 2);
        timings.extend(timing::decode(&last).unwrap());
        let expected = [(100, 11), (101, 12), (102, 0)].map(|(guest, vmm)| Timing { guest, vmm });
        assert_eq!(timings, expected);
    }
}
