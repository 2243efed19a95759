//! All that names come from, each placed where the guest has it.

use super::source::Source;
use super::{Symbol, SymbolFile, memory};
use crate::error::AnalyzerError;
use trapline_formats::Trace;

/// Symbol files, and the kernel in a trace. Large: drop it when names and stacks are known.
#[derive(Default)]
pub struct Sources(Vec<Source>);

impl Sources {
    /// Reads these files, and where the guest was a Linux kernel, that kernel; finds out where their code stands in the guest.
    pub fn load(trace: &Trace, files: &[SymbolFile]) -> Result<Self, AnalyzerError> {
        let sites = trace.sites();
        let mut all = Vec::new();
        let mut kernel = memory::kernel(trace)?;
        if let Some(kernel) = &mut kernel {
            kernel.place(sites);
        }
        for file in files {
            let mut source = Source::read(file)?;
            match (file.offset, &kernel) {
                (Some(offset), _) => source.placed = Some(offset),
                (None, kernel) => {
                    source.place(sites);
                    source.follow(kernel.as_ref());
                }
            }
            all.push(source);
        }
        all.extend(kernel.filter(|k| !k.table.is_empty()));
        Ok(Self(all))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Source> {
        self.0.iter()
    }

    /// Those that fit the trace, and what is added to their addresses.
    pub(crate) fn placed(&self) -> impl Iterator<Item = (&Source, u64)> {
        self.0.iter().filter_map(|source| Some((source, source.placed?)))
    }

    /// The function at an address.
    pub(crate) fn symbol(&self, address: u64) -> Option<Symbol> {
        self.0.iter().find_map(|source| source.symbol(address))
    }

    /// Where the function at an address starts.
    pub(crate) fn function_start(&self, address: u64) -> Option<u64> {
        self.0.iter().find_map(|source| source.function_start(address))
    }
}
