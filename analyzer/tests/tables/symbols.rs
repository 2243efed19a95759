//! Names of functions and source lines, from symbol files.

use crate::common::{SyntheticTrace, halted, header};
use crate::firmware::Cells;
use object::{Object, ObjectSegment, ObjectSymbol};
use std::path::{Path, PathBuf};
use std::process::Command;
use trapline_analyzer::{AnalyzerError, By, Report, SymbolFile, Symbols};
use trapline_formats::{ExitKind, Trace};

/// Functions that are easily told apart, on lines of their own.
const PROGRAM: &str = "
int poll_port(int a) { int b = a * 0x12345; return b ^ 0x54321; }
int print_char(int a)
{
    int b = a + 0x777777;
    return b * 0x1abcdef;
}
int never_called(void) { return 3; }
int main(void) { return poll_port(1) + print_char(2); }
";

/// A program with debug information, compressed or not, and what it holds.
struct Program {
    path: PathBuf,
    image: Vec<u8>,
}

impl Program {
    fn compile(dir: &Path, name: &str, source: &str, flags: &[&str]) -> Self {
        let path = dir.join(name);
        let source_path = dir.join("program.c");
        std::fs::write(&source_path, source).unwrap();
        let status = Command::new("cc")
            .args(["-g", "-O0", "-fcf-protection=none", "-o"])
            .arg(&path)
            .args(flags)
            .arg(&source_path)
            .status()
            .expect("a C compiler, which the build needs too");
        assert!(status.success());
        let image = std::fs::read(&path).unwrap();
        Self { path, image }
    }

    fn function(&self, name: &str) -> u64 {
        let elf = object::File::parse(&*self.image).unwrap();
        elf.symbols().find(|s| s.name() == Ok(name)).unwrap().address()
    }

    fn bytes(&self, address: u64, length: usize) -> Vec<u8> {
        let elf = object::File::parse(&*self.image).unwrap();
        elf.segments()
            .find_map(|s| s.data().ok()?.get(usize::try_from(address.checked_sub(s.address())?).ok()?..))
            .unwrap()[..length]
            .to_vec()
    }

    fn file(&self) -> SymbolFile {
        SymbolFile { path: self.path.clone(), offset: None }
    }

    /// A trace with exits at both functions of the program, which the guest had moved.
    fn trace(&self, dir: &Path, moved: u64) -> Trace {
        let mut trace = SyntheticTrace::create(&dir.join("run.trap"), &header());
        for (function, offset) in [("poll_port", 0), ("poll_port", 4), ("print_char", 4), ("print_char", 8)] {
            let at = self.function(function) + offset;
            let site = trace.site(ExitKind::PortRead, 0x3fd, 1, at + moved, &self.bytes(at, 6));
            (0..=offset).for_each(|_| trace.exit(site, &[0], 3000, 900));
        }
        let elsewhere = trace.site(ExitKind::PortWrite, 0x80, 1, 0x10, &[0xee]);
        trace.exit(elsewhere, &[0], 3000, 900);
        Trace::open(&trace.end(halted())).unwrap()
    }
}

#[test]
fn functions_and_lines_are_told_wherever_the_program_was_loaded() {
    let dir = tempfile::tempdir().unwrap();
    for (name, flags) in [("plain", &[][..]), ("zlib", &["-gz=zlib"]), ("static", &["-no-pie"])] {
        let program = Program::compile(dir.path(), name, PROGRAM, flags);
        for moved in [0, 0x5555_0000_0000] {
            let trace = program.trace(dir.path(), moved);
            let symbols = Symbols::load(&trace, &[program.file()]).unwrap();
            let lines: Vec<_> = (0..4).map(|i| symbols.of(i).unwrap().line.clone().unwrap()).collect();
            assert!(
                lines[0].ends_with("program.c:2") && lines[2].ends_with("program.c:4"),
                "{name}: {lines:?}"
            );
            let names: Vec<_> = (0..5).map(|i| symbols.of(i).map(|s| s.name.as_str())).collect();
            assert_eq!(
                names,
                [Some("poll_port"), Some("poll_port"), Some("print_char"), Some("print_char"), None]
            );
            assert_eq!(symbols.of(3).unwrap().start, program.function("print_char") + moved);
            assert!(symbols.notes()[0].ends_with("names 4 of 5 sites"), "{:?}", symbols.notes());
            assert_eq!(symbols.notes()[0].contains("moved up by 0x555500000000"), moved != 0);
        }
    }
}

#[test]
fn a_report_by_symbol_has_a_row_per_function() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::compile(dir.path(), "program", PROGRAM, &[]);
    let trace = program.trace(dir.path(), 0x1000);
    let symbols = || Symbols::load(&trace, &[program.file()]).unwrap();
    let report = Report::with_symbols(&trace, By::Symbol, symbols(), &mut |_| {}).unwrap();
    let cells = Cells(report.table());
    assert_eq!(cells.strs("symbol"), [Some("print_char"), Some("poll_port"), None]);
    assert_eq!(cells.u32s("sites"), [Some(2), Some(2), Some(1)]);
    assert_eq!(cells.u64s("count"), [Some(14), Some(6), Some(1)]);
    assert_eq!(cells.u64s("symbol_offset"), [None, None, None]);
    let text = Report::with_symbols(&trace, By::Site, symbols(), &mut |_| {}).unwrap().to_text(None, 120);
    assert!(text.contains("print_char+0x8"), "{text}");
    let plain = Report::from_trace(&trace, By::Symbol, &mut |_| {}).unwrap();
    assert_eq!(plain.table().height(), 1, "without names there is one row");
}

#[test]
fn a_file_of_another_build_names_nothing_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::compile(dir.path(), "program", PROGRAM, &[]);
    let trace = program.trace(dir.path(), 0x1000);
    let other = PROGRAM.replace("a * 0x12345", "a - 0x999").replace("a + 0x777777", "(a << 3) - 1");
    let other = Program::compile(dir.path(), "other", &other, &["-O1"]);
    let symbols = Symbols::load(&trace, &[other.file()]).unwrap();
    assert_eq!(symbols.notes().len(), 1);
    assert!(symbols.notes()[0].contains("names nothing") && symbols.notes()[0].contains("another build"));
    assert_eq!((0..5).filter_map(|i| symbols.of(i)).count(), 0);
    // Who names an address is believed.
    let told = SymbolFile { offset: Some(0x1000), ..other.file() };
    assert!(Symbols::load(&trace, &[told]).unwrap().of(0).is_some());
}

#[test]
fn a_map_is_read_and_its_hostile_names_are_printable() {
    let dir = tempfile::tempdir().unwrap();
    let mut trace = SyntheticTrace::create(&dir.path().join("run.trap"), &header());
    let site = trace.site(ExitKind::PortRead, 0x3fd, 1, 0x8010, &[0xec]);
    trace.exit(site, &[0], 3000, 900);
    let trace = Trace::open(&trace.end(halted())).unwrap();
    let map = dir.path().join("System.map");
    std::fs::write(&map, b"0000000000008000 T <script>\x1b[2J\xfe\n").unwrap();
    let symbols = Symbols::load(&trace, &[SymbolFile { path: map, offset: None }]).unwrap();
    assert_eq!(symbols.of(0).unwrap().name, "<script>\\u{1b}[2J\\xfe");
}

#[test]
fn a_file_that_holds_no_names_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::compile(dir.path(), "program", PROGRAM, &["-s"]);
    let empty = SyntheticTrace::create(&dir.path().join("run.trap"), &header()).end(halted());
    let trace = Trace::open(&empty).unwrap();
    let text = dir.path().join("text");
    std::fs::write(&text, "hello\nworld\n").unwrap();
    let missing = dir.path().join("missing");
    for path in [program.path.clone(), text, missing, dir.path().to_owned()] {
        let error = Symbols::load(&trace, &[SymbolFile { path: path.clone(), offset: None }]).unwrap_err();
        assert!(matches!(error, AnalyzerError::Symbols { path: told, .. } if told == path));
    }
}
