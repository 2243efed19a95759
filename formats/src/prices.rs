//! The price list of a host: what each kind of exit costs there, measured with nothing else going on.
//!
//! A list is JSON, in a file of its own beside the traces of its host: no trace depends on it.

use crate::exit::ExitKind;
use crate::header::Host;
use serde::{Deserialize, Serialize};

/// What a price list calls itself.
const SCHEMA: &str = "trapline.prices";
/// The version of price lists that is written and read.
const VERSION: u32 = 1;

/// A median and its 95 % confidence interval, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Lower bound.
    pub low: f64,
    /// The median.
    pub median: f64,
    /// Upper bound.
    pub high: f64,
}

/// The exit path of one kind of exit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// The kind of exit.
    #[serde(with = "kind_name")]
    pub kind: ExitKind,
    /// What the probe guest did, for people.
    pub what: String,
    /// From the entry of KVM_RUN to its return, less `guest_ns`.
    pub path_ns: Estimate,
    /// What the probe guest's other instructions took of it.
    pub guest_ns: f64,
}

/// A kind of exit without a price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpriced {
    /// The kind of exit.
    #[serde(with = "kind_name")]
    pub kind: ExitKind,
    /// Why there is none.
    pub why: String,
}

/// What exits cost on one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PriceList {
    schema: String,
    schema_version: u32,
    /// Version of the program that measured.
    pub recorder: String,
    /// The day on which it did, UTC: "2026-01-31".
    pub made: String,
    /// Where.
    pub host: Host,
    /// Rounds that medians are medians of.
    pub rounds: u32,
    /// Exits of each kind in a round.
    pub exits_per_round: u32,
    /// The kinds of exits that have a price.
    pub prices: Vec<Price>,
    /// Those that have none.
    pub unpriced: Vec<Unpriced>,
    /// What recording adds to the VMM time of an exit; none where it could not be measured.
    pub recorder_ns: Option<Estimate>,
}

impl PriceList {
    /// A list without prices.
    pub fn new(host: Host, recorder: &str, made: String) -> Self {
        Self {
            schema: SCHEMA.into(),
            schema_version: VERSION,
            recorder: recorder.into(),
            made,
            host,
            rounds: 0,
            exits_per_round: 0,
            prices: Vec::new(),
            unpriced: Vec::new(),
            recorder_ns: None,
        }
    }

    /// Whether this program reads such a list; otherwise, why not.
    pub fn check(&self) -> Result<(), String> {
        if self.schema != SCHEMA {
            return Err(format!("it is no price list but `{}`", self.schema.escape_debug()));
        }
        if self.schema_version != VERSION {
            return Err(format!("its version is {}, and {VERSION} is read", self.schema_version));
        }
        let estimates = self.prices.iter().map(|p| p.path_ns).chain(self.recorder_ns);
        let is_sound = |e: Estimate| 0.0 <= e.low && e.low <= e.median && e.median <= e.high && e.high < 1e15;
        match estimates.into_iter().find(|e| !is_sound(*e)) {
            Some(e) => {
                Err(format!("{} .. {} .. {} ns is no interval around a median", e.low, e.median, e.high))
            }
            None => Ok(()),
        }
    }

    /// The price of a kind of exit.
    pub fn of(&self, kind: ExitKind) -> Option<Estimate> {
        self.prices.iter().find(|p| p.kind == kind).map(|p| p.path_ns)
    }

    /// In what this list's host differs from another; nothing where its prices are that host's.
    pub fn differences(&self, host: &Host) -> Vec<String> {
        let own = &self.host;
        let microcode = |h: &Host| format!("{:#x}", h.microcode);
        let signature = |h: &Host| format!("{:#x}", h.cpu_signature);
        let parts = [
            ("engine", own.engine.clone(), host.engine.clone()),
            ("kernel", own.kernel.clone(), host.kernel.clone()),
            ("CPU vendor", own.cpu_vendor.clone(), host.cpu_vendor.clone()),
            ("CPU", own.cpu_brand.clone(), host.cpu_brand.clone()),
            ("CPU signature", signature(own), signature(host)),
            ("microcode", microcode(own), microcode(host)),
        ];
        let differs = |(what, list, other): (&str, String, String)| {
            (list != other).then(|| {
                let safe = |text: String| crate::printable(text.as_bytes(), false);
                format!("{what} {} in the list, {} here", safe(list), safe(other))
            })
        };
        parts.into_iter().filter_map(differs).collect()
    }
}

/// Kinds of exits by their names.
mod kind_name {
    use crate::exit::ExitKind;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(kind: &ExitKind, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(kind.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ExitKind, D::Error> {
        let name = String::deserialize(deserializer)?;
        let found = ExitKind::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| D::Error::custom(format!("`{}` is no kind of exit", name.escape_debug())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> PriceList {
        let mut list =
            PriceList::new(Host { kernel: "6.1".into(), ..Host::default() }, "0.1.0", String::new());
        let path_ns = Estimate { low: 900.0, median: 1000.0, high: 1100.0 };
        list.prices.push(Price { kind: ExitKind::MsrRead, what: String::new(), path_ns, guest_ns: 0.0 });
        list
    }

    #[test]
    fn a_list_of_another_host_says_in_what_it_differs() {
        let list = list();
        assert!(list.differences(&list.host).is_empty());
        let other = Host { kernel: "6.12\x1b".into(), microcode: 7, ..list.host.clone() };
        let differences = list.differences(&other);
        assert_eq!(
            differences,
            ["kernel 6.1 in the list, 6.12\\u{1b} here", "microcode 0x0 in the list, 0x7 here"]
        );
    }

    #[test]
    fn what_is_no_price_list_is_refused_with_the_reason() {
        assert_eq!(list().check(), Ok(()));
        assert_eq!(list().of(ExitKind::MsrRead).map(|e| e.median), Some(1000.0));
        assert_eq!(list().of(ExitKind::PortRead), None);
        let mut later = list();
        later.schema_version = 9;
        assert_eq!(later.check(), Err("its version is 9, and 1 is read".into()));
        let mut other = list();
        other.schema = "a\nb".into();
        assert_eq!(other.check(), Err("it is no price list but `a\\nb`".into()));
        for (low, high) in [(1001.0, 1100.0), (900.0, 999.0), (-1.0, 1100.0), (900.0, f64::NAN)] {
            let mut odd = list();
            odd.prices[0].path_ns = Estimate { low, median: 1000.0, high };
            assert!(odd.check().is_err(), "{low} {high}");
        }
    }
}
