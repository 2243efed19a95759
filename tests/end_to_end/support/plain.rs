//! A whole trace as plain values, to be compared, or changed and written again with checksums that are right.

use std::path::Path;
use trapline_formats::digests::{self, Checkpoint, Compared, DigestEncoder};
use trapline_formats::envelope::BlockType;
use trapline_formats::memory::{PAGE_BYTES, page_hash};
use trapline_formats::{
    ConsoleEncoder, ConsoleText, CpuState, End, Event, Header, HeldTsc, HeldValue, InputEncoder, Keyframe,
    Pages, Site, Timing, TimingEncoder, Trace, TraceWriter,
};

/// Exits in a chunk that is written.
const CHUNK: usize = 1000;

/// Of each exit its site, data and fault, the events behind it, and what the TSC shows from there on, if that is another value.
pub type Stream<'t> = Vec<(&'t Site, &'t [u8], bool, Vec<Event>, Option<u64>)>;

/// A trace.
#[derive(Debug, Clone)]
pub struct Plain {
    pub header: Header,
    pub start: CpuState,
    /// Pages at the start: (number, content).
    pub pages: Vec<(u64, Vec<u8>)>,
    /// What the guest's TSC showed first, where it was held.
    pub tsc: Option<u64>,
    pub sites: Vec<Site>,
    pub exits: Vec<PlainExit>,
    pub console: Vec<ConsoleText>,
    pub timing: Vec<Timing>,
    pub end: Option<End>,
}

/// An exit.
#[derive(Debug, Clone, PartialEq)]
pub struct PlainExit {
    /// Its place in [`Plain::sites`].
    pub site: usize,
    pub data: Vec<u8>,
    pub fault: bool,
    pub registers: Compared,
    pub events: Vec<PlainEvent>,
    /// What the guest's TSC showed from here on, if that is another value.
    pub tsc: Option<u64>,
}

/// What the host did after an exit.
#[derive(Debug, Clone, PartialEq)]
pub enum PlainEvent {
    Plain(Event),
    Checkpoint(Box<Checkpoint>),
    Keyframe(Box<PlainKeyframe>),
}

/// A keyframe, with the pages that changed since the one before: (number, content).
#[derive(Debug, Clone, PartialEq)]
pub struct PlainKeyframe {
    pub keyframe: Keyframe,
    pub pages: Vec<(u64, Vec<u8>)>,
    /// As of an exit.
    pub tsc: Option<u64>,
}

impl Plain {
    /// Decodes a whole trace.
    pub fn read(path: &Path) -> Self {
        let trace = Trace::open(path).unwrap();
        assert_eq!(trace.damage(), None);
        let mut pages = Vec::new();
        trace.start_memory(|number, content| pages.push((number, content.to_vec()))).unwrap();
        let keyframes = trace.keyframes();
        let keyframe = |number| {
            let mut pages = Vec::new();
            let changes = keyframes.changes(number).unwrap().unwrap();
            keyframes.load(changes, |page, content| pages.push((page, content.to_vec()))).unwrap();
            pages.sort_unstable();
            let keyframe = keyframes.read(number).unwrap().unwrap();
            PlainEvent::Keyframe(Box::new(PlainKeyframe { keyframe, pages, tsc: None }))
        };
        let mut tsc = None;
        let mut exits: Vec<PlainExit> = Vec::new();
        for chunk in trace.inputs_with_digests() {
            let (inputs, digests) = chunk.unwrap();
            exits.extend(inputs.exits().zip(&digests.registers).map(|(exit, registers)| PlainExit {
                site: exit.site as usize,
                data: exit.data.to_vec(),
                fault: exit.fault,
                registers: *registers,
                events: Vec::new(),
                tsc: None,
            }));
            let mut checkpoints = digests.checkpoints.into_iter();
            for (index, event) in inputs.events() {
                exits[index as usize].events.push(match event {
                    Event::Checkpoint => PlainEvent::Checkpoint(Box::new(checkpoints.next().unwrap())),
                    Event::Keyframe { number, .. } => keyframe(*number),
                    event => PlainEvent::Plain(event.clone()),
                });
            }
            if let Some(held) = &inputs.held {
                tsc.get_or_insert(held.first);
                held.values.iter().for_each(|value| place_of(&mut exits, inputs.first_exit, value));
            }
        }
        Self {
            header: trace.header().clone(),
            start: trace.start_state().unwrap(),
            pages,
            tsc,
            sites: trace.sites().to_vec(),
            exits,
            console: trace.console().flat_map(Result::unwrap).collect(),
            timing: trace.timing().flat_map(|chunk| chunk.unwrap().1).collect(),
            end: trace.end().cloned(),
        }
    }

    /// Encodes it again.
    pub fn write(&self, path: &Path) {
        let mut writer = TraceWriter::create(path, true).unwrap();
        let mut block = |kind, first, payload: Vec<u8>| writer.block(kind, first, payload).unwrap();
        block(BlockType::Header, 0, postcard::to_stdvec(&self.header).unwrap());
        block(BlockType::StartState, 0, postcard::to_stdvec(&self.start).unwrap());
        in_blocks(&self.pages, |pages| writer.start_memory(pages).unwrap());
        writer.sites(0, self.sites.clone()).unwrap();
        self.write_keyframes(&mut writer);
        let mut block = |kind, first, payload: Vec<u8>| writer.block(kind, first, payload).unwrap();
        let mut timing = TimingEncoder::default();
        self.timing.iter().for_each(|t| timing.push(*t));
        block(BlockType::Timing, 0, timing.take());
        let mut console = ConsoleEncoder::default();
        self.console.iter().for_each(|t| console.push(t.exit, t.channel, &t.bytes));
        block(BlockType::Console, 0, console.take(0));
        let (mut inputs, mut digests) = (InputEncoder::new(), DigestEncoder::default());
        let mut tsc = self.tsc;
        for (n, chunk) in self.exits.chunks(CHUNK).enumerate() {
            let mut held = HeldTsc { first: tsc.unwrap_or_default(), values: Vec::new() };
            for (exits, exit) in (1..).zip(chunk) {
                let mut hold = |keyframe, value: Option<u64>| {
                    held.values.extend(value.map(|value| HeldValue { exits, keyframe, value }));
                };
                hold(None, exit.tsc);
                inputs.exit(exit.site as u32, &self.sites[exit.site], &exit.data, exit.fault);
                digests.exit(exit.site as u32, &digests::registers(&exit.registers));
                for event in &exit.events {
                    match event {
                        PlainEvent::Plain(event) => inputs.event(event),
                        PlainEvent::Checkpoint(checkpoint) => {
                            inputs.event(&Event::Checkpoint);
                            digests.checkpoint((**checkpoint).clone());
                        }
                        PlainEvent::Keyframe(plain) => {
                            let Keyframe { number, carried, .. } = plain.keyframe;
                            inputs.event(&Event::Keyframe { number, carried });
                            hold(Some(number), plain.tsc);
                        }
                    }
                }
            }
            let first = (n * CHUNK) as u64;
            if tsc.is_some() {
                tsc = Some(held.last());
                block(BlockType::HeldTsc, first, held.encode());
            }
            block(BlockType::Digests, first, digests.take());
            block(BlockType::Inputs, first, inputs.take());
        }
        if let Some(end) = &self.end {
            block(BlockType::End, self.exits.len() as u64, postcard::to_stdvec(end).unwrap());
        }
        writer.index().unwrap();
        writer.finish().unwrap();
    }

    fn write_keyframes(&self, writer: &mut TraceWriter) {
        for event in self.exits.iter().flat_map(|exit| &exit.events) {
            let PlainEvent::Keyframe(plain) = event else { continue };
            in_blocks(&plain.pages, |pages| writer.keyframe_pages(plain.keyframe.exit, pages).unwrap());
            let changes = plain.pages.len() as u64;
            writer.keyframe(Keyframe { changes, ..plain.keyframe.clone() }).unwrap();
        }
    }

    /// What crossed inward, and what the guest did about it: all that two recordings of one guest can have in common.
    pub fn stream(&self) -> Stream<'_> {
        let events = |exit: &PlainExit| {
            exit.events
                .iter()
                .map(|event| match event {
                    PlainEvent::Plain(event) => event.clone(),
                    PlainEvent::Checkpoint(_) => Event::Checkpoint,
                    PlainEvent::Keyframe(plain) => {
                        let Keyframe { number, carried, .. } = plain.keyframe;
                        Event::Keyframe { number, carried }
                    }
                })
                .collect()
        };
        self.exits
            .iter()
            .map(|exit| (&self.sites[exit.site], exit.data.as_slice(), exit.fault, events(exit), exit.tsc))
            .collect()
    }
}

/// Puts a value of the TSC where it stands.
fn place_of(exits: &mut [PlainExit], first_exit: u64, held: &HeldValue) {
    let exit = &mut exits[(first_exit + held.exits) as usize - 1];
    let Some(number) = held.keyframe else {
        exit.tsc = Some(held.value);
        return;
    };
    let keyframe = exit.events.iter_mut().find_map(|event| match event {
        PlainEvent::Keyframe(plain) if plain.keyframe.number == number => Some(plain),
        _ => None,
    });
    keyframe.unwrap().tsc = Some(held.value);
}

fn in_blocks(pages: &[(u64, Vec<u8>)], mut write: impl FnMut(Pages)) {
    let mut block = Pages::new();
    for (number, content) in pages {
        let content: &[u8; PAGE_BYTES] = content.as_slice().try_into().unwrap();
        block.push(*number, page_hash(content), content);
        if block.is_full() {
            write(std::mem::replace(&mut block, Pages::new()));
        }
    }
    if !block.is_empty() {
        write(block);
    }
}
