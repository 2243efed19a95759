//! `--until-console`, `--input-after`: watches what the guest prints.

use regex::bytes::Regex;
use std::collections::BTreeMap;

/// A line longer than this is matched in pieces.
const LONGEST_LINE: usize = 4096;

/// Matches a regular expression against each line of each channel, as it grows.
#[derive(Debug)]
pub(crate) struct ConsoleWatch {
    regex: Regex,
    lines: BTreeMap<u8, Line>,
}

#[derive(Debug, Default)]
struct Line {
    text: Vec<u8>,
    escape: Escape,
}

/// Escape sequences are left out of what is matched: a console that positions its cursor still prints words.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Started,
    Csi,
}

impl ConsoleWatch {
    pub(crate) fn new(regex: Regex) -> Self {
        Self { regex, lines: BTreeMap::new() }
    }

    /// The regular expression.
    pub(crate) fn pattern(&self) -> &str {
        self.regex.as_str()
    }

    /// Takes text; true if the line that it stands in now matches.
    pub(crate) fn push(&mut self, channel: u8, bytes: &[u8]) -> bool {
        let line = self.lines.entry(channel).or_default();
        let mut matched = false;
        for &byte in bytes {
            matched |= line.push(byte, &self.regex);
        }
        matched || self.regex.is_match(&line.text)
    }
}

impl Line {
    /// Takes one byte; true if it ended a line that matches.
    fn push(&mut self, byte: u8, regex: &Regex) -> bool {
        match (self.escape, byte) {
            (Escape::None, 0x1b) => self.escape = Escape::Started,
            (Escape::Started, b'[') => self.escape = Escape::Csi,
            (Escape::Started, _) | (Escape::Csi, 0x40..=0x7e) => self.escape = Escape::None,
            (Escape::Csi, _) | (Escape::None, b'\r' | 0) => {}
            (Escape::None, b'\n') => {
                let matched = regex.is_match(&self.text);
                self.text.clear();
                return matched;
            }
            (Escape::None, _) => {
                if self.text.len() >= LONGEST_LINE {
                    self.text.drain(..LONGEST_LINE / 2);
                }
                self.text.push(byte);
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(regex: &str) -> ConsoleWatch {
        ConsoleWatch::new(Regex::new(regex).unwrap())
    }

    #[test]
    fn a_line_printed_byte_by_byte_matches_at_its_last_byte() {
        let mut w = watch("login:");
        let at = b"my login: ".iter().position(|b| w.push(0, &[*b]));
        assert_eq!(at, Some(8));
    }

    #[test]
    fn channels_do_not_mix_and_escape_sequences_do_not_count() {
        let mut w = watch("abcd");
        assert!(!w.push(0, b"ab"));
        assert!(!w.push(1, b"cd"));
        assert!(w.push(0, b"\x1b[2;5Hcd"));
    }

    #[test]
    fn a_line_that_matched_is_seen_even_if_the_next_has_begun() {
        assert!(watch("^done$").push(0, b"done\r\nnext"));
    }
}
