//! Flame graphs: the folded stacks, drawn by inferno.

use super::folded::Unit;
use crate::error::AnalyzerError;
use inferno::flamegraph::{self, Options, TextTruncateDirection};
use std::io::{self, Write};

/// What stands around a picture. All of it is printable.
pub(super) struct Frame<'a> {
    pub(super) title: String,
    pub(super) subtitle: String,
    pub(super) unit: Unit,
    /// What a reader must know before believing it: the first words under the title, all of it in a comment.
    pub(super) warnings: &'a [String],
}

/// Draws folded stacks with one column, or with two, before and now. Where all of them (now) weigh nothing, there is no picture.
pub(super) fn draw(
    folded: &str,
    frame: &Frame<'_>,
    out: &mut impl Write,
) -> Result<io::Result<()>, AnalyzerError> {
    let weight = |line: &str| line.rsplit_once(' ').and_then(|(_, n)| n.parse::<u64>().ok()).unwrap_or(0);
    if folded.lines().all(|line| weight(line) == 0) {
        return Err(AnalyzerError::NoCost);
    }
    let mut options = Options::default();
    // By its name, not by chance.
    options.hash = true;
    // Names differ at their beginning.
    options.text_truncate_direction = TextTruncateDirection::Right;
    options.count_name = frame.unit.name().into();
    options.name_type = "Frame:".into();
    options.title = in_xml(&frame.title);
    let heads = frame.warnings.iter().filter_map(|w| Some(w.split_once(':')?.0));
    options.subtitle = Some(heads.fold(in_xml(&frame.subtitle), |text, head| text + "; " + head));
    // Two hyphens would end the comment that they stand in.
    options.notes = in_xml(&frame.warnings.join(" ")).replace('-', "\u{2010}");
    Ok(flamegraph::from_lines(&mut options, in_xml(folded).lines(), out))
}

/// XML has no place for two characters that are printable.
fn in_xml(text: &str) -> String {
    text.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}
