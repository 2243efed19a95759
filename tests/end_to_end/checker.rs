//! Checks of the checker: a trace is changed, written again with checksums that are right, and the replay must say where.

mod inputs;
mod keyframes;
mod outputs;
mod positions;
mod start;
mod state;

use crate::support::host::host;
use crate::support::mutated::Mutated;
use crate::support::plain::Plain;
use crate::support::replayed::replay;

#[test]
fn a_trace_that_is_decoded_and_encoded_again_replays_faithfully() {
    let Some(host) = host() else { return };
    for guest in
        [trapline_guests::demo(), trapline_guests::string_ports_64(), trapline_guests::msrs_refused_64()]
    {
        let mutated = Mutated::of(&host, &guest);
        mutated.write();
        assert_eq!(Plain::read(&mutated.recorded.path).stream(), mutated.plain.stream());
        assert_eq!(replay(&host, &mutated.recorded.path).exits, mutated.recorded.end.exits);
    }
}
