//! Records and replays a guest with a device of one's own: a [`Platform`] with a single port that counts.
//!
//! Run it: `cargo run --release --example own_device`

use trapline_formats::{Gpa, NamedRange, Space, Trace};
use trapline_machine::{doctor::window_is_prompt, open_and_probe};
use trapline_recorder::guest::flat::{self, Mode};
use trapline_recorder::platform::{Claim, MsrAnswer, Platform, Request, Time};
use trapline_recorder::{RecordOptions, Recorder};
use trapline_replayer::{Outcome, ReplayOptions, replay};

/// The port of the counter.
const PORT: u16 = 0x500;

/// A machine whose only device counts how often it is read. The guest cannot know what it will say: it is an input.
struct Counter(u8);

impl Platform for Counter {
    fn port_read(&mut self, _: Time, port: u16, data: &mut [u8]) -> Claim {
        data.fill(0xff);
        if port != PORT {
            return Claim::Nobody;
        }
        self.0 += 1;
        data[0] = self.0;
        Claim::Device
    }
    fn port_write(&mut self, _: Time, _: u16, _: &[u8]) -> Claim {
        Claim::Nobody
    }
    fn mmio_read(&mut self, _: Time, _: Gpa, data: &mut [u8]) -> Claim {
        data.fill(0xff);
        Claim::Nobody
    }
    fn mmio_write(&mut self, _: Time, _: Gpa, _: &[u8]) -> Claim {
        Claim::Nobody
    }
    fn msr_read(&mut self, _: Time, _: u32) -> MsrAnswer {
        MsrAnswer::GeneralProtection
    }
    fn msr_write(&mut self, _: Time, _: u32, _: u64) -> MsrAnswer {
        MsrAnswer::GeneralProtection
    }
    fn interrupt_pending(&mut self, _: Time) -> bool {
        false
    }
    fn acknowledge_interrupt(&mut self, _: Time) -> u8 {
        0
    }
    fn next_deadline(&self) -> Option<Time> {
        None
    }
    fn console_input(&mut self, _: Time, _: &[u8]) -> usize {
        0
    }
    fn take_console(&mut self, _: &mut dyn FnMut(u8, &[u8])) {}
    fn console_channels(&self) -> Vec<String> {
        Vec::new()
    }
    fn take_request(&mut self) -> Option<Request> {
        None
    }
    fn names(&self) -> Vec<NamedRange> {
        let (start, end) = (PORT.into(), u64::from(PORT) + 1);
        vec![NamedRange {
            space: Space::Port,
            start,
            end,
            device: "counter".into(),
            register: "value".into(),
        }]
    }
}

/// Records, replays, and says whether they were the same.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    // mov dx, PORT ; mov ecx, 5 ; again: in al, dx ; add bl, al ; loop again ; hlt
    let image = [0x66, 0xba, 0x00, 0x05, 0xb9, 5, 0, 0, 0, 0xec, 0x00, 0xc3, 0xe2, 0xfb, 0xf4];
    let guest = flat::from_bytes(image.to_vec(), Mode::Bits64, 1 << 20)?;
    let path = std::env::temp_dir().join(format!("own-device-{}.trap", std::process::id()));
    let (kvm, convention) = open_and_probe()?;
    let window_is_prompt = window_is_prompt(&kvm)?;

    let mut counter = Counter(0);
    let options = RecordOptions { output: Some(path.clone()), window_is_prompt, ..Default::default() };
    let recording = Recorder::new(&kvm, convention, &guest, &mut counter, options)?.record(&mut |_| {})?;
    println!("recorded {} exits: {}", recording.end.exits, recording.end.reason);

    // The replay has no counter: it has the log.
    let trace = Trace::open(&path)?;
    let outcome = replay(&kvm, convention, &trace, &ReplayOptions::default(), &mut |_| {})?.outcome;
    std::fs::remove_file(&path)?;
    match outcome {
        Outcome::Faithful => println!("replayed: faithful"),
        Outcome::Diverged(divergence) => return Err(divergence.to_string().into()),
    }
    Ok(())
}
