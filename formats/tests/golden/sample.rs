//! Traces made up so that together with recorded ones they hold everything that the format has.

use std::path::Path;
use trapline_formats::digests::{Checkpoint, MemoryDigest};
use trapline_formats::envelope::{BLOCK_HEADER_BYTES, BlockHeader, BlockType};
use trapline_formats::memory::{PAGE_BYTES, page_hash};
use trapline_formats::{
    Batch, CpuMode, CpuState, CpuidEntry, End, EndReason, Event, ExitKind, GuestFile, Gva, Header, Host,
    Instruction, Keyframe, LateRewrite, MemoryRegion, MsrRange, NamedRange, Pages, RawExit, Registers,
    Rewrite, Site, Space, StandIns, Suspect, Timing, TraceWriter, Unclaimed, Unclosed,
};

/// How many kinds of events there are.
pub const EVENTS: usize = 10;
/// How many exits a sample has.
pub const EXITS: usize = ExitKind::ALL.len() + 2;

/// A sample, by its name.
type Sample = (&'static str, fn(&Path));

/// All samples.
pub const ALL: [Sample; 4] = [
    ("every_kind", every_kind),
    ("held_tsc", held_tsc),
    ("truncated", truncated),
    ("unknown_block", unknown_block),
];

/// Every kind of exit, every event, two keyframes, an index.
fn every_kind(path: &Path) {
    let mut writer = TraceWriter::create(path, true).unwrap();
    write_start(&mut writer);
    write_exits(&mut writer, batch());
    write_end(&mut writer);
    writer.finish().unwrap();
}

/// The same, with a TSC that is held: behind the start, an exit and a carried keyframe, and in a second chunk, which has one exit.
fn held_tsc(path: &Path) {
    let mut writer = TraceWriter::create(path, true).unwrap();
    write_start(&mut writer);
    let mut all = Batch::with_room(EXITS);
    all.hold_tsc(None, 1 << 40);
    note_exits(&mut all, |batch| {
        batch.hold_tsc(None, (1 << 40) + 2_596_122);
        batch.hold_tsc(Some(1), (1 << 40) + 9_000_000);
    });
    write_exits(&mut writer, all);
    let mut last = Batch::with_room(1);
    *last.next_exit() = RawExit { site: 0, value: 1, ..RawExit::default() };
    last.hold_tsc(None, (1 << 40) + 8_999_999);
    writer.exits(EXITS as u64, last).unwrap();
    writer.last_timing().unwrap();
    let end = End { exits: EXITS as u64 + 1, ..end() };
    writer.block(BlockType::End, end.exits, bytes(&end)).unwrap();
    writer.index().unwrap();
    writer.finish().unwrap();
}

/// The same, cut off in the middle of its end.
fn truncated(path: &Path) {
    every_kind(path);
    let bytes = std::fs::read(path).unwrap();
    let end = bytes.windows(6).rposition(|w| w == b"TRPB\x09\x00").unwrap();
    std::fs::write(path, &bytes[..=end + BLOCK_HEADER_BYTES]).unwrap();
}

/// The same without an index, and with a block that this version does not know in front of its end.
fn unknown_block(path: &Path) {
    every_kind(path);
    let bytes = std::fs::read(path).unwrap();
    let at = |kind: BlockType| {
        let head = [b"TRPB".as_slice(), &(kind as u16).to_le_bytes()].concat();
        bytes.windows(6).rposition(|w| w == head).unwrap()
    };
    let payload = b"for nobody but itself";
    let header = BlockHeader {
        kind: 0x8000,
        flags: 0,
        stored: payload.len() as u32,
        raw: payload.len() as u32,
        first_exit: 0,
        payload_crc: crc32c::crc32c(payload),
    };
    let (end, index) = (at(BlockType::End), at(BlockType::Index));
    let whole = [&bytes[..end], &header.encode(), payload, &bytes[end..index]].concat();
    std::fs::write(path, whole).unwrap();
}

fn page(byte: u8) -> [u8; PAGE_BYTES] {
    let mut page = [0; PAGE_BYTES];
    page[usize::from(byte)] = byte;
    page
}

fn pages(all: &[(u64, u8)]) -> Pages {
    let mut pages = Pages::new();
    for (number, byte) in all {
        let content = page(*byte);
        pages.push(*number, page_hash(&content), &content);
    }
    pages
}

fn bytes(value: &impl serde::Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).unwrap()
}

fn write_start(writer: &mut TraceWriter) {
    writer.block(BlockType::Header, 0, bytes(&header())).unwrap();
    writer.block(BlockType::StartState, 0, bytes(&state(1))).unwrap();
    writer.start_memory(pages(&[(0, 1), (8, 2)])).unwrap();
}

fn write_exits(writer: &mut TraceWriter, batch: Batch) {
    writer.sites(0, sites()).unwrap();
    let mut console = trapline_formats::ConsoleEncoder::default();
    console.push(1, 0, b"hello\r\n");
    console.push(4, 1, b"\x1b[2J\xff");
    writer.block(BlockType::Console, 0, console.take(0)).unwrap();
    for (number, changed) in [(0, &[(0, 3), (9, 2)][..]), (1, &[(0, 0), (9, 4)][..])] {
        writer.keyframe_pages(2, pages(changed)).unwrap();
        writer.keyframe(keyframe(number, changed.len() as u64)).unwrap();
    }
    writer.exits(0, batch).unwrap();
}

fn write_end(writer: &mut TraceWriter) {
    writer.last_timing().unwrap();
    writer.block(BlockType::End, EXITS as u64, bytes(&end())).unwrap();
    writer.index().unwrap();
}

fn keyframe(number: u32, changes: u64) -> Keyframe {
    Keyframe {
        number,
        exit: 2,
        carried: number == 1,
        window_requested: number == 1,
        cpu: state(2 + u64::from(number)),
        changes,
    }
}

/// One site of each kind, and a port that is read by REP.
fn sites() -> Vec<Site> {
    let modes = [CpuMode::Real16, CpuMode::Protected16, CpuMode::Protected32, CpuMode::Long64];
    let of = |(i, kind): (usize, ExitKind)| Site {
        kind,
        address: if kind.space().is_some() { 0x3f8 + i as u64 } else { 0 },
        size: match kind {
            kind if !kind.has_data() => 0,
            ExitKind::MsrRead | ExitKind::MsrWrite | ExitKind::ClockRead => 8,
            _ => 1 << (i % 3),
        },
        rep: false,
        instruction: Instruction {
            address: Gva(0x1_0000_0000 * i as u64 + 0x8000),
            bytes: vec![0x0f, i as u8],
            mode: modes[i % 4],
            cpl: (i % 4) as u8,
        },
    };
    let mut sites: Vec<_> = ExitKind::ALL.into_iter().enumerate().map(of).collect();
    sites.push(Site { rep: true, size: 2, ..sites[0].clone() });
    sites
}

/// An exit at each site, the first one twice, and events between them.
fn batch() -> Batch {
    let mut batch = Batch::with_room(EXITS);
    note_exits(&mut batch, |_| {});
    batch
}

/// Notes them, and `more` where the events are.
fn note_exits(batch: &mut Batch, more: impl Fn(&mut Batch)) {
    let sites = sites();
    let mut events = events();
    for number in (0..sites.len()).chain([0]) {
        let bulk: &[u8] = if sites[number].rep { &[1, 2, 3, 4, 5, 6] } else { &[] };
        batch.bulk(bulk);
        let wide =
            if sites[number].size == 0 { 0 } else { u64::MAX >> (64 - 8 * u32::from(sites[number].size)) };
        let fault = sites[number].kind == ExitKind::MsrWrite;
        *batch.next_exit() = RawExit {
            registers: registers(number as u64),
            spent: Timing { guest: 1000 << number, vmm: 7 + number as u64 },
            site: number as u32,
            bulk: bulk.len() as u32,
            value: 0xfedc_ba98_7654_3210 & wide,
            fault,
        };
        if number == 2 {
            for digest in [
                MemoryDigest::None,
                MemoryDigest::Changed(vec![(9, 77)]),
                MemoryDigest::All(vec![(0, 5), (8, 6)]),
            ] {
                batch.checkpoint(Checkpoint { exit: 2, cpu: state(4), memory: digest });
            }
            events.drain(..).for_each(|event| batch.event(event));
            more(batch);
        }
    }
}

/// Every event but the checkpoint.
fn events() -> Vec<Event> {
    vec![
        Event::Interrupt { vector: 0x20 },
        Event::Nmi,
        Event::WindowRequested,
        Event::WindowCancelled,
        Event::TaskPriority { cr8: 15 },
        Event::MemoryWrite { gpa: 0xfff, bytes: vec![0xaa, 0x55].into() },
        Event::Jump { rip: 0xffff_ffff_8100_0000 },
        Event::FileRead { gpa: 0x8000, file: 1, offset: 1 << 40, length: 512, xxh3: 0x0123_4567_89ab_cdef },
        Event::Keyframe { number: 0, carried: false },
        Event::Keyframe { number: 1, carried: true },
    ]
}

fn registers(seed: u64) -> Registers {
    let mut general = [0; 16];
    general.iter_mut().zip(1..).for_each(|(register, n): (_, u64)| *register = seed.wrapping_mul(n) << n);
    Registers { general, rip: 0x8000 + seed, rflags: 2 | 1 << 16 }
}

/// A state in which every field is another.
fn state(seed: u64) -> CpuState {
    let mut state = CpuState { registers: registers(seed), xcr0: 7, mp_state: 3, ..CpuState::default() };
    for (segment, n) in state.system.segments.iter_mut().zip(1u16..) {
        (segment.base, segment.limit, segment.selector, segment.rights) = (seed << n, u32::MAX, 8 * n, 0x29b);
    }
    (state.system.gdt, state.system.idt) = ((0x500, 0x27), (0x6000, 0xfff));
    state.system.control = [0x8000_0011, 0xdead_beef, 0x1000, 0x20, seed & 15];
    (state.system.efer, state.system.apic_base) = (0x500, 0xfee0_0900);
    state.system.pdptrs = (seed.is_multiple_of(2)).then_some([1, 2, 3, 4]);
    state.msrs = vec![(0x174, 8), (0xc000_0081, 0x23_0010_0000_0000)];
    state.xsave = vec![0; 832];
    (state.xsave[0], state.xsave[24], state.xsave[512]) = (0x7f, 0x1f, 3);
    state.xsave[160..168].copy_from_slice(&seed.to_le_bytes());
    state.events.exception = (true, false, 14, Some(2), Some(0xdead_beef));
    state.events.interrupt = (false, 0x80, true);
    (state.events.shadow, state.events.nmi, state.events.smm) =
        (2, (false, false, true), (true, false, true, false));
    (state.events.sipi_vector, state.events.triple_fault) = (0x10, false);
    (state.debug.addresses, state.debug.dr6, state.debug.dr7) = ([1, 2, 3, 4], 0xffff_0ff0, 0x400);
    state
}

fn header() -> Header {
    let rewrite = rewrite();
    Header {
        recorder: "0.1.0".into(),
        host: Host {
            engine: "kvm_intel".into(),
            kernel: "6.1.0".into(),
            cpu_vendor: "GenuineIntel".into(),
            cpu_brand: "a processor \u{2603}".into(),
            cpu_signature: 0x000a_0f11,
            microcode: 0x0a00_1079,
            capabilities: vec![("KVM_CAP_SYNC_REGS".into(), 7), ("KVM_CAP_NOTHING".into(), -1)],
        },
        clock: trapline_formats::ClockMode::Virtual,
        entry: "flat 64-bit".into(),
        files: ["flat image", "disk"]
            .map(|role| GuestFile { role: role.into(), name: "x.bin".into(), bytes: 417, xxh3: u64::MAX })
            .into(),
        memory: vec![
            MemoryRegion { gpa: 0, bytes: 1 << 20, readonly: false },
            MemoryRegion { gpa: 0xffff_0000, bytes: 1 << 16, readonly: true },
        ],
        cpuid: vec![CpuidEntry { leaf: 0x8000_0001, subleaf: 1, flags: 1, registers: [1, 2, 3, u32::MAX] }],
        msrs_allowed: vec![MsrRange { start: 0xc000_0080, end: 0xc000_0085 }],
        tick_hz: 2_596_122_000,
        tick_source: "tsc".into(),
        stand_ins: StandIns { clock: Some(0x7e), long: None },
        rewrites: vec![rewrite],
        suspects: vec![Suspect { gpa: 0x1234, bytes: vec![0x0f, 0xc7, 0xf0] }],
        console_channels: vec!["COM1".into(), "debug".into()],
        names: vec![NamedRange {
            space: Space::Port,
            start: 0x3f8,
            end: 0x400,
            device: "COM1".into(),
            register: String::new(),
        }],
        preempt: trapline_formats::Preempt::Positions,
    }
}

fn rewrite() -> Rewrite {
    Rewrite {
        gpa: 0x8000,
        original: vec![0x0f, 0x31],
        replacement: vec![0xe6, 0x7e],
        found_by: "disassembly from entry points".into(),
    }
}

fn end() -> End {
    End {
        reason: EndReason::ConsoleMatch("^login:".into()),
        exits: EXITS as u64,
        unclaimed: vec![Unclaimed { space: Space::Msr, address: 0x8b, reads: 1, writes: 2 }],
        unclosed: vec![Unclosed {
            source: "RDTSC".into(),
            exit: 9,
            evidence: "a register held the hardware clock".into(),
        }],
        rewrites: vec![LateRewrite { exit: 3, rewrite: rewrite() }],
        preemption: trapline_formats::Preemption::default(),
    }
}
