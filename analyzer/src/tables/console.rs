//! One row per line that the guest printed.

use super::clock::Clock;
use super::{Table, categories, column};
use crate::error::AnalyzerError;
use crate::stream::damage;
use polars::prelude::DataFrame;
use std::collections::BTreeMap;
use trapline_formats::{ConsoleText, Trace, printable};

/// A line, or what there is of it.
#[derive(Debug)]
struct Line {
    exit: u64,
    last_exit: u64,
    channel: u8,
    bytes: Vec<u8>,
}

/// What the guest printed, line by line, in the order in which the lines begin.
pub fn console(trace: &Trace) -> Result<Table, AnalyzerError> {
    let mut lines = Lines::default();
    let mut cut = None;
    for texts in trace.console() {
        match texts {
            Ok(texts) => texts.into_iter().for_each(|text| lines.add(&text)),
            Err(error) => {
                cut = Some(damage(error)?);
                break;
            }
        }
    }
    let frame = frame(trace, &lines.finish())?;
    Ok(Table { frame, damage: cut.or_else(|| trace.damage().cloned()) })
}

/// Lines in the making, one for each channel.
#[derive(Debug, Default)]
struct Lines {
    whole: Vec<Line>,
    open: BTreeMap<u8, Line>,
}

impl Lines {
    fn add(&mut self, text: &ConsoleText) {
        let (exit, channel) = (text.exit, text.channel);
        for piece in text.bytes.split_inclusive(|b| *b == b'\n') {
            let new = || Line { exit, last_exit: exit, channel, bytes: Vec::new() };
            let line = self.open.entry(channel).or_insert_with(new);
            line.last_exit = exit;
            line.bytes.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.whole.extend(self.open.remove(&channel));
            }
        }
    }

    fn finish(mut self) -> Vec<Line> {
        self.whole.extend(self.open.into_values());
        self.whole.sort_by_key(|line| (line.exit, line.last_exit, line.channel));
        self.whole
    }
}

fn frame(trace: &Trace, lines: &[Line]) -> Result<DataFrame, AnalyzerError> {
    let mut clock = Clock::new(trace);
    let starts = lines.iter().map(|line| clock.start_of(line.exit)).collect::<Result<Vec<_>, _>>()?;
    let names = &trace.header().console_channels;
    let channels: Vec<_> = lines.iter().map(|line| names.get(usize::from(line.channel))).collect();
    let text = |line: &Line| printable(line.bytes.trim_ascii_end(), false);
    let built = categories("channel", &channels).and_then(|channel| {
        let columns = vec![
            column("exit", lines.iter().map(|line| line.exit).collect()),
            column("last_exit", lines.iter().map(|line| line.last_exit).collect()),
            column("start_ns", starts),
            channel,
            column("text", lines.iter().map(text).collect()),
        ];
        DataFrame::new(lines.len(), columns)
    });
    built.map_err(AnalyzerError::table("build the table of console lines"))
}
