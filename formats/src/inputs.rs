//! The input stream: exits with their data, and the events placed after them.
//!
//! A chunk is decoded on its own: all predictions start anew in it. One record is
//! ```text
//! record := 0 event                      what the host did after the exit before
//!         | 1 body                       an exit at the site that followed the last site the last time
//!         | site+2 body                  an exit at this site
//! body   := (nothing)                    where the kind has no data
//!         | delta                        one element: difference to the last value at this site
//!         | count byte*                  REP: number of elements, then their bytes
//!         ; MSR accesses add one byte: 1 if the access raised #GP
//! ```
//! Predictions are what makes a polling loop cost two bytes an exit before compression and almost none after.

use crate::error::Malformed;
use crate::exit::{Event, Exit, Site};
use crate::held_tsc::HeldTsc;
use crate::varint::{Cursor, put, put_delta};

/// No chunk has more exits than this: what a reader must be ready to hold.
pub(crate) const MAX_EXITS: usize = 1 << 18;
/// Nor more events: each may take a byte in the file, and dozens in memory.
const MAX_EVENTS: usize = 1 << 18;

const EVENT: u64 = 0;
const PREDICTED: u64 = 1;
const FIRST_SITE: u64 = 2;

/// What is predicted for one site.
#[derive(Debug, Clone, Copy, Default)]
struct Prediction {
    chunk: u32,
    value: u64,
    /// Next site plus one; 0 for none.
    successor: u32,
}

/// No site: the state at the start of a chunk.
const NONE: u32 = u32::MAX;

/// Predictions of both sides; entries of an older chunk count as empty.
#[derive(Debug)]
struct Predictor {
    chunk: u32,
    sites: Vec<Prediction>,
    last: u32,
}

impl Predictor {
    fn new() -> Self {
        Self { chunk: 1, sites: Vec::new(), last: NONE }
    }

    fn next_chunk(&mut self) {
        self.chunk += 1;
        self.last = NONE;
    }

    /// The prediction for a site, empty at its first visit in the chunk.
    #[inline]
    fn of(&mut self, site: u32) -> &mut Prediction {
        let i = site as usize;
        if self.sites.get(i).is_none_or(|p| p.chunk != self.chunk) {
            self.forget(i);
        }
        &mut self.sites[i]
    }

    #[cold]
    fn forget(&mut self, i: usize) {
        if i >= self.sites.len() {
            self.sites.resize(i + 1, Prediction::default());
        }
        self.sites[i] = Prediction { chunk: self.chunk, ..Prediction::default() };
    }

    /// The site that followed the last one the last time.
    fn predicted(&self) -> Option<u32> {
        self.sites.get(self.last as usize)?.successor.checked_sub(1)
    }

    /// Goes on to a site; says whether it was predicted.
    #[inline]
    fn follow(&mut self, site: u32) -> bool {
        let next = site + 1;
        // The last site was visited in this chunk: its entry is no older.
        let was = self.sites.get_mut(self.last as usize).map(|p| std::mem::replace(&mut p.successor, next));
        self.last = site;
        was == Some(next)
    }
}

/// Up to eight bytes, little-endian, as a number. By width: a copy of unknown length is a call.
#[inline]
pub fn scalar(data: &[u8]) -> u64 {
    match *data {
        [a] => a.into(),
        [a, b] => u16::from_le_bytes([a, b]).into(),
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]).into(),
        _ => {
            let mut bytes = [0; 8];
            bytes[..data.len()].copy_from_slice(data);
            u64::from_le_bytes(bytes)
        }
    }
}

/// Encodes exits and events into chunks.
#[derive(Debug)]
pub struct InputEncoder {
    predictor: Predictor,
    bytes: Vec<u8>,
    exits: u32,
}

impl Default for InputEncoder {
    fn default() -> Self {
        Self { predictor: Predictor::new(), bytes: Vec::new(), exits: 0 }
    }
}

impl InputEncoder {
    /// An encoder at the start of its first chunk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an exit. `data` holds whole elements of the site's size; one, unless the site repeats.
    #[inline]
    pub fn exit(&mut self, id: u32, site: &Site, data: &[u8], fault: bool) {
        self.exits += 1;
        let is_predicted = self.predictor.follow(id);
        let prediction = self.predictor.of(id);
        let value = if site.rep { 0 } else { scalar(data) };
        let is_plain = site.kind.has_data() && !site.rep && !site.kind.may_fault();
        if is_predicted && is_plain && prediction.value == value {
            // A polling loop goes through here.
            self.bytes.extend_from_slice(&[PREDICTED as u8, 0]);
            return;
        }
        let predicted_value = std::mem::replace(&mut prediction.value, value);
        if is_predicted {
            self.bytes.push(PREDICTED as u8);
        } else {
            put(&mut self.bytes, u64::from(id) + FIRST_SITE);
        }
        if !site.kind.has_data() {
            return;
        }
        if site.rep {
            put(&mut self.bytes, (data.len() / usize::from(site.size.max(1))) as u64);
            self.bytes.extend_from_slice(data);
        } else {
            put_delta(&mut self.bytes, value, predicted_value);
        }
        if site.kind.may_fault() {
            self.bytes.push(fault.into());
        }
    }

    /// Appends an event after the last exit.
    pub fn event(&mut self, event: &Event) {
        put(&mut self.bytes, EVENT);
        match event {
            Event::Interrupt { vector } => self.bytes.extend_from_slice(&[0, *vector]),
            Event::Nmi => self.bytes.push(1),
            Event::WindowRequested => self.bytes.push(2),
            Event::WindowCancelled => self.bytes.push(3),
            Event::Checkpoint => self.bytes.push(4),
            Event::TaskPriority { cr8 } => self.bytes.extend_from_slice(&[5, *cr8]),
            Event::MemoryWrite { gpa, bytes } => {
                self.bytes.push(6);
                put(&mut self.bytes, *gpa);
                put(&mut self.bytes, bytes.len() as u64);
                self.bytes.extend_from_slice(bytes);
            }
            Event::Jump { rip } => {
                self.bytes.push(7);
                put(&mut self.bytes, *rip);
            }
            Event::FileRead { gpa, file, offset, length, xxh3 } => {
                self.bytes.push(8);
                for number in [*gpa, u64::from(*file), *offset, u64::from(*length)] {
                    put(&mut self.bytes, number);
                }
                self.bytes.extend_from_slice(&xxh3.to_le_bytes());
            }
            Event::Keyframe { number, carried } => {
                self.bytes.extend_from_slice(&[9, u8::from(*carried)]);
                put(&mut self.bytes, u64::from(*number));
            }
        }
    }

    /// Exits in the chunk so far.
    pub fn exits(&self) -> u32 {
        self.exits
    }

    /// Bytes of the chunk so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the chunk is empty.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes the chunk and starts the next.
    pub fn take(&mut self) -> Vec<u8> {
        self.predictor.next_chunk();
        self.exits = 0;
        std::mem::take(&mut self.bytes)
    }
}

#[derive(Debug, Clone, Copy)]
struct Row {
    site: u32,
    start: u32,
    end: u32,
    fault: bool,
}

/// A decoded chunk of the input stream.
#[derive(Debug, Default)]
pub struct InputChunk {
    /// Number of its first exit.
    pub first_exit: u64,
    rows: Vec<Row>,
    data: Vec<u8>,
    /// Events, each with the number of exits of the chunk before it; ascending.
    events: Vec<(u32, Event)>,
    /// What the guest's TSC showed, where it was held.
    pub held: Option<HeldTsc>,
}

impl InputChunk {
    /// Decodes a chunk with the dictionary of sites.
    pub fn decode(first_exit: u64, bytes: &[u8], sites: &[Site]) -> Result<Self, Malformed> {
        let mut chunk = Self { first_exit, ..Self::default() };
        let mut predictor = Predictor::new();
        let mut cursor = Cursor::new(bytes);
        while !cursor.is_empty() {
            match cursor.varint()? {
                EVENT if chunk.events.len() >= MAX_EVENTS => {
                    return Err(Malformed("a chunk holds more events than any chunk may"));
                }
                EVENT => chunk.events.push((chunk.rows.len() as u32, decode_event(&mut cursor)?)),
                token => {
                    let id = match token {
                        PREDICTED => {
                            predictor.predicted().ok_or(Malformed("an exit is predicted by nothing"))?
                        }
                        token => u32::try_from(token - FIRST_SITE).map_err(|_| UNKNOWN_SITE)?,
                    };
                    let site = sites.get(id as usize).ok_or(UNKNOWN_SITE)?;
                    predictor.follow(id);
                    predictor.of(id);
                    chunk.decode_exit(&mut cursor, &mut predictor, id, site)?;
                }
            }
        }
        // The number behind the last exit is one, too.
        first_exit
            .checked_add(chunk.rows.len() as u64)
            .ok_or(Malformed("an exit has an impossible number"))?;
        Ok(chunk)
    }

    fn decode_exit(
        &mut self,
        cursor: &mut Cursor<'_>,
        predictor: &mut Predictor,
        id: u32,
        site: &Site,
    ) -> Result<(), Malformed> {
        let start = self.data.len() as u32;
        let mut fault = false;
        if site.kind.has_data() {
            let size = usize::from(site.size);
            if site.rep {
                let count = usize::try_from(cursor.varint()?).map_err(|_| LONG_REP)?;
                self.data.extend_from_slice(cursor.take(count.checked_mul(size).ok_or(LONG_REP)?)?);
            } else {
                let prediction = predictor.of(id);
                prediction.value = cursor.delta(prediction.value)?;
                let bytes = prediction.value.to_le_bytes();
                self.data
                    .extend_from_slice(bytes.get(..size).ok_or(Malformed("a site is wider than 8 bytes"))?);
            }
            if site.kind.may_fault() {
                fault = cursor.byte()? != 0;
            }
        }
        if self.rows.len() >= MAX_EXITS {
            return Err(Malformed("a chunk holds more exits than any chunk may"));
        }
        self.rows.push(Row { site: id, start, end: self.data.len() as u32, fault });
        Ok(())
    }

    /// Number of exits.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether the chunk holds no exit.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The `i`-th exit of the chunk.
    pub fn exit(&self, i: usize) -> Option<Exit<'_>> {
        let row = self.rows.get(i)?;
        Some(Exit {
            index: self.first_exit + i as u64,
            site: row.site,
            data: &self.data[row.start as usize..row.end as usize],
            fault: row.fault,
        })
    }

    /// All exits of the chunk, in order.
    pub fn exits(&self) -> impl Iterator<Item = Exit<'_>> {
        (0..self.rows.len()).filter_map(|i| self.exit(i))
    }

    /// All events of the chunk: (number of the exit they follow, event). Events before the very first exit of a trace
    /// do not exist.
    pub fn events(&self) -> impl Iterator<Item = (u64, &Event)> {
        self.events
            .iter()
            .map(|(before, event)| ((self.first_exit + u64::from(*before)).saturating_sub(1), event))
    }
}

const UNKNOWN_SITE: Malformed = Malformed("an exit names a site that the dictionary does not have");
const LONG_REP: Malformed = Malformed("a repeated access is longer than its block");

fn decode_event(cursor: &mut Cursor<'_>) -> Result<Event, Malformed> {
    Ok(match cursor.byte()? {
        0 => Event::Interrupt { vector: cursor.byte()? },
        1 => Event::Nmi,
        2 => Event::WindowRequested,
        3 => Event::WindowCancelled,
        4 => Event::Checkpoint,
        5 => match cursor.byte()? {
            cr8 @ 0..=15 => Event::TaskPriority { cr8 },
            _ => return Err(Malformed("a task priority is none: CR8 has four bits")),
        },
        6 => {
            let (gpa, length) = (cursor.varint()?, cursor.varint()?);
            Event::MemoryWrite { gpa, bytes: cursor.take(write_length(length)?)?.into() }
        }
        7 => Event::Jump { rip: cursor.varint()? },
        8 => Event::FileRead {
            gpa: cursor.varint()?,
            file: u32::try_from(cursor.varint()?)
                .map_err(|_| Malformed("a file has an impossible number"))?,
            offset: cursor.varint()?,
            length: write_length(cursor.varint()?)? as u32,
            xxh3: cursor.u64()?,
        },
        9 => {
            let carried = match cursor.byte()? {
                flag @ 0..=1 => flag != 0,
                _ => return Err(Malformed("a keyframe is carried or not")),
            };
            let number = u32::try_from(cursor.varint()?)
                .map_err(|_| Malformed("a keyframe has an impossible number"))?;
            Event::Keyframe { number, carried }
        }
        _ => return Err(Malformed("an event is of a kind that this version does not know")),
    })
}

fn write_length(length: u64) -> Result<usize, Malformed> {
    let is_possible = length <= Event::LONGEST_WRITE as u64;
    is_possible.then_some(length as usize).ok_or(Malformed("a write into guest memory is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Gva;
    use crate::exit::{CpuMode, ExitKind, Instruction};
    use proptest::prelude::*;

    fn site(kind: ExitKind, size: u8, rep: bool) -> Site {
        let instruction =
            Instruction { address: Gva(0x1000), bytes: vec![0xec], mode: CpuMode::Long64, cpl: 0 };
        Site { kind, address: 0x3f8, size, rep, instruction }
    }

    fn sites() -> Vec<Site> {
        vec![
            site(ExitKind::PortRead, 1, false),
            site(ExitKind::PortRead, 4, false),
            site(ExitKind::PortRead, 2, true),
            site(ExitKind::MsrRead, 8, false),
            site(ExitKind::Halt, 0, false),
        ]
    }

    /// An event of each kind, by a byte.
    fn event(byte: u8) -> Event {
        match byte % 10 {
            0 => Event::Interrupt { vector: byte },
            1 => Event::Nmi,
            2 => Event::WindowRequested,
            3 => Event::WindowCancelled,
            4 => Event::Checkpoint,
            5 => Event::MemoryWrite { gpa: u64::from(byte) << 40, bytes: vec![byte; 3000].into() },
            6 => Event::Jump { rip: u64::MAX - u64::from(byte) },
            7 => Event::FileRead {
                gpa: 1,
                file: 2,
                offset: u64::MAX,
                length: 512,
                xxh3: u64::from(byte) << 50,
            },
            8 => Event::Keyframe { number: u32::from(byte) << 20, carried: byte >= 128 },
            _ => Event::TaskPriority { cr8: byte >> 4 },
        }
    }

    proptest! {
        #[test]
        fn every_sequence_of_exits_and_events_survives(
            steps in prop::collection::vec((0u32..5, any::<u64>(), 0usize..5, any::<bool>(), any::<Option<u8>>()), 0..200)
        ) {
            let sites = sites();
            let mut encoder = InputEncoder::new();
            let mut expected = Vec::new();
            let mut events = Vec::new();
            for (i, (id, value, count, fault, vector)) in steps.iter().enumerate() {
                let site = &sites[*id as usize];
                let data = if site.rep { vec![*value as u8; count * 2] }
                    else { value.to_le_bytes()[..usize::from(site.size)].to_vec() };
                let fault = *fault && site.kind.may_fault();
                encoder.exit(*id, site, &data, fault);
                expected.push((*id, data, fault));
                if let Some(byte) = vector {
                    encoder.event(&event(*byte));
                    events.push((7 + i as u64, event(*byte)));
                }
            }
            let chunk = InputChunk::decode(7, &encoder.take(), &sites).unwrap();
            let actual: Vec<_> = chunk.exits().map(|e| (e.site, e.data.to_vec(), e.fault)).collect();
            prop_assert_eq!(actual, expected);
            prop_assert_eq!(chunk.events().map(|(e, event)| (e, event.clone())).collect::<Vec<_>>(), events);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
            let _ = InputChunk::decode(0, &bytes, &sites());
        }
    }

    #[test]
    fn a_chunk_of_more_events_than_a_reader_holds_is_malformed() {
        let events = |number| InputChunk::decode(0, &[EVENT as u8, 1].repeat(number), &sites());
        assert!(events(MAX_EVENTS).is_ok());
        assert!(events(MAX_EVENTS + 1).is_err());
    }

    #[test]
    fn exits_of_numbers_beyond_64_bits_are_malformed() {
        let halts = |first_exit| InputChunk::decode(first_exit, &[6, 6], &sites());
        let last = halts(u64::MAX - 2).unwrap();
        assert_eq!(last.exits().map(|exit| exit.index).collect::<Vec<_>>(), [u64::MAX - 2, u64::MAX - 1]);
        assert!(halts(u64::MAX - 1).is_err() && halts(u64::MAX).is_err());
    }

    #[test]
    fn a_task_priority_that_cr8_cannot_hold_is_malformed() {
        let mut encoder = InputEncoder::new();
        encoder.event(&Event::TaskPriority { cr8: 16 });
        assert!(InputChunk::decode(0, &encoder.take(), &sites()).is_err());
    }

    #[test]
    fn a_polling_loop_costs_two_bytes_an_exit() {
        let sites = sites();
        let mut encoder = InputEncoder::new();
        for _ in 0..1000 {
            encoder.exit(0, &sites[0], &[0x60], false);
        }
        assert!(encoder.len() <= 2 * 1000 + 4, "{} bytes", encoder.len());
    }
}
