//! UEFI firmware that others wrote: it unpacks itself into memory, and its images read clocks before their first exit.

use crate::support::compare::assert_replays_exactly;
use crate::support::host::{Extent, Host, host};
use crate::support::images::image;
use crate::support::plain::Plain;
use crate::support::recorded::{Recorded, record_on};
use regex::bytes::Regex;
use std::time::Duration;
use trapline_formats::{ClockMode, EndReason, LateRewrite};
use trapline_machine::doctor::user_mode_can_call;
use trapline_recorder::guest::firmware::{self, Firmware};
use trapline_recorder::pc::PcConfig;
use trapline_recorder::{ConsoleInput, RecordOptions};

const RAM: u64 = 64 << 20;
const LIMIT: Duration = Duration::from_mins(5);
/// Typed when the shell says that it waits for a key.
const PROMPT: &str = "Press ESC";
const TYPED: &str = "\x1bver\rreset -s\r";
/// Where unpacking takes minutes: as far as it comes before.
const EXITS_BEFORE: u64 = 16;

#[test]
fn uefi_firmware_runs_its_shell_and_replays_exactly_under_the_host_clock() {
    runs_its_shell(ClockMode::Host);
}

#[test]
fn uefi_firmware_runs_its_shell_and_records_identically_under_the_virtual_clock() {
    runs_its_shell(ClockMode::Virtual);
}

fn runs_its_shell(clock: ClockMode) {
    let Some(host) = host() else { return };
    if Extent::of_environment() == Extent::Quick {
        return;
    }
    let recorded = run(&host, clock);
    assert_replays_exactly(&host, &recorded);
    if user_mode_can_call(host.kvm).unwrap() {
        let text = String::from_utf8_lossy(recorded.com1());
        assert_eq!(recorded.end.reason, EndReason::PowerOff, "it said:\n{text}");
        assert!(text.contains("UEFI Interactive Shell v2.2"), "it said:\n{text}");
        assert_eq!(recorded.end.unclosed, []);
        let is_image = |late: &&LateRewrite| late.rewrite.found_by.contains("UEFI image");
        assert!(recorded.end.rewrites.iter().filter(is_image).count() > 3, "{:?}", recorded.end.rewrites);
    }
    if clock == ClockMode::Virtual {
        let again = run(&host, clock);
        assert_eq!(Plain::read(&recorded.path).stream(), Plain::read(&again.path).stream());
    }
}

fn run(host: &Host, clock: ClockMode) -> Recorded {
    let guest = firmware::load(Firmware::of(&image("ovmf", "OVMF.fd")), RAM).unwrap();
    let is_fast = user_mode_can_call(host.kvm).unwrap();
    let options = RecordOptions {
        clock,
        timeout: Some(LIMIT),
        max_exits: (!is_fast).then_some(EXITS_BEFORE),
        input: ConsoleInput::from_bytes(TYPED.into()).after(Regex::new(PROMPT).unwrap()),
        ..RecordOptions::default()
    };
    record_on(host, &guest, PcConfig::with_clock(&guest, clock), options)
}
