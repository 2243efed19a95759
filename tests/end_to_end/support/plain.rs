//! A whole trace as plain values, to be compared, or changed and written again with checksums that are right.

use std::path::Path;
use trapline_formats::digests::{self, Checkpoint, Compared, DigestEncoder};
use trapline_formats::envelope::BlockType;
use trapline_formats::memory::{self, PAGES_PER_BLOCK};
use trapline_formats::{
    ConsoleEncoder, ConsoleText, CpuState, End, Event, Header, InputEncoder, Site, Timing, TimingEncoder,
    Trace, TraceWriter,
};

/// Exits in a chunk that is written.
const CHUNK: usize = 1000;

/// A trace.
#[derive(Debug, Clone)]
pub struct Plain {
    pub header: Header,
    pub start: CpuState,
    /// Pages at the start: (number, content).
    pub pages: Vec<(u64, Vec<u8>)>,
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
}

/// What the host did after an exit.
#[derive(Debug, Clone, PartialEq)]
pub enum PlainEvent {
    Plain(Event),
    Checkpoint(Box<Checkpoint>),
}

impl Plain {
    /// Decodes a whole trace.
    pub fn read(path: &Path) -> Self {
        let trace = Trace::open(path).unwrap();
        assert_eq!(trace.damage(), None);
        let mut pages = Vec::new();
        trace.start_memory(|number, content| pages.push((number, content.to_vec()))).unwrap();
        let mut exits: Vec<PlainExit> = Vec::new();
        for chunk in trace.inputs_with_digests() {
            let (inputs, digests) = chunk.unwrap();
            exits.extend(inputs.exits().zip(&digests.registers).map(|(exit, registers)| PlainExit {
                site: exit.site as usize,
                data: exit.data.to_vec(),
                fault: exit.fault,
                registers: *registers,
                events: Vec::new(),
            }));
            let mut checkpoints = digests.checkpoints.into_iter();
            for (index, event) in inputs.events() {
                exits[index as usize].events.push(match event {
                    Event::Checkpoint => PlainEvent::Checkpoint(Box::new(checkpoints.next().unwrap())),
                    event => PlainEvent::Plain(event.clone()),
                });
            }
        }
        Self {
            header: trace.header().clone(),
            start: trace.start_state().unwrap(),
            pages,
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
        for pages in self.pages.chunks(PAGES_PER_BLOCK) {
            block(BlockType::Memory, 0, memory::encode(pages.iter().map(|(n, p)| (*n, p.as_slice()))));
        }
        block(BlockType::Sites, 0, postcard::to_stdvec(&self.sites).unwrap());
        let mut timing = TimingEncoder::default();
        self.timing.iter().for_each(|t| timing.push(*t));
        block(BlockType::Timing, 0, timing.take());
        let mut console = ConsoleEncoder::default();
        self.console.iter().for_each(|t| console.push(t.exit, t.channel, &t.bytes));
        block(BlockType::Console, 0, console.take(0));
        let (mut inputs, mut digests) = (InputEncoder::new(), DigestEncoder::default());
        for (n, chunk) in self.exits.chunks(CHUNK).enumerate() {
            for exit in chunk {
                inputs.exit(exit.site as u32, &self.sites[exit.site], &exit.data, exit.fault);
                digests.exit(exit.site as u32, &digests::registers(&exit.registers));
                for event in &exit.events {
                    match event {
                        PlainEvent::Plain(event) => inputs.event(event),
                        PlainEvent::Checkpoint(checkpoint) => {
                            inputs.event(&Event::Checkpoint);
                            digests.checkpoint((**checkpoint).clone());
                        }
                    }
                }
            }
            let first = (n * CHUNK) as u64;
            block(BlockType::Digests, first, digests.take());
            block(BlockType::Inputs, first, inputs.take());
        }
        if let Some(end) = &self.end {
            block(BlockType::End, self.exits.len() as u64, postcard::to_stdvec(end).unwrap());
        }
        writer.finish().unwrap();
    }

    /// What crossed inward, and what the guest did about it: all that two recordings of one guest can have in common.
    pub fn stream(&self) -> Vec<(&Site, &[u8], bool, Vec<Event>)> {
        let events = |exit: &PlainExit| {
            exit.events
                .iter()
                .map(|event| match event {
                    PlainEvent::Plain(event) => event.clone(),
                    PlainEvent::Checkpoint(_) => Event::Checkpoint,
                })
                .collect()
        };
        self.exits
            .iter()
            .map(|exit| (&self.sites[exit.site], exit.data.as_slice(), exit.fault, events(exit)))
            .collect()
    }
}
