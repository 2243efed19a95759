//! What instructions are called: functions and source lines, from symbol files or from the kernel in the trace itself.
//!
//! Every site of a trace is named once, when the report begins; what the names came from is dropped again.

mod build_id;
mod demangle;
mod elf;
mod kallsyms;
mod lines;
mod memory;
mod namesakes;
mod payload;
mod placement;
mod source;
mod sources;
mod table;
mod text;

#[cfg(test)]
mod elf_for_tests;

use crate::error::AnalyzerError;
use crate::stacks::Stacks;
pub(crate) use lines::contents as section_contents;
pub(crate) use placement::Chunk;
use source::Source;
pub use sources::Sources;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
pub(crate) use table::{Entry, Table};
use trapline_formats::{Site, Trace, printable};

/// A symbol file as a user names it: `FILE`, or `FILE@ADDRESS` where its addresses count from another place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolFile {
    /// The file: ELF, bzImage, System.map or the text of `/proc/kallsyms`.
    pub path: PathBuf,
    /// What is added to its addresses; found by comparing instructions where it is not told.
    pub offset: Option<u64>,
}

impl FromStr for SymbolFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((path, offset)) = text.rsplit_once('@') else {
            return Ok(Self { path: text.into(), offset: None });
        };
        let Some(digits) = offset.strip_prefix("0x") else {
            return Ok(Self { path: text.into(), offset: None });
        };
        let offset = u64::from_str_radix(digits, 16).map_err(|_| format!("`@{offset}` is no address"))?;
        Ok(Self { path: path.into(), offset: Some(offset) })
    }
}

/// The function that an instruction stands in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Symbol {
    /// Its name, demangled and printable.
    pub name: String,
    /// Where it starts.
    pub start: u64,
    /// File and line, where the symbol file says.
    pub line: Option<String>,
}

/// The code of a function in which something trapped, as its image holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Where it starts in the guest.
    pub start: u64,
    /// Its bytes; rewritten instructions stand here as they were.
    pub bytes: Vec<u8>,
}

/// Names for the sites of one trace, and where they are known, the call stacks of its exits.
#[derive(Debug, Clone, Default)]
pub struct Symbols {
    of_site: Vec<Option<Arc<Symbol>>>,
    functions: Vec<Function>,
    notes: Vec<String>,
    stacks: Option<Arc<Stacks>>,
}

impl Symbols {
    /// No names.
    pub fn none() -> Self {
        Self::default()
    }

    /// Names from these files, and where the guest was a Linux kernel, from the tables inside that kernel. A file that
    /// cannot be read is an error; one that does not fit the trace is told by [`Symbols::notes`].
    pub fn load(trace: &Trace, files: &[SymbolFile]) -> Result<Self, AnalyzerError> {
        Ok(Self::of_sources(trace, &Sources::load(trace, files)?))
    }

    /// Names from what was loaded before.
    pub fn of_sources(trace: &Trace, sources: &Sources) -> Self {
        let sites = trace.sites();
        let mut symbols = Self { of_site: vec![None; sites.len()], ..Self::default() };
        sources.all().for_each(|source| symbols.take(source, sites));
        symbols
    }

    /// The same, with the call stacks of a replay of the same trace, and the names of what stands in modules of its kernel.
    #[must_use]
    pub fn with_stacks(mut self, trace: &Trace, stacks: Stacks) -> Self {
        let sites = trace.sites();
        self.of_site.resize(sites.len(), None);
        for module in stacks.modules() {
            let mut named = 0;
            for (site, slot) in sites.iter().zip(&mut self.of_site).filter(|(_, slot)| slot.is_none()) {
                *slot = module.symbol(site.instruction.address.0).map(Arc::new);
                named += u32::from(slot.is_some());
            }
            if named > 0 {
                self.notes.push(format!("{} names {named} of {} sites", module.note(), sites.len()));
            }
        }
        Self { stacks: Some(Arc::new(stacks)), ..self }
    }

    /// The call stacks of the exits.
    pub fn stacks(&self) -> Option<&Stacks> {
        self.stacks.as_deref()
    }

    /// Names the sites that have no name yet.
    fn take(&mut self, source: &Source, sites: &[Site]) {
        let Some(offset) = source.placed else {
            self.notes.push(source.refusal());
            return;
        };
        let (mut named, mut taken) = (0, 0);
        for (site, slot) in sites.iter().zip(&mut self.of_site) {
            let Some(symbol) = source.symbol(site.instruction.address.0) else { continue };
            named += 1;
            let known = slot.get_or_insert_with(|| Arc::new(symbol.clone()));
            taken += usize::from(known.start != symbol.start);
        }
        self.keep_code(source, offset);
        self.notes.push(source.note(offset, named, taken, sites.len()));
    }

    /// Keeps the code of the functions that were named, for listings.
    fn keep_code(&mut self, source: &Source, offset: u64) {
        let mut named: Vec<_> = self.of_site.iter().flatten().collect();
        named.sort_by_key(|s| s.start);
        named.dedup_by_key(|s| s.start);
        for symbol in named {
            if self.functions.iter().any(|f| f.start == symbol.start) {
                continue;
            }
            let start = symbol.start.wrapping_sub(offset);
            if let Some(bytes) = source.table.at(start).and_then(|found| source.code(start..found.end)) {
                self.functions.push(Function {
                    name: symbol.name.clone(),
                    start: symbol.start,
                    bytes: bytes.to_vec(),
                });
            }
        }
    }

    /// The function of a site.
    pub fn of(&self, site: u32) -> Option<&Symbol> {
        self.of_site.get(site as usize)?.as_deref()
    }

    /// The code of functions in which something trapped.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// What each source of names was, how many sites it names, where it was moved to, or why it was not believed. For
    /// people; safe for a terminal.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// Text of a symbol file.
fn safe(text: &[u8]) -> String {
    printable(text, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_file_may_have_an_address() {
        let parsed = |text: &str| text.parse::<SymbolFile>();
        assert_eq!(parsed("a@b"), Ok(SymbolFile { path: "a@b".into(), offset: None }));
        assert_eq!(parsed("a@0x10"), Ok(SymbolFile { path: "a".into(), offset: Some(16) }));
        assert!(parsed("a@0xg").is_err());
    }
}
