//! Reading all that a trace has, as the verbs do.

use std::path::Path;
use trapline_formats::memory::{PAGE_BYTES, page_hash};
use trapline_formats::{Trace, TraceError, printable};

/// Reads everything. What is read must be what was promised: exits in their order, sites that exist, whole pages. `None` where the file
/// does not open.
pub fn read_all(path: &Path) -> Option<Trace> {
    let trace = match Trace::open(path) {
        Ok(trace) => trace,
        Err(error) => {
            drop(error.to_string());
            return None;
        }
    };
    let _ = trace.start_state();
    let _ = trace.start_memory(|_, page| assert_eq!(page.len(), PAGE_BYTES));
    let exits = exits(&trace);
    trace.timing().for_each(|chunk| drop(chunk));
    for text in trace.console().flatten().flatten() {
        assert!(!printable(&text.bytes, false).chars().any(char::is_control));
    }
    let _ = keyframes(&trace);
    let _ = trace.check();
    // From the middle, as a seek does.
    for start in [1, exits / 2, exits, u64::MAX] {
        for chunk in trace.inputs_with_digests_from(start).map_while(Result::ok) {
            chunk.0.exits().for_each(|exit| assert!((exit.site as usize) < trace.sites().len()));
        }
    }
    Some(trace)
}

/// Exits up to the first damage.
fn exits(trace: &Trace) -> u64 {
    let mut next = 0;
    for (inputs, digests) in trace.inputs_with_digests().map_while(Result::ok) {
        assert_eq!(digests.registers.len(), inputs.len());
        assert!(inputs.events().all(|(exit, _)| exit < next + inputs.len().max(1) as u64));
        for exit in inputs.exits() {
            assert_eq!(exit.index, next);
            let site = &trace.sites()[exit.site as usize];
            assert!(site.rep || exit.data.len() <= 8);
            next += 1;
        }
    }
    next
}

fn keyframes(trace: &Trace) -> Result<(), TraceError> {
    let keyframes = trace.keyframes();
    for number in 0..keyframes.len() {
        let exit = keyframes.exit(number).expect("each has one");
        assert!(keyframes.before(exit).is_none_or(|before| before < keyframes.len()));
        let (Some(keyframe), Some(changes)) = (keyframes.read(number)?, keyframes.changes(number)?) else {
            panic!("keyframe {number} of {} is not there", keyframes.len());
        };
        assert_eq!((keyframe.number, keyframe.changes), (number, changes.len() as u64));
        // Ascending, as the reader promises.
        let hashes: Vec<_> = changes.iter().map(|c| (c.page, c.hash)).collect();
        let mut loaded = 0;
        keyframes.load(changes, |page, content| {
            assert_eq!(content.len(), PAGE_BYTES);
            assert!(hashes.binary_search(&(page, page_hash(content))).is_ok());
            loaded += 1;
        })?;
        assert_eq!(loaded, hashes.len());
    }
    assert!(keyframes.read(keyframes.len())?.is_none());
    Ok(())
}
