//! Small traces, written with the encoders that the recorder uses.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use trapline_formats::envelope::BlockType;
use trapline_formats::{
    ClockMode, ConsoleEncoder, CpuMode, End, EndReason, Event, ExitKind, GuestFile, Gva, Header, Host,
    InputEncoder, Instruction, MemoryRegion, NamedRange, Preemption, Site, Space, Timing, TimingEncoder,
    TraceWriter,
};

/// Exits per chunk, unless a test says otherwise.
pub const CHUNK: u32 = 4096;

/// A trace in the making.
pub struct SyntheticTrace {
    pub path: PathBuf,
    pub chunk: u32,
    /// Exits per chunk of the timing stream, which need not be those of the inputs.
    pub timing_chunk: u64,
    /// Exits from this one on get no timing.
    pub timings_end: u64,
    writer: TraceWriter,
    sites: Vec<Site>,
    sites_written: usize,
    inputs: InputEncoder,
    console: ConsoleEncoder,
    timings: TimingEncoder,
    first: u64,
    exits: u64,
    timed: u64,
    timings_first: u64,
}

impl SyntheticTrace {
    pub fn create(path: &Path, header: &Header) -> Self {
        let mut writer = TraceWriter::create(path, true).unwrap();
        writer.block(BlockType::Header, 0, postcard::to_stdvec(header).unwrap()).unwrap();
        Self {
            path: path.to_owned(),
            chunk: CHUNK,
            timing_chunk: u64::from(CHUNK),
            timings_end: u64::MAX,
            writer,
            sites: Vec::new(),
            sites_written: 0,
            inputs: InputEncoder::new(),
            console: ConsoleEncoder::default(),
            timings: TimingEncoder::default(),
            first: 0,
            exits: 0,
            timed: 0,
            timings_first: 0,
        }
    }

    /// Adds a site to the dictionary.
    pub fn site(&mut self, kind: ExitKind, address: u64, size: u8, at: u64, bytes: &[u8]) -> u32 {
        let rep = bytes.first() == Some(&0xf3);
        let instruction =
            Instruction { address: Gva(at), bytes: bytes.to_vec(), mode: CpuMode::Long64, cpl: 0 };
        self.sites.push(Site { kind, address, size, rep, instruction });
        self.sites.len() as u32 - 1
    }

    /// Adds an exit: ticks in KVM_RUN before it, ticks in the VMM after it.
    pub fn exit(&mut self, site: u32, data: &[u8], guest: u64, vmm: u64) {
        self.exit_or_fault(site, data, false, guest, vmm);
    }

    pub fn exit_or_fault(&mut self, site: u32, data: &[u8], fault: bool, guest: u64, vmm: u64) {
        self.inputs.exit(site, &self.sites[site as usize], data, fault);
        if self.exits < self.timings_end {
            self.timings.push(Timing { guest, vmm });
            self.timed += 1;
            if self.timed - self.timings_first == self.timing_chunk {
                self.flush_timings();
            }
        }
        self.exits += 1;
        if self.inputs.exits() == self.chunk {
            self.flush();
        }
    }

    pub fn event(&mut self, event: &Event) {
        self.inputs.event(event);
    }

    /// Adds what the guest printed at an exit.
    pub fn console(&mut self, exit: u64, channel: u8, text: &[u8]) {
        self.console.push(exit, channel, text);
    }

    fn flush(&mut self) {
        if self.sites_written < self.sites.len() {
            let new = postcard::to_stdvec(&self.sites[self.sites_written..]).unwrap();
            self.writer.block(BlockType::Sites, self.first, new).unwrap();
            self.sites_written = self.sites.len();
        }
        self.writer.block(BlockType::Inputs, self.first, self.inputs.take()).unwrap();
        self.first = self.exits;
    }

    fn flush_timings(&mut self) {
        self.writer.block(BlockType::Timing, self.timings_first, self.timings.take()).unwrap();
        self.timings_first = self.timed;
    }

    fn flush_all(&mut self) {
        self.flush();
        let console = self.console.take(self.exits);
        if !console.is_empty() {
            self.writer.block(BlockType::Console, 0, console).unwrap();
        }
        if self.timed > self.timings_first {
            self.flush_timings();
        }
    }

    /// Ends the trace as a recorder does.
    pub fn end(mut self, mut end: End) -> PathBuf {
        end.exits = self.exits;
        self.flush_all();
        self.writer.block(BlockType::End, self.exits, postcard::to_stdvec(&end).unwrap()).unwrap();
        self.writer.finish().unwrap();
        self.path
    }

    /// Ends the trace as a recorder that was killed.
    pub fn killed(mut self) -> PathBuf {
        self.flush_all();
        self.writer.finish().unwrap();
        self.path
    }
}

/// The end of a guest that halted.
pub fn halted() -> End {
    End {
        reason: EndReason::Halted,
        exits: 0,
        unclaimed: Vec::new(),
        unclosed: Vec::new(),
        rewrites: Vec::new(),
        preemption: Preemption::default(),
    }
}

/// A header with a clock of 2.5 GHz.
pub fn header() -> Header {
    let name = |start, end, device: &str, register: &str| NamedRange {
        space: Space::Port,
        start,
        end,
        device: device.into(),
        register: register.into(),
    };
    Header {
        recorder: "0.1.0".into(),
        host: Host {
            engine: "kvm_amd".into(),
            kernel: "6.1.0-18-amd64".into(),
            cpu_vendor: "AuthenticAMD".into(),
            cpu_brand: "AMD EPYC 7763 64-Core Processor".into(),
            ..Host::default()
        },
        clock: ClockMode::Virtual,
        entry: "firmware".into(),
        files: vec![GuestFile {
            role: "firmware".into(),
            name: "bios-256k.bin".into(),
            bytes: 256 << 10,
            xxh3: 0x0123_4567_89ab_cdef,
        }],
        memory: vec![MemoryRegion { gpa: 0, bytes: 64 << 20, readonly: false }],
        tick_hz: 2_500_000_000,
        tick_source: "tsc".into(),
        names: vec![name(0x3f8, 0x400, "COM1", ""), name(0xf4, 0xf5, "exit device", "")],
        ..Header::default()
    }
}

/// A small generator of numbers that look random and never change.
pub struct Noise(pub u64);

impl Noise {
    pub fn below(&mut self, n: u64) -> u64 {
        // Steele and Vigna, "SplitMix64".
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}
