//! What one row of a report stands for.

use std::fmt;
use std::str::FromStr;

/// The grouping of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum By {
    /// One row per site: an instruction doing one thing to one address.
    #[default]
    Site,
    /// One row per instruction, whatever addresses it uses.
    Instruction,
    /// One row per function.
    Symbol,
    /// One row per kind of exit.
    Reason,
    /// One row per device.
    Device,
    /// One row per port, guest-physical address or MSR, reads and writes together.
    Address,
}

impl By {
    /// Every grouping.
    pub const ALL: [By; 6] =
        [Self::Site, Self::Instruction, Self::Symbol, Self::Reason, Self::Device, Self::Address];

    /// The name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::Instruction => "instruction",
            Self::Symbol => "symbol",
            Self::Reason => "reason",
            Self::Device => "device",
            Self::Address => "address",
        }
    }

    /// What several rows are called.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Site => "sites",
            Self::Instruction => "instructions",
            Self::Symbol => "functions",
            Self::Reason => "reasons",
            Self::Device => "devices",
            Self::Address => "addresses",
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for By {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|by| by.name() == name).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|by| by.name()).collect();
            format!("`{}` is no grouping: choose one of {}", name.escape_debug(), known.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_grouping_is_found_by_its_name() {
        for by in By::ALL {
            assert_eq!(by.name().parse(), Ok(by));
        }
        assert!("\x1b".parse::<By>().unwrap_err().contains("\\u{1b}"));
    }
}
