//! One thing that names come from: a file, or the kernel in a trace.

use super::build_id::{self, BuildId};
use super::lines::Lines;
use super::placement::{self, Chunk};
use super::table::Table;
use super::{Symbol, SymbolFile, demangle, elf, kallsyms, payload, safe, text};
use crate::error::AnalyzerError;
use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;
use trapline_formats::Site;

/// Symbols that mark the start of a kernel's code, as the link address or the running one.
const KERNEL_STARTS: [&[u8]; 2] = [b"_text", b"startup_64"];

/// Functions, and where it is known, the code they are made of.
#[derive(Default)]
pub(crate) struct Source {
    /// For people.
    pub(super) name: String,
    /// "ELF symbols", "kallsyms".
    kind: &'static str,
    pub(super) table: Table,
    chunks: Vec<Chunk>,
    /// An ELF file with its debug information and unwinding tables, if any.
    file: Vec<u8>,
    /// Its source lines, once somebody asks.
    lines: OnceCell<Option<Lines>>,
    /// What is added to its addresses, once that is known.
    pub(super) placed: Option<u64>,
    /// Why it is not believed, or not wholly.
    doubt: Option<String>,
    /// Names that another source gives to other functions.
    pub(super) namesakes: BTreeSet<Vec<u8>>,
}

impl Source {
    /// Reads a file of any kind that is known.
    pub(super) fn read(file: &SymbolFile) -> Result<Self, AnalyzerError> {
        let error = |reason: String| AnalyzerError::Symbols { path: file.path.clone(), reason };
        let bytes = std::fs::read(&file.path).map_err(|e| error(e.to_string()))?;
        let name = safe(file.path.file_name().unwrap_or_default().as_encoded_bytes());
        if let Some(kernel) = payload::of_bzimage(&bytes) {
            return Self::of_image(name, kernel)
                .ok_or_else(|| error("the kernel packed in it is no ELF file".into()));
        }
        if elf::is_unlinked(&bytes) {
            return Err(error(
                "it is not linked, so its functions have no addresses yet (a kernel module's .ko?): the guest's /proc/kallsyms has \
                 them, and --stacks finds modules in its memory"
                    .into(),
            ));
        }
        if let Some(source) = Self::of_image(name.clone(), bytes.clone()) {
            let known = (!source.table.is_empty()).then_some(source);
            return known.ok_or_else(|| error("it has no symbols, and no kallsyms tables either".into()));
        }
        let table = text::read(&bytes).ok_or_else(|| {
            error("it is neither ELF nor a bzImage nor lines of address, type and name with addresses".into())
        })?;
        Ok(Self { name, kind: "text", table, ..Self::default() })
    }

    /// An ELF image: its symbols, or where it is stripped, its kallsyms tables.
    pub(super) fn of_image(name: String, bytes: Vec<u8>) -> Option<Self> {
        let elf = elf::read(&bytes)?;
        if elf.table.is_empty() {
            let found = elf.code.iter().chain(&elf.data).find_map(|(_, bytes)| kallsyms::find(bytes));
            return Some(Self { file: bytes, ..Self::with_kallsyms(name, found, elf.code) });
        }
        Some(Self {
            name,
            kind: "ELF symbols",
            table: elf.table,
            chunks: elf.code,
            file: bytes,
            ..Self::default()
        })
    }

    /// Memory: the kallsyms tables in it.
    pub(super) fn of_chunks(name: String, chunks: Vec<Chunk>) -> Self {
        let found = chunks.iter().find_map(|(_, bytes)| kallsyms::find(bytes));
        Self::with_kallsyms(name, found, chunks)
    }

    fn with_kallsyms(name: String, found: Option<Table>, chunks: Vec<Chunk>) -> Self {
        let table = found.unwrap_or_default();
        Self { name, kind: "kallsyms", table, chunks, ..Self::default() }
    }

    /// Finds out where its code stands in the guest.
    pub(super) fn place(&mut self, sites: &[Site]) {
        self.placed = placement::find(&self.chunks, sites).map(|p| p.offset);
    }

    /// A list of addresses alone has no code to compare. A kernel's moves as the kernel in the trace did; any other is
    /// taken at its word.
    pub(super) fn follow(&mut self, kernel: Option<&Self>) {
        if !self.chunks.is_empty() {
            return;
        }
        let start = |table: &Table| KERNEL_STARTS.iter().find_map(|name| table.address_of(name));
        let moved =
            start(&self.table).zip(kernel.and_then(|k| Some(start(&k.table)?.wrapping_add(k.placed?))));
        let offset = moved.map_or(0, |(listed, running)| running.wrapping_sub(listed));
        if offset != 0 && self.table.drop_modules() > 0 {
            self.doubt =
                Some("names of modules are left out: it is of another boot, and they lie elsewhere".into());
        }
        self.placed = Some(offset);
    }

    /// The function at an address of the guest.
    pub(super) fn symbol(&self, address: u64) -> Option<Symbol> {
        let offset = self.placed?;
        let own = address.wrapping_sub(offset);
        let found = self.table.at(own)?;
        let line = self.lines.get_or_init(|| Lines::read(&self.file)).as_ref().and_then(|l| l.at(own));
        let mut name = demangle::demangle(found.name);
        if self.namesakes.contains(found.name) {
            let _ = write!(name, " [{}]", self.name);
        }
        Some(Symbol { name, start: found.start.wrapping_add(offset), line })
    }

    /// Where the function at an address of the guest starts.
    pub(super) fn function_start(&self, address: u64) -> Option<u64> {
        let offset = self.placed?;
        Some(self.table.at(address.wrapping_sub(offset))?.start.wrapping_add(offset))
    }

    /// The ELF file, for its unwinding tables; empty where it is none.
    pub(crate) fn file(&self) -> &[u8] {
        &self.file
    }

    /// The memory of a kernel that is no file, and the addresses that its code may have. Names end before the code does: what
    /// is thrown away after the boot may have none.
    pub(crate) fn memory(&self) -> Option<(&[Chunk], Range<u64>)> {
        /// No kernel is larger (KERNEL_IMAGE_SIZE, arch/x86/include/asm/page_64_types.h).
        const MOST: u64 = 1 << 30;
        (self.file.is_empty() && !self.chunks.is_empty()).then_some(())?;
        let start = self.table.start()?;
        Some((&self.chunks, start..start.checked_add(MOST)?))
    }

    /// Bytes of code at its own addresses.
    pub(super) fn code(&self, range: Range<u64>) -> Option<&[u8]> {
        /// A listing is not made of more.
        const MOST: u64 = 16 << 10;
        let length = range.end.checked_sub(range.start)?.min(MOST);
        let longest =
            (1..=length as usize).rev().step_by(64).find_map(|n| placement::at(&self.chunks, range.start, n));
        longest.filter(|bytes| !bytes.is_empty())
    }

    /// Refuses a kernel's file where the kernel in the trace is another build; code that did not trap is not compared, and names
    /// and unwinding tables would be wrong there. A place that a user insists on is kept, with a warning.
    pub(super) fn compare_build(&mut self, kernel: &Self, is_insisted: bool) {
        let is_kernel = KERNEL_STARTS.iter().any(|name| self.table.address_of(name).is_some());
        let Some(own) = build_id::of_file(&self.file).filter(|_| is_kernel) else { return };
        let theirs = kernel.build_ids();
        let Some(first) = theirs.first().filter(|_| !theirs.contains(&own)) else { return };
        self.doubt = Some(format!("it is build {own}, and the kernel in the trace is build {first}"));
        if !is_insisted {
            self.placed = None;
        }
    }

    fn build_ids(&self) -> Vec<BuildId> {
        match build_id::of_file(&self.file) {
            Some(own) => vec![own],
            None if self.file.is_empty() => self.chunks.iter().flat_map(|c| build_id::all_in(&c.1)).collect(),
            None => build_id::all_in(&self.file),
        }
    }

    /// Warns of code that is not what trapped at the place that a user insists on.
    pub(super) fn compare_code(&mut self, sites: &[Site]) {
        let Some(offset) = self.placed else { return };
        let (same, others) = placement::agreement(&self.chunks, sites, offset);
        if others > 0 {
            let all = same + others;
            self.doubt =
                Some(format!("{others} of {all} instructions there are others: is it of another build?"));
        }
    }

    /// What was done with it.
    pub(super) fn note(&self, offset: u64, named: usize, taken: usize, sites: usize) -> String {
        let moved = match offset {
            0 => String::new(),
            up if up < 1 << 63 => format!(", moved up by {up:#x}"),
            down => format!(", moved down by {:#x}", down.wrapping_neg()),
        };
        let mut doubt = self.doubt.as_ref().map_or(String::new(), |doubt| format!("; but {doubt}"));
        if taken > 0 {
            let _ = write!(doubt, "; {taken} of them are in other functions by a source above");
        }
        format!(
            "{} ({}, {}{moved}) names {named} of {sites} sites{doubt}",
            self.name,
            self.kind,
            self.table.len()
        )
    }

    /// Why it was not believed.
    pub(super) fn refusal(&self) -> String {
        if let Some(doubt) = &self.doubt {
            return format!("{} ({}) names nothing: {doubt}", self.name, self.kind);
        }
        format!(
            "{} ({}) names nothing: its code is not where the guest's instructions trapped. Is it of another build?",
            self.name, self.kind
        )
    }
}
