//! Perfetto track events (google/perfetto, protos/perfetto/trace): the vCPU in time.
//!
//! One track has a slice per exit, from where the guest stops to where it goes on, and in it the VMM's part; a second one the
//! waiting in HLT, a third one interrupts. Names are interned: they are sent once.

use super::profile::{Source, Written};
use super::proto::Message;
use crate::labels::is_idle;
use crate::moments::{Step, moments};
use crate::stacks::{Caller, Stacks};
use std::collections::BTreeSet;
use std::io::Write;

/// Tracks, by their identifiers.
const PROCESS: u64 = 1;
const EXITS: u64 = 2;
const IDLE: u64 = 3;
const INTERRUPTS: u64 = 4;
/// TrackEvent.Type.
const BEGIN: u64 = 1;
const END: u64 = 2;
const INSTANT: u64 = 3;
/// TracePacket.SequenceFlags.
const CLEARED: u64 = 1;
const NEEDS_STATE: u64 = 2;
/// The name of the VMM's part; sites follow it, then interrupts.
const VMM_NAME: u64 = 1;
const SITE_NAMES: u64 = 2;
const INTERRUPT_NAMES: u64 = 1 << 40;
/// No vector: an NMI.
const NMI: u64 = 256;

pub(super) fn write(source: &Source<'_>, out: &mut impl Write) -> Written {
    let mut stream = Stream { out, error: None, named: BTreeSet::new(), said: BTreeSet::new() };
    stream.tracks(&source.report.path().file_name().unwrap_or_default().to_string_lossy());
    moments(source.trace, &source.report.pricing, |step| {
        match step {
            Step::Exit(moment) => {
                let site = moment.site as usize;
                let label = source.labels.of(moment.site);
                let (start, end) = (moment.exit_ns(), moment.end_ns());
                let name = SITE_NAMES + u64::from(source.labels.number(moment.site));
                let text = || format!("{}: {}", label.function, label.target);
                if source.trace.sites().get(site).is_some_and(is_idle) {
                    stream.slice(IDLE, name, text, start, end);
                } else {
                    let callers = source.callers(moment.exit);
                    stream.begin_called(EXITS, name, text, callers, start);
                    stream.slice(EXITS, VMM_NAME, || "VMM".into(), moment.vmm_start_ns(), end);
                    stream.end(EXITS, end);
                }
            }
            Step::Interrupt { at_ns, vector } => {
                let number = vector.map_or(NMI, u64::from);
                let text = || vector.map_or("NMI".into(), |v| format!("interrupt {v:#x}"));
                stream.event(INSTANT, INTERRUPTS, Some((INTERRUPT_NAMES + number, &text)), at_ns);
            }
        }
        Ok(())
    })?;
    Ok(stream.error.map_or(Ok(()), Err))
}

struct Stream<'a, W> {
    out: &'a mut W,
    error: Option<std::io::Error>,
    /// Names that were sent.
    named: BTreeSet<u64>,
    /// Stacks that were sent.
    said: BTreeSet<u32>,
}

/// Interned strings count from 1.
fn stack_name(stack: u32) -> u64 {
    u64::from(stack) + 1
}

type Text<'a> = &'a dyn Fn() -> String;

impl<W: Write> Stream<'_, W> {
    fn packet(&mut self, packet: Message) {
        let packet = packet.number(10, 1);
        let trace = Message::default().message(1, &packet);
        if self.error.is_none() {
            self.error = self.out.write_all(trace.encoded()).err();
        }
    }

    fn tracks(&mut self, trace: &str) {
        let process =
            Message::default().number(1, 1).text(6, &trapline_formats::printable(trace.as_bytes(), false));
        let descriptor = Message::default().number(1, PROCESS).message(3, &process);
        self.packet(Message::default().message(60, &descriptor).number(13, CLEARED));
        for (track, name) in
            [(EXITS, "vCPU 0: exits"), (IDLE, "vCPU 0: waiting in HLT"), (INTERRUPTS, "interrupts")]
        {
            let descriptor = Message::default().number(1, track).text(2, name).number(5, PROCESS);
            self.packet(Message::default().message(60, &descriptor));
        }
    }

    fn slice(&mut self, track: u64, name: u64, text: impl Fn() -> String, start: u64, end: u64) {
        self.begin(track, name, text, start);
        self.end(track, end);
    }

    /// A slice that says who called.
    fn begin_called(
        &mut self,
        track: u64,
        name: u64,
        text: impl Fn() -> String,
        callers: Option<(u32, &Stacks)>,
        at_ns: u64,
    ) {
        let Some((stack, stacks)) = callers else { return self.begin(track, name, text, at_ns) };
        let said = self.said.insert(stack).then(|| {
            let path = stacks.callers(stack).map(Caller::label).collect::<Vec<_>>().join(" < ");
            // InternedData.debug_annotation_string_values.
            Message::default().message(29, &Message::default().number(1, stack_name(stack)).text(2, &path))
        });
        // DebugAnnotation: name, string_value_iid.
        let annotation = Message::default().text(10, "callers").number(17, stack_name(stack));
        self.event_with(BEGIN, track, Some((name, &text)), said, Some(annotation), at_ns);
    }

    fn begin(&mut self, track: u64, name: u64, text: impl Fn() -> String, at_ns: u64) {
        self.event(BEGIN, track, Some((name, &text)), at_ns);
    }

    fn end(&mut self, track: u64, at_ns: u64) {
        self.event(END, track, None, at_ns);
    }

    fn event(&mut self, kind: u64, track: u64, name: Option<(u64, Text<'_>)>, at_ns: u64) {
        self.event_with(kind, track, name, None, None, at_ns);
    }

    /// An event, what it needs interned beside its name, and an annotation.
    fn event_with(
        &mut self,
        kind: u64,
        track: u64,
        name: Option<(u64, Text<'_>)>,
        interned: Option<Message>,
        annotation: Option<Message>,
        at_ns: u64,
    ) {
        let mut event = Message::default().number(9, kind).number(11, track);
        let mut packet = Message::default().number(8, at_ns).number(13, NEEDS_STATE);
        if let Some((name, text)) = name {
            event = event.number(10, name);
            if self.named.insert(name) {
                let entry = Message::default().number(1, name).text(2, &text());
                packet = packet.message(12, &Message::default().message(2, &entry));
            }
        }
        if let Some(annotation) = annotation {
            event = event.message(4, &annotation);
        }
        // Fields that are given twice are merged.
        if let Some(interned) = interned {
            packet = packet.message(12, &interned);
        }
        self.packet(packet.message(11, &event));
    }
}
