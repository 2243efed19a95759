//! A capture of a network that a guest is to be given: any bytes at all.
//!
//! It is refused, or plays from its first frame to its last, in the order of their times.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trapline_recorder::devices::virtio::net::{Feed, LONGEST, Link};
use trapline_recorder::platform::Time;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut feed) = Feed::of_capture(bytes, String::new()) else { return };
    feed.begin(Time(1));
    let (mut frames, mut now) = (0, Time(0));
    while let Some(due) = feed.deadline() {
        assert!(due > now || frames > 0);
        now = due;
        feed.fire(now);
        while let Some(frame) = feed.receive() {
            assert!((14..=LONGEST).contains(&frame.len()));
            frames += 1;
        }
        assert!(feed.deadline().is_none_or(|next| next > now));
        if now == Time(u64::MAX) {
            break;
        }
    }
    assert!(frames > 0 && frames <= bytes.len());
});
