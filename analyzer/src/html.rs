//! The report as one page for a browser: it works offline, loads nothing, and says which guest data it holds.
//!
//! All data stands in one JSON block; the script of the page puts it in place as text, never as markup.

mod comparison;
mod listing;
mod phases;
mod pictures;

use crate::cells::Cells;
use crate::error::AnalyzerError;
use crate::labels::Labels;
use crate::report::Report;
use crate::stack_costs::StackCost;
use crate::stacks::Caller;
use pictures::Pictures;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use trapline_formats::Trace;

/// The page, with places to fill.
const PAGE: &str = include_str!("html/page.html");
/// What draws its pictures: libraries of others with their licences, as analyzer/page puts them together.
const LIBRARIES: &str = include_str!("html/libraries.js");
/// What they draw.
const PICTURES: &str = include_str!("html/pictures.js");
const TITLE_PLACE: &str = "{{title}}";
const LIBRARIES_PLACE: &str = "{{libraries}}";
const PICTURES_PLACE: &str = "{{pictures}}";
const DATA_PLACE: &str = "{{data}}";
/// Rows of the table unless told otherwise: a browser shows these well.
const MOST_ROWS: usize = 1000;
/// Rows of the heat map: the dearest sites.
const HEAT_ROWS: usize = 24;

impl Report {
    /// The report by site as an HTML page, with at most `top` rows. The trace is read once more, for the pictures.
    pub fn to_html(&self, trace: &Trace, top: Option<usize>) -> Result<String, AnalyzerError> {
        let table = self.rows(Some(top.unwrap_or(MOST_ROWS)))?;
        let cells = Cells(&table);
        let sites: Vec<u32> = (0..table.height()).filter_map(|row| cells.u32("site", row)).collect();
        let labels = Labels::new(trace, &self.symbols, &self.pci, sites.iter().copied());
        let pictures = Pictures::of(self, trace, &sites)?;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let title = trapline_formats::printable(name.as_bytes(), false);
        let mut rows: Vec<_> =
            (0..table.height()).filter_map(|row| html_row(cells, row, &labels, &pictures)).collect();
        let costs = sites.iter().zip(&mut rows).filter(|(_, row)| row["idle"] == false);
        for (&site, row) in costs.take(HEAT_ROWS) {
            row["heat"] = json!(pictures.heat(site));
        }
        let listings = listing::listings(trace, &self.symbols, &sites);
        let data = json!({
            "title": title,
            "facts": self.facts(),
            "warnings": self.warnings(),
            "path_is": self.pricing.certainty(),
            "recorder": self.recorder_note(),
            "legend": self.cost_in_words(),
            "totals": self.totals,
            "sites": rows,
            "sites_in_all": self.table.height() as u64 + (self.shared.costs + self.shared.idle).saturating_sub(1),
            "time": pictures.time(),
            "phases": phases::phases(&pictures, &labels),
            "suggestions": self.suggestions,
            "stacks": self.flame_stacks(&sites),
            "listings": listings,
            "holds": holds(&rows, &listings, self.symbols.stacks().is_some()),
        });
        let (title, data) = (escaped(&title), in_script(&data));
        let places = [
            (TITLE_PLACE, &*title),
            (LIBRARIES_PLACE, LIBRARIES),
            (PICTURES_PLACE, PICTURES),
            (DATA_PLACE, &data),
        ];
        Ok(filled(PAGE, &places))
    }
}

impl Report {
    /// Costs by stack, callers from the outside in; null where no stacks are known.
    fn flame_stacks(&self, sites: &[u32]) -> Value {
        let Some(stacks) = self.symbols.stacks() else { return Value::Null };
        let shown: BTreeSet<_> = sites.iter().collect();
        let one = |s: &StackCost| {
            let callers = s.stack.into_iter().flat_map(|n| stacks.callers(n).rev());
            json!({
                "site": s.site,
                "count": s.count,
                "cost_ns": (self.totals.timed_exits > 0).then_some(s.cost_ns),
                "callers": callers.map(Caller::function).collect::<Vec<_>>(),
            })
        };
        self.stacks.iter().filter(|s| !s.idle && shown.contains(&s.site)).map(one).collect()
    }
}

/// A row of the table.
fn html_row(cells: Cells<'_>, row: usize, labels: &Labels, pictures: &Pictures) -> Option<Value> {
    let site = cells.u32("site", row)?;
    let label = labels.of(site);
    Some(json!({
        "site": site,
        "idle": cells.bool("idle", row),
        "at": cells.u64("instruction_address", row).map(|a| format!("{a:#x}")),
        "instruction": cells.str("disassembly", row).unwrap_or("(unreadable)"),
        "bytes": cells.str("bytes", row),
        "function": label.function,
        "offset": cells.u64("symbol_offset", row),
        "start": cells.u64("instruction_address", row).zip(cells.u64("symbol_offset", row)).map(|(at, o)| format!("{:#x}", at - o)),
        "line": cells.str("source_line", row),
        "does": label.target,
        "count": cells.u64("count", row),
        "percent": cells.f64("cost_percent", row),
        "cost_ns": cells.u64("cost_ns", row),
        "vmm_ns": cells.u64("vmm_ns", row),
        "path_ns": cells.u64("path_ns", row),
        "recorder_ns": cells.u64("recorder_ns", row),
        "p50": cells.f64("vmm_p50_ns", row),
        "p99": cells.f64("vmm_p99_ns", row),
        "max": cells.f64("vmm_max_ns", row),
        "run_p50": cells.f64("guest_p50_ns", row),
        "first": cells.u64("first_exit", row),
        "last": cells.u64("last_exit", row),
        "heat": null,
        "vmm_times": pictures.vmm_times(site),
        "run_times": pictures.run_times(site),
    }))
}

/// What of the guest is in the page, so that who passes it on knows.
fn holds(rows: &[Value], listings: &[Value], has_stacks: bool) -> String {
    let callers = if has_stacks { ", which functions called them" } else { "" };
    let lines: usize = listings.iter().filter_map(|l| l["lines"].as_array()).map(Vec::len).sum();
    format!(
        "This page holds data of the guest: the addresses, bytes and functions of {} instructions{callers}, {lines} lines of code of {} \
         functions, names of files it was booted from, and times. It holds no memory contents but that code, no console \
         text, and no values that were read or written.",
        rows.len(),
        listings.len()
    )
}

/// Fills the places of a page, which stand in this order. What goes in is not looked at again: a guest may name things after places.
fn filled(page: &str, places: &[(&str, &str)]) -> String {
    let mut text = String::new();
    let mut rest = page;
    for (place, content) in places {
        let (before, after) = rest.split_once(place).unwrap_or((rest, ""));
        text.extend([before, content]);
        rest = after;
    }
    text + rest
}

/// Text inside an element.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// JSON inside a script element: nothing in it can end that element, or begin a comment there.
fn in_script(data: &Value) -> String {
    data.to_string().replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_data_can_end_its_script() {
        let data = json!({"name": "</script><script>alert(1)</script><!--"});
        let text = in_script(&data);
        assert!(!text.contains('<') && !text.contains('>'));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), data);
        assert_eq!(escaped("<b>\"&\""), "&lt;b&gt;&quot;&amp;&quot;");
    }

    #[test]
    fn what_is_filled_in_is_no_place_itself() {
        let places = [(TITLE_PLACE, "{{data}}"), (DATA_PLACE, "{{title}}")];
        assert_eq!(filled("<{{title}}> {{data}}.", &places), "<{{data}}> {{title}}.");
    }

    #[test]
    fn the_page_has_its_places_and_loads_nothing() {
        for place in [TITLE_PLACE, LIBRARIES_PLACE, PICTURES_PLACE, DATA_PLACE, "default-src 'none'"] {
            assert!(PAGE.contains(place), "{place}");
        }
        for word in [
            "http:",
            "https:",
            "src=",
            "href=\"//",
            "@import",
            "innerHTML",
            "insertAdjacentHTML",
            "document.write",
            ".html(",
        ] {
            assert!(!PAGE.contains(word) && !PICTURES.contains(word), "{word}");
        }
        // What the page's policy would refuse, and what would end the script that they stand in.
        for word in
            ["eval(", "new Function", "fetch(", "XMLHttpRequest", "import(", "</script", "<script", "<!--"]
        {
            assert!(!LIBRARIES.contains(word), "{word}");
        }
    }

    #[test]
    fn the_libraries_are_what_was_made_of_what_stands_in_their_folder() {
        let crc = |bytes: &[u8]| {
            let mut crc = flate2::Crc::new();
            crc.update(bytes);
            crc.sum()
        };
        let read = |name: &str| std::fs::read(format!("{}/page/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let inputs = ["build.mjs", "libraries.js", "package.json", "package-lock.json"].map(read).concat();
        let (head, content) = LIBRARIES.split_once('\n').unwrap();
        let (inputs, content) = (crc(&inputs), crc(content.as_bytes()));
        let expected = format!("/* made by analyzer/page: inputs {inputs:08x}, content {content:08x} */");
        assert_eq!(head, expected, "`npm ci && npm run build` in analyzer/page makes them anew");
    }
}
