//! Damage anywhere in a file, as disks and transfers make it: the checksums notice.

use crate::blocks::change_bytes;
use crate::bounds::{alone, cases, folder, is_whole, within_bounds};
use crate::support::host::host;
use crate::support::recorded::record;
use fastrand::Rng;
use trapline_formats::ClockMode;

#[test]
fn corruptions_of_several_bytes_are_noticed() {
    let Some(host) = host() else { return };
    let _turn = alone();
    let cases = cases(4000, 100_000);
    let guests =
        [trapline_guests::demo(), trapline_guests::timer_hlt_32(), trapline_guests::string_ports_64()];
    let traces: Vec<_> = guests.iter().map(|guest| record(&host, guest, ClockMode::Virtual)).collect();
    let wholes: Vec<_> = traces.iter().map(|recorded| std::fs::read(&recorded.path).unwrap()).collect();
    let folder = folder();
    let path = folder.path().join("damaged.trap");
    let mut random = Rng::with_seed(0x6461_6d61);
    for case in 0..cases {
        let whole = &wholes[case as usize % wholes.len()];
        let mut bytes = whole.clone();
        let changes: Vec<_> =
            (0..random.usize(1..4)).map(|_| change_bytes(&mut bytes, &mut random)).collect();
        if bytes == *whole {
            continue;
        }
        std::fs::write(&path, &bytes).unwrap();
        let what = format!("case {case}, {}", changes.join(", "));
        assert!(!within_bounds(&what, || is_whole(&path)), "{what}: not noticed");
    }
}
