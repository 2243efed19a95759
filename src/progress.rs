//! Progress bars: on a terminal, and nowhere else.

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// A bar (with a known length) or a spinner on standard error; nothing in a pipe or when quiet.
pub fn bar(length: Option<u64>, template: &str, quiet: bool) -> ProgressBar {
    let is_shown = !quiet && std::io::stderr().is_terminal();
    let bar = match length {
        Some(length) => ProgressBar::new(length),
        None => ProgressBar::new_spinner(),
    };
    bar.set_draw_target(if is_shown {
        ProgressDrawTarget::stderr_with_hz(8)
    } else {
        ProgressDrawTarget::hidden()
    });
    // A template that does not parse is caught by the test below; the default style is no loss then.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // A bar that cannot be drawn is no reason to stop.
        let _ = write!(out, "{} exits/s", HumanCount(state.per_sec() as u64));
    }));
    if is_shown {
        bar.enable_steady_tick(Duration::from_millis(250));
    }
    bar
}

/// Of a recording: exits, exits/s, log size.
pub const RECORD: &str = "{spinner} recording  {human_pos} exits  {rate}  {msg}  {elapsed}";
/// Of a replay: per cent, exits/s.
pub const REPLAY: &str = "replaying  [{bar:30}] {percent:>3} %  {human_pos} exits  {rate}  {eta}";
/// Of a report.
pub const REPORT: &str = "reading  [{bar:30}] {percent:>3} %  {human_pos} exits  {rate}";
/// Of learning: suspects.
pub const LEARN: &str = "learning  [{bar:30}] {pos} of {len} suspects  {msg}  {elapsed}";

/// Console text of a guest on standard output, without tearing a bar on standard error.
pub struct ConsoleOut {
    bar: ProgressBar,
    is_live: bool,
    /// The line that each channel is in: channels do not mix within a line.
    lines: BTreeMap<u8, Vec<u8>>,
}

impl ConsoleOut {
    /// Output beside this bar, a line at a time or each character at once.
    pub fn beside(bar: ProgressBar, is_live: bool) -> Self {
        Self { bar, is_live, lines: BTreeMap::new() }
    }

    /// Prints bytes as they are.
    pub fn print(&mut self, channel: u8, bytes: &[u8]) {
        if self.is_live {
            write_out(bytes);
            return;
        }
        let line = self.lines.entry(channel).or_default();
        line.extend_from_slice(bytes);
        if let Some(end) = line.iter().rposition(|b| *b == b'\n') {
            let rest = line.split_off(end + 1);
            let whole = std::mem::replace(line, rest);
            self.bar.suspend(|| write_out(&whole));
        }
    }

    /// Prints what is left of lines.
    pub fn finish(&mut self) {
        for mut line in std::mem::take(&mut self.lines).into_values().filter(|l| !l.is_empty()) {
            line.push(b'\n');
            self.bar.suspend(|| write_out(&line));
        }
    }
}

fn write_out(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    // A closed standard output does not end a recording: the trace matters more than its echo.
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_parse() {
        for template in [RECORD, REPLAY, REPORT, LEARN] {
            ProgressStyle::with_template(template).unwrap();
        }
    }
}
