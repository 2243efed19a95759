//! Checks of the checker: a trace is changed, written again with checksums that are right, and the replay must say where.

use crate::support::host::host;
use crate::support::plain::Plain;
use crate::support::recorded::record;
use crate::support::replayed::replay;
use trapline_formats::ClockMode;

#[test]
fn a_trace_that_is_decoded_and_encoded_again_replays_faithfully() {
    let Some(host) = host() else { return };
    let recorded = record(&host, &trapline_guests::demo(), ClockMode::Host);
    Plain::read(&recorded.path).write(&recorded.path);
    assert_eq!(replay(&host, &recorded.path).exits, recorded.end.exits);
}
