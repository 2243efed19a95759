//! An inputs block: exits and events, with a dictionary in which there are sites that no recorder writes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use trapline_formats::{Event, InputChunk, InputEncoder, Site};
use trapline_formats_fuzz::{ExitsInput, MIB, dictionary, within};

static SITES: LazyLock<Vec<Site>> = LazyLock::new(dictionary);

/// What a chunk says.
type Said = (Vec<(u64, u32, Vec<u8>, bool)>, Vec<(u64, Event)>);

fn said(chunk: &InputChunk) -> Said {
    let exits = chunk.exits().map(|e| (e.index, e.site, e.data.to_vec(), e.fault)).collect();
    (exits, chunk.events().map(|(exit, event)| (exit, event.clone())).collect())
}

/// The same in a chunk of its own. Events before the first exit follow an exit of the chunk before, as those after it do where
/// there is none: they are told by their number alone.
fn encoded(chunk: &InputChunk) -> Vec<u8> {
    let mut encoder = InputEncoder::new();
    let mut events = chunk.events().peekable();
    for exit in chunk.exits() {
        while let Some((_, event)) = events.next_if(|(after, _)| *after < exit.index) {
            encoder.event(event);
        }
        encoder.exit(exit.site, &SITES[exit.site as usize], exit.data, exit.fault);
    }
    events.for_each(|(_, event)| encoder.event(event));
    encoder.take()
}

fuzz_target!(|bytes: &[u8]| {
    let Some(input) = ExitsInput::of(bytes) else { return };
    LazyLock::force(&SITES);
    within(4 * MIB, || {
        let Ok(chunk) = InputChunk::decode(input.first_exit, input.chunk, &SITES) else { return };
        assert!(chunk.exit(chunk.len()).is_none());
        let again = InputChunk::decode(input.first_exit, &encoded(&chunk), &SITES).expect("what was encoded");
        assert_eq!(said(&again), said(&chunk));
    });
});
