//! One row per instruction, reason, device or address.

use crate::common::{SyntheticTrace, halted, header};
use crate::firmware::{Cells, POLLS, RARE, recorded, report};
use trapline_analyzer::By;
use trapline_formats::{ExitKind, NamedRange, Space};

#[test]
fn a_row_holds_what_its_sites_have_in_common() {
    let (_dir, path) = recorded();
    let report = report(&path, By::Instruction);
    let cells = Cells(report.table());
    // One instruction prints and writes the POST code.
    let print = cells.row_of("out dx, al");
    assert_eq!(cells.u32s("sites")[print], Some(2));
    assert_eq!(cells.u32s("site")[print], None);
    assert_eq!(cells.u64s("count")[print], Some(POLLS / 8 + 1));
    assert_eq!(cells.strs("kind")[print], Some("port-write"));
    assert_eq!(cells.u64s("instruction_address")[print], Some(0xf_1240));
    assert_eq!((cells.u64s("address")[print], cells.strs("device")[print]), (None, None));
    assert_eq!(cells.u64s("constant_value")[print], None);
    assert_eq!(cells.u32s("distinct_values")[print], Some(2));
}

#[test]
fn every_grouping_has_its_rows() {
    let (_dir, path) = recorded();
    let rows = |by, column: &str| {
        let report = report(&path, by);
        let mut names: Vec<_> =
            Cells(report.table()).strs(column).into_iter().map(|s| s.map(str::to_owned)).collect();
        names.sort();
        names.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>()
    };
    assert_eq!(rows(By::Reason, "kind"), ["halt", "mmio-write", "msr-read", "port-read", "port-write"]);
    assert_eq!(rows(By::Device, "device"), ["", "", "CMOS/RTC", "COM1", "CPU", "IDE primary", "local APIC"]);
    assert_eq!(
        rows(By::Address, "device"),
        ["", "", "CMOS/RTC", "COM1", "COM1", "CPU", "IDE primary", "local APIC"]
    );
    assert_eq!(rows(By::Site, "kind").len(), 8);
    assert_eq!(rows(By::Instruction, "kind").len(), 7);
}

#[test]
fn groups_have_quantiles_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut trace = SyntheticTrace::create(&dir.path().join("a.trap"), &header());
    let quick = trace.site(ExitKind::PortRead, 0x3fd, 1, 0x8000, &[0xec]);
    let slow = trace.site(ExitKind::PortRead, 0x3f8, 1, 0x8001, &[0xec]);
    for i in 0..1000 {
        trace.exit(if i % 10 < 8 { quick } else { slow }, &[0], 1000, if i % 10 < 8 { 250 } else { 25_600 });
    }
    let report = report(&trace.end(halted()), By::Device);
    let cells = Cells(report.table());
    assert_eq!(cells.f64s("vmm_p50_ns"), [Some(100.0)]);
    assert_eq!(cells.f64s("vmm_p90_ns"), [Some(10_240.0)]);
}

#[test]
fn a_halt_shares_no_row_with_a_cost() {
    let dir = tempfile::tempdir().unwrap();
    let mut trace = SyntheticTrace::create(&dir.path().join("a.trap"), &header());
    // The window for an interrupt opens at the very instruction that then halts.
    let halt = trace.site(ExitKind::Halt, 0, 0, 0x8000, &[0xf4]);
    let window = trace.site(ExitKind::InterruptWindow, 0, 0, 0x8000, &[0xf4]);
    (0..2).for_each(|i| trace.exit(if i == 0 { window } else { halt }, &[], 1000, 500));
    let path = trace.end(halted());
    for by in By::ALL {
        let report = report(&path, by);
        assert_eq!(Cells(report.table()).bools("idle"), [Some(false), Some(true)], "{by}");
        assert_eq!(Cells(report.table()).f64s("cost_percent"), [Some(100.0), None], "{by}");
    }
}

#[test]
fn the_platform_of_the_trace_names_its_devices() {
    let dir = tempfile::tempdir().unwrap();
    let range = |space, start, end, device: &str, register: &str| NamedRange {
        space,
        start,
        end,
        device: device.into(),
        register: register.into(),
    };
    let mut header = header();
    header.names = vec![
        range(Space::Mmio, 0xd000_0000, 0xd000_1000, "virtio-net", ""),
        range(Space::Mmio, 0xd000_0050, 0xd000_0054, "virtio-net", "queue notify"),
    ];
    let mut trace = SyntheticTrace::create(&dir.path().join("a.trap"), &header);
    for (address, vmm) in [(0xd000_0050, 2000), (0xd000_0100, 1900), (0xe000_0000, 1800)] {
        let site = trace.site(ExitKind::MmioWrite, address, 4, 0x8000 + address, &[0x89, 0x07]);
        trace.exit(site, &[0; 4], 1000, vmm);
    }
    let path = trace.end(halted());
    let sites = report(&path, By::Site);
    assert_eq!(Cells(sites.table()).strs("device"), [Some("virtio-net"), Some("virtio-net"), None]);
    assert_eq!(Cells(sites.table()).strs("register"), [Some("queue notify"), None, None]);
    let devices = report(&path, By::Device);
    assert_eq!(Cells(devices.table()).u32s("sites"), [Some(2), Some(1)]);
    assert!(devices.to_text(None, 100).contains("(unknown memory)"));
}

#[test]
fn a_name_that_holds_its_address_is_not_prefixed_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut trace = SyntheticTrace::create(&dir.path().join("a.trap"), &header());
    for port in [0xe9, 0x3f8] {
        let site = trace.site(ExitKind::PortWrite, port, 1, 0x8000, &[0xee]);
        trace.exit(site, b"x", 1000, 500);
    }
    let text = report(&trace.end(halted()), By::Address).to_text(None, 100);
    assert!(text.contains("  debug port 0xE9 data\n") && text.contains("  0x3f8 COM1 data\n"), "{text}");
}

#[test]
fn top_keeps_the_dearest_rows_and_idleness() {
    let (_dir, path) = recorded();
    let report = report(&path, By::Site);
    let rows = report.rows(Some(2)).unwrap();
    assert_eq!(Cells(&rows).u64s("count"), [Some(POLLS), Some(POLLS / 8), Some(60)]);
    assert_eq!(report.rows(None).unwrap().height(), 8);
    assert_eq!(report.rows(Some(100)).unwrap().height(), 8);
    let text = report.to_text(Some(2), 100);
    assert!(text.contains("the dearest 2 of 7") && text.contains("(5 other sites)"), "{text}");
    assert_eq!(RARE, 6);
}

#[test]
fn an_access_to_configuration_space_names_what_it_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let mut trace = SyntheticTrace::create(&dir.path().join("a.trap"), &header());
    let select = trace.site(ExitKind::PortWrite, 0xcf8, 4, 0x8000, &[0xef]);
    let command = trace.site(ExitKind::PortWrite, 0xcfc, 2, 0x8010, &[0x66, 0xef]);
    let scan = trace.site(ExitKind::PortRead, 0xcfc, 4, 0x8020, &[0xed]);
    for device in 0..4u32 {
        trace.exit(select, &(0x8000_0000 | device << 11).to_le_bytes(), 3000, 1000);
        trace.exit(scan, &[0xff; 4], 3000, 1000);
    }
    trace.exit(select, &0x8000_0804u32.to_le_bytes(), 3000, 1000);
    trace.exit(command, &[6, 0], 3000, 1000);
    let path = trace.end(halted());
    let report = report(&path, By::Site);
    let cells = Cells(report.table());
    let named = |site| {
        let row = cells.u32s("site").iter().position(|s| *s == Some(site)).unwrap();
        (cells.strs("device")[row].unwrap().to_owned(), cells.strs("register")[row].unwrap().to_owned())
    };
    let pci = |register: &str| ("PCI configuration".to_owned(), register.to_owned());
    assert_eq!(named(command), pci("00:01.0 command"));
    assert_eq!(named(scan), pci("vendor ID (several functions)"));
    assert_eq!(named(select), pci("address"));
    let page = report.to_html(&trapline_formats::Trace::open(&path).unwrap(), None).unwrap();
    assert!(page.contains("port-write 0xcfc PCI configuration 00:01.0 command"));
}
