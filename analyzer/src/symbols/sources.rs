//! All that names come from, each placed where the guest has it.

use super::source::Source;
use super::{Symbol, SymbolFile, memory, namesakes};
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
                (Some(offset), _) => {
                    source.placed = Some(offset);
                    source.compare_code(sites);
                }
                (None, kernel) => {
                    source.place(sites);
                    source.follow(kernel.as_ref());
                }
            }
            if let Some(kernel) = &kernel {
                source.compare_build(kernel, file.offset.is_some());
            }
            all.push(source);
        }
        namesakes::tell_files_apart(&mut all, files);
        all.extend(kernel.filter(|k| !k.table.is_empty()));
        namesakes::tell_functions_apart(&mut all);
        Ok(Self(all))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Source> {
        self.0.iter()
    }

    /// Those that fit the trace, and what is added to their addresses.
    pub(crate) fn placed(&self) -> impl Iterator<Item = (&Source, u64)> {
        self.0.iter().filter_map(|source| Some((source, source.placed?)))
    }

    /// Where the guest's kernel has its list of modules.
    pub(crate) fn module_list(&self) -> Option<u64> {
        self.placed().find_map(|(source, offset)| Some(source.table.modules?.wrapping_add(offset)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbols::elf_for_tests;

    #[test]
    fn a_kernel_of_another_build_is_refused_unless_a_user_insists() {
        let file = |id: u8| elf_for_tests::kernel(&[id; 20]);
        let kernel = Source::of_image("kernel".into(), file(1)).unwrap();
        for (id, insists, placed) in [(1, false, true), (2, false, false), (2, true, true)] {
            let mut source = Source::of_image("vmlinux".into(), file(id)).unwrap();
            source.placed = Some(0);
            source.compare_build(&kernel, insists);
            assert_eq!(source.placed.is_some(), placed, "{id} {insists}");
            let told = if placed { source.note(0, 1, 0, 1) } else { source.refusal() };
            let words = "it is build 020202020202…, and the kernel in the trace is build 010101010101…";
            assert_eq!(told.contains(words), id == 2, "{told}");
        }
    }
}
