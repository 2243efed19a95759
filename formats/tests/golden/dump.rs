//! A trace as JSON (SPEC.md, appendix B).

use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;
use trapline_formats::envelope::{BLOCK_HEADER_BYTES, BlockType, decode_payload};
use trapline_formats::memory::PAGE_BYTES;
use trapline_formats::{Content, Event, HeldTsc, Trace, decode_changes};

/// All that can be read of a trace.
pub fn dump(path: &Path) -> Value {
    let trace = Trace::open(path).unwrap();
    let (mut exits, mut events, mut registers, mut checkpoints) = (vec![], vec![], vec![], vec![]);
    let mut tsc = Vec::new();
    for chunk in trace.inputs_with_digests() {
        let (inputs, digests) = chunk.unwrap();
        exits.extend(inputs.exits().map(|e| json!([e.site, hex(e.data), e.fault])));
        tsc.extend(inputs.held.iter().flat_map(|held| held_json(inputs.first_exit, held)));
        events.extend(inputs.events().map(|(exit, event)| json!([exit, event_json(event)])));
        registers.extend(digests.registers);
        checkpoints.extend(digests.checkpoints);
    }
    let mut start_pages = Vec::new();
    trace.start_memory(|number, content| start_pages.push(json!([number, crc32c::crc32c(content)]))).unwrap();
    let texts = trace.console().flat_map(Result::unwrap);
    let keyframes = trace.keyframes();
    let (contents, changes) = keyframe_memory(path, &trace);
    let mut dump = json!({
        "blocks": trace.blocks().iter().map(|b| json!([b.header.kind, b.header.flags, b.header.raw, b.header.first_exit])).collect::<Vec<_>>(),
        "header": trace.header(),
        "start_state": trace.start_state().unwrap(),
        "start_pages": start_pages,
        "sites": trace.sites(),
        "exits": exits,
        "events": events,
        "timing": trace.timing().flat_map(|t| t.unwrap().1).map(|t| json!([t.guest, t.vmm])).collect::<Vec<_>>(),
        "registers": registers.iter().map(<[u64; 17]>::as_slice).collect::<Vec<_>>(),
        "checkpoints": checkpoints,
        "console": texts.map(|t| json!([t.exit, t.channel, hex(&t.bytes)])).collect::<Vec<_>>(),
        "contents": contents,
        "changes": changes,
        "keyframes": (0..keyframes.len()).map(|n| keyframes.read(n).unwrap().unwrap()).collect::<Vec<_>>(),
        "end": trace.end(),
        "index": trace.has_index().then(|| trace.blocks().len() - 2),
    });
    if !tsc.is_empty() {
        dump["tsc"] = json!(tsc);
    }
    dump
}

/// What the TSC showed in a chunk: exits before it, what it stands behind, and the value.
fn held_json(first_exit: u64, held: &HeldTsc) -> Vec<Value> {
    let mut all = vec![json!([first_exit, Value::Null, held.first])];
    all.extend(held.values.iter().map(|value| {
        let (exits, behind) = value.place();
        json!([first_exit + exits, behind, value.value])
    }));
    all
}

/// What keyframes change, as it stands in the file.
fn keyframe_memory(path: &Path, trace: &Trace) -> (Vec<u32>, Vec<Value>) {
    let file = std::fs::read(path).unwrap();
    let (mut contents, mut changes) = (Vec::new(), Vec::new());
    let mut number = 0;
    for block in trace.blocks() {
        let start = block.offset as usize + BLOCK_HEADER_BYTES;
        let stored = file[start..start + block.header.stored as usize].to_vec();
        match BlockType::from_number(block.header.kind) {
            Some(BlockType::Contents) => {
                let bytes = decode_payload(&block.header, stored).unwrap();
                contents.extend(bytes.chunks_exact(PAGE_BYTES).map(crc32c::crc32c));
            }
            Some(BlockType::Changes) => {
                let bytes = decode_payload(&block.header, stored).unwrap();
                changes.extend(decode_changes(number, &bytes).unwrap().into_iter().map(|change| {
                    let content = match change.content {
                        Content::Zeros => 0,
                        Content::Stored(content) => u64::from(content) + 1,
                    };
                    json!([number, change.page, format!("{:016x}", change.hash), content])
                }));
            }
            Some(BlockType::Keyframe) => number += 1,
            _ => {}
        }
    }
    (contents, changes)
}

fn event_json(event: &Event) -> Value {
    let named = |fields: Value| {
        let mut all = json!({"event": event.name()});
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        all
    };
    match event {
        Event::Interrupt { vector } => named(json!({"vector": vector})),
        Event::TaskPriority { cr8 } => named(json!({"cr8": cr8})),
        Event::MemoryWrite { gpa, bytes } => named(json!({"gpa": gpa, "bytes": hex(bytes)})),
        Event::Jump { rip } => named(json!({"rip": rip})),
        Event::FileRead { gpa, file, offset, length, xxh3 } => named(json!({
            "gpa": gpa, "file": file, "offset": offset, "length": length, "xxh3": format!("{xxh3:016x}"),
        })),
        Event::Keyframe { number, carried } => {
            json!({"event": "keyframe", "carried": carried, "number": number})
        }
        Event::Nmi | Event::WindowRequested | Event::WindowCancelled | Event::Checkpoint => named(json!({})),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
