//! One row per site: where exits come from.

use super::{categories, column};
use crate::disassembly::Disassembler;
use crate::error::AnalyzerError;
use crate::names::{Names, space_name};
use crate::symbols::{Symbol, Symbols};
use polars::prelude::{DataFrame, PolarsResult};
use trapline_formats::{Site, Trace};

/// The dictionary of a trace: what each of its sites does, and where it stands.
pub fn sites(trace: &Trace, symbols: &Symbols) -> Result<DataFrame, AnalyzerError> {
    frame(trace, symbols).map_err(AnalyzerError::table("describe the sites"))
}

fn frame(trace: &Trace, symbols: &Symbols) -> PolarsResult<DataFrame> {
    let sites = trace.sites();
    let names = Names::new(&trace.header().names);
    let name = |s: &Site| s.kind.space().and_then(|space| names.of(space, s.address));
    let device: Vec<_> = each(sites, |s| name(s).map(|n| n.device.into_owned()));
    let register: Vec<_> =
        each(sites, |s| name(s).map(|n| n.register.into_owned()).filter(|r| !r.is_empty()));
    let disassembler = Disassembler::new(&trace.header().rewrites);
    let (bytes, text): (Vec<_>, Vec<_>) =
        sites.iter().map(|s| disassembler.of(s)).map(|d| (d.bytes, d.text)).unzip();
    let symbol: Vec<Option<&Symbol>> = (0..sites.len() as u32).map(|id| symbols.of(id)).collect();
    let function: Vec<_> = symbol.iter().map(|s| s.map(|s| s.name.as_str())).collect();
    let offset = symbol.iter().zip(sites).map(|(s, site)| Some(site.instruction.address.0 - (*s)?.start));
    let line: Vec<_> = symbol.iter().map(|s| s.and_then(|s| s.line.as_deref())).collect();
    let columns = vec![
        column("site", (0..sites.len() as u32).collect()),
        categories("kind", &each(sites, |s| Some(s.kind.name())))?,
        categories("space", &each(sites, |s| s.kind.space().map(space_name)))?,
        column("address", each(sites, |s| s.kind.space().map(|_| s.address))),
        column("size", each(sites, |s| s.kind.has_data().then_some(s.size))),
        column("rep", each(sites, |s| s.rep)),
        column("instruction_address", each(sites, |s| s.instruction.address.0)),
        categories("symbol", &function)?,
        column("symbol_offset", offset.collect::<Vec<_>>()),
        categories("source_line", &line)?,
        column("bytes", bytes),
        categories("disassembly", &text)?,
        categories("mode", &each(sites, |s| Some(s.instruction.mode.name())))?,
        column("cpl", each(sites, |s| s.instruction.cpl)),
        categories("device", &device)?,
        categories("register", &register)?,
        column("is_input", each(sites, |s| s.kind.is_input())),
    ];
    DataFrame::new(sites.len(), columns)
}

fn each<T>(sites: &[Site], value: impl FnMut(&Site) -> T) -> Vec<T> {
    sites.iter().map(value).collect()
}
