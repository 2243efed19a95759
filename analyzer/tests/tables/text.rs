//! What people read.

use crate::common::header;
use crate::firmware::{self, recorded, report};
use trapline_analyzer::By;

fn shown(by: By, top: Option<usize>, width: usize) -> String {
    let (_dir, path) = recorded();
    // The size of the file depends on the version of zstd.
    let text = report(&path, by).to_text(top, width);
    let lines: Vec<_> =
        text.lines().map(|l| if l.starts_with("  file ") { "  file   (size)" } else { l }).collect();
    lines.join("\n")
}

#[test]
fn the_report_by_site_reads_well() {
    insta::assert_snapshot!(shown(By::Site, None, 100));
}

#[test]
fn the_report_by_site_uses_the_room_it_gets() {
    insta::assert_snapshot!(shown(By::Site, Some(3), 160));
}

#[test]
fn the_report_by_site_fits_a_narrow_terminal() {
    insta::assert_snapshot!(shown(By::Site, Some(3), 60));
}

#[test]
fn the_report_by_reason_reads_well() {
    insta::assert_snapshot!(shown(By::Reason, None, 100));
}

#[test]
fn the_report_by_device_reads_well() {
    insta::assert_snapshot!(shown(By::Device, None, 100));
}

#[test]
fn the_report_of_a_killed_recorder_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = firmware::trace(&dir.path().join("run.trap"), &header()).killed();
    let text = report(&path, By::Address).to_text(Some(2), 100);
    let lines: Vec<_> = text.lines().filter(|l| !l.starts_with("  file ")).collect();
    insta::assert_snapshot!(lines.join("\n"));
}
