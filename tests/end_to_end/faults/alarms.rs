//! No false alarm: what was recorded is replayed again and again, and no replay diverges.

use crate::support::host::Host;
use crate::support::recorded::record;
use crate::support::replayed::replay;
use trapline_formats::ClockMode;
use trapline_guests::Guest;

/// Guests with timers, windows, shadows, software interrupts and floating point.
fn guests() -> [Guest; 10] {
    [
        trapline_guests::demo(),
        trapline_guests::apic_timer_64(),
        trapline_guests::timer_window_32(),
        trapline_guests::timer_exits_16(),
        trapline_guests::shadow_64(),
        trapline_guests::io_apic_level_64(),
        trapline_guests::nmi_hlt_64(),
        trapline_guests::random_64(),
        trapline_guests::mmio_sse_32(),
        trapline_guests::pages_64(),
    ]
}

/// Makes so many replays, of recordings under both clocks.
pub fn replay_often(host: &Host, replays: usize) {
    let clocks = [ClockMode::Host, ClockMode::Virtual];
    let recordings: Vec<_> = guests()
        .iter()
        .flat_map(|guest| clocks.map(|clock| (guest.name, record(host, guest, clock))))
        .collect();
    for i in 0..replays {
        let (name, recorded) = &recordings[i % recordings.len()];
        assert_eq!(replay(host, &recorded.path).exits, recorded.end.exits, "{name}");
    }
    println!("{replays} replays of {} recordings, none diverged", recordings.len());
}
