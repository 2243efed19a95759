//! Recorders that are killed, disks that fill, writes that fail, files that are cut: what was written is there, and replays.
//!
//! How much a killed recorder lost is measured by what its guest had printed: every line reached us before it was lost.

use crate::guests::IDLE_TICKS;
use crate::program::{Folder, Ran, kvm};
use fastrand::Rng;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use trapline_formats::Trace;

/// A SIGKILL may cost so much of a recording.
const MOST_LOST: Duration = Duration::from_secs(1);

/// Polls 500 times, prints a line, for ever: `mov dx, 0x402; l: mov ecx, 500; p: in al, 0x80; dec ecx; jnz p; mov al, 'x';
/// out dx, al; mov al, 10; out dx, al; jmp l`. In 64-bit mode.
const POLLS: &[u8] = &[
    0x66, 0xba, 0x02, 0x04, 0xb9, 0xf4, 0x01, 0, 0, 0xe4, 0x80, 0xff, 0xc9, 0x75, 0xfa, 0xb0, b'x', 0xee,
    0xb0, 0x0a, 0xee, 0xeb, 0xed,
];
/// Computes for tens of milliseconds, prints a line, for ever: the same without the port.
const COMPUTES: &[u8] = &[
    0x66, 0xba, 0x02, 0x04, 0xb9, 0, 0, 0, 0x04, 0xff, 0xc9, 0x75, 0xfc, 0xb0, b'x', 0xee, 0xb0, 0x0a, 0xee,
    0xeb, 0xef,
];

/// Prints a line at each of 18 timer ticks a second, and halts in between: `IDLE_TICKS` with `cli` and the same output behind its
/// HLT, and its handler so much further on.
fn ticks() -> Vec<u8> {
    const HLT: usize = 0x2b;
    let printed = [0xfa, 0xba, 0x02, 0x04, 0xb0, b'x', 0xee, 0xb0, 0x0a, 0xee, 0xeb, 0xf2];
    let handler = &IDLE_TICKS[HLT + 3..];
    let mut image = [&IDLE_TICKS[..=HLT], &printed, handler].concat();
    image[4] += printed.len() as u8 - 2;
    image
}

#[test]
fn recorders_killed_at_random_moments_lose_less_than_a_second_and_the_rest_replays() {
    if !kvm() {
        return;
    }
    let kills = if std::env::var("TRAPLINE_MATRIX").is_ok_and(|m| m == "full") { 100 } else { 9 };
    let mut random = Rng::with_seed(0x7261_7020);
    let guests =
        [("polls", "64", POLLS.to_vec()), ("computes", "64", COMPUTES.to_vec()), ("ticks", "16", ticks())];
    let mut most = Duration::ZERO;
    for kill in 0..kills {
        let (name, mode, image) = &guests[kill % guests.len()];
        let moment = Duration::from_millis(random.u64(20..2500));
        let lost = kill_and_look(mode, image, moment);
        most = most.max(lost);
        assert!(lost <= MOST_LOST, "{name}, killed after {moment:?}: {lost:?} of it are lost");
    }
    eprintln!("{kills} kills: at most {} ms of a recording lost", most.as_millis());
}

/// Records a guest, kills the recorder after a while, and says how much time of what its guest printed is not in the trace.
fn kill_and_look(mode: &str, image: &[u8], moment: Duration) -> Duration {
    let folder = Folder::new();
    folder.file("guest.bin", image);
    let record = ["record", "--flat", "guest.bin", "--mode", mode, "--memory", "1M", "--timeout", "60s"];
    let mut child = folder.command(&record).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let reader =
        std::thread::spawn(move || out.lines().map_while(Result::ok).map(|_| now()).collect::<Vec<_>>());
    std::thread::sleep(moment);
    let flushed = std::fs::metadata(folder.path("run.trap")).map_or(0, |m| m.len());
    let killed = now();
    child.kill().unwrap();
    child.wait().unwrap();
    let printed = reader.join().unwrap();
    let kept = readable_part(&folder, flushed);
    printed.get(kept).map_or(Duration::ZERO, |first_lost| killed.saturating_duration_since(*first_lost))
}

/// Checks the readable part of a trace whose recorder was killed: lines that the guest printed in it.
fn readable_part(folder: &Folder, flushed: u64) -> usize {
    let path = folder.path("run.trap");
    let Ok(trace) = Trace::open(&path) else {
        // Not even the header was there: then nothing may have been flushed behind it.
        assert!(flushed < 1 << 20, "{flushed} bytes were written, and none can be read");
        return 0;
    };
    assert!(trace.end().is_none());
    if let Some(damage) = trace.damage() {
        assert!(damage.reason.contains("the file ends inside a block"), "{damage:?}");
    }
    let exits = whole_exits(&trace);
    let texts = trace.console().flat_map(Result::unwrap).filter(|text| text.exit < exits);
    let lines = texts.map(|text| text.bytes.split(|b| *b == b'\n').count() - 1).sum();
    let inspected = folder.run(&["inspect", "run.trap"]);
    inspected.says(if trace.damage().is_some() { 2 } else { 0 }, &["the end is missing"]);
    if exits == 0 {
        folder.run(&["replay", "run.trap"]).says(2, &["the trace holds no whole exit"]);
        return lines;
    }
    let last = (exits - 1).to_string();
    folder.run(&["replay", "run.trap", "--until", &last]).says(0, &[&format!("faithful: {exits} exits")]);
    lines
}

/// Exits whose inputs and digests are both there.
fn whole_exits(trace: &Trace) -> u64 {
    trace.inputs_with_digests().map_while(Result::ok).map(|(inputs, _)| inputs.len() as u64).sum()
}

#[expect(clippy::disallowed_methods, reason = "what is lost is measured in host time")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn a_write_that_fails_at_any_length_leaves_what_was_written() {
    if !kvm() {
        return;
    }
    let mut replayed = 0;
    // In blocks of 512 bytes or 1 KiB, as the shell has it.
    for blocks in [1, 2, 3, 4, 6, 9, 13, 19, 28, 41, 60, 80] {
        let folder = Folder::new();
        folder.file("guest.bin", POLLS);
        let limited = Command::new("sh")
            .arg("-c")
            .arg(format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\""))
            .arg(folder.command(&[]).get_program())
            .args(["record", "--flat", "guest.bin", "--memory", "1M", "--max-exits", "100000", "--quiet"])
            .current_dir(folder.path(""))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let ran = Ran::of(limited);
        ran.says(2, &["the recording failed", "cannot write", "File too large"]);
        let path = folder.path("run.trap");
        let Ok(trace) = Trace::open(&path) else {
            folder.run(&["inspect", "run.trap"]).says(2, &["run.trap"]);
            continue;
        };
        // A part of a block is cut off again.
        assert_eq!(trace.damage(), None, "{blocks}");
        ran.says(2, &["run.trap is readable up to where it was written"]);
        let exits = whole_exits(&trace);
        folder.run(&["inspect", "run.trap"]).says(0, &["the end is missing"]);
        if exits > 0 {
            let last = (exits - 1).to_string();
            folder
                .run(&["replay", "run.trap", "--until", &last])
                .says(0, &[&format!("faithful: {exits} exits")]);
            replayed += 1;
        }
    }
    assert!(replayed >= 3, "most of them came to some exits");
}

#[test]
fn a_device_that_is_always_full_is_told() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder.file("guest.bin", POLLS);
    let full = ["record", "--flat", "guest.bin", "--max-exits", "100", "--force", "-o", "/dev/full"];
    folder.run(&full).says(2, &["/dev/full", "No space left on device"]);
}

#[test]
fn a_trace_cut_at_a_thousand_random_bytes_is_readable_up_to_its_last_whole_chunk() {
    if !kvm() {
        return;
    }
    let folder = Folder::new();
    folder.file("guest.bin", POLLS);
    let record =
        ["record", "--flat", "guest.bin", "--memory", "1M", "--clock", "virtual", "--max-exits", "30000"];
    folder.run(&record).says(0, &[]);
    let path = folder.path("run.trap");
    let whole = std::fs::read(&path).unwrap();
    let chunks = chunk_ends(&path);
    let cut = folder.path("cut.trap");
    let mut random = Rng::with_seed(0x6375_7420);
    let mut replayed = std::collections::BTreeSet::new();
    for _ in 0..1000 {
        let length = random.usize(..whole.len());
        std::fs::write(&cut, &whole[..length]).unwrap();
        let expected = chunks.iter().rfind(|(end, _)| *end <= length as u64).map_or(0, |(_, exits)| *exits);
        let Ok(trace) = Trace::open(&cut) else {
            assert_eq!(expected, 0, "{length}");
            continue;
        };
        assert_eq!(whole_exits(&trace), expected, "cut at {length}");
        assert!(trace.damage().is_some() || trace.end().is_none(), "{length}");
        // Each readable part once: a replay takes as long as the recording.
        if expected > 0 && replayed.insert(expected) {
            let last = (expected - 1).to_string();
            folder
                .run(&["replay", "cut.trap", "--until", &last])
                .says(0, &[&format!("faithful: {expected} exits")]);
            folder.run(&["replay", "cut.trap"]).says(2, &[&format!("faithful up to exit {last}")]);
        }
    }
    assert!(replayed.len() >= 5, "{replayed:?}");
}

/// Where the inputs of each chunk end in the file, and the exits up to there.
fn chunk_ends(path: &Path) -> Vec<(u64, u64)> {
    use trapline_formats::envelope::{BLOCK_HEADER_BYTES, BlockType};
    let trace = Trace::open(path).unwrap();
    let places = trace.blocks().iter().filter(|b| b.header.kind == BlockType::Inputs as u16);
    let ends = places.map(|b| b.offset + BLOCK_HEADER_BYTES as u64 + u64::from(b.header.stored));
    let mut exits = 0;
    let exits = trace.inputs().map(|chunk| {
        exits += chunk.unwrap().len() as u64;
        exits
    });
    ends.zip(exits).collect()
}
