//! The names of a kernel's functions, by what the kernel carries with it and by its files.

use crate::support::host::host;
use crate::support::images::image;
use crate::support::recorded::record_loaded;
use std::collections::BTreeMap;
use trapline_analyzer::{SymbolFile, Symbols};
use trapline_formats::{ClockMode, Trace};
use trapline_recorder::RecordOptions;
use trapline_recorder::guest::kernel::{self, Kernel, Protocol};

/// Linux has printed, set its timer and looked for PCI devices by then.
const EXITS: u64 = 3000;

#[test]
fn a_kernel_in_a_trace_names_its_functions_as_its_symbol_files_do() {
    let Some(host) = host() else { return };
    let (vmlinux, bzimage) = (image("linux", "linux/vmlinux"), image("linux", "linux/bzImage"));
    let guest = kernel::load(
        Kernel {
            image: &vmlinux,
            initrd: None,
            cmdline: "console=ttyS0 earlyprintk=serial nokaslr nolapic noapic lpj=1000000 tsc=unstable",
            protocol: Protocol::Auto,
        },
        64 << 20,
    )
    .unwrap();
    let options =
        RecordOptions { clock: ClockMode::Virtual, max_exits: Some(EXITS), ..RecordOptions::default() };
    let recorded = record_loaded(&host, &guest, options);
    let trace = Trace::open(&recorded.path).unwrap();

    let by_itself = Symbols::load(&trace, &[]).unwrap();
    assert!(
        by_itself.notes()[0].starts_with("the kernel in the trace (kallsyms, "),
        "{:?}",
        by_itself.notes()
    );
    let names = names(&trace, &by_itself);
    let named = names.iter().filter(|n| n.is_some()).count();
    assert!(named * 10 >= names.len() * 9, "{named} of {} sites have a name", names.len());
    assert!(names.iter().flatten().any(|n| n.starts_with("io_serial_out+")), "{names:?}");
    for file in [vmlinux, bzimage] {
        let file = SymbolFile { path: file, offset: None };
        let by_file = Symbols::load(&trace, std::slice::from_ref(&file)).unwrap();
        assert_eq!(self::names(&trace, &by_file), names, "{}", file.path.display());
        assert!(!by_file.notes()[0].contains("moved"), "{:?}", by_file.notes());
    }
    // Code of the functions is at hand: the bytes that trapped, but for the rewritten ones, stand in it.
    let functions: BTreeMap<_, _> = by_itself.functions().iter().map(|f| (f.start, &f.bytes)).collect();
    let mut compared = 0;
    for (id, site) in trace.sites().iter().enumerate() {
        let Some(symbol) = by_itself.of(id as u32) else { continue };
        let at = (site.instruction.address.0 - symbol.start) as usize;
        let bytes = &functions[&symbol.start][at..][..site.instruction.bytes.len()];
        compared += usize::from(bytes == site.instruction.bytes);
    }
    assert!(compared * 10 >= named * 8, "{compared} of {named}");
}

fn names(trace: &Trace, symbols: &Symbols) -> Vec<Option<String>> {
    let sites = (0..).zip(trace.sites());
    let one = |(id, site): (u32, &trapline_formats::Site)| {
        let symbol = symbols.of(id)?;
        Some(format!("{}+{:#x}", symbol.name, site.instruction.address.0 - symbol.start))
    };
    sites.map(one).collect()
}
