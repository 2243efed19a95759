//! Price lists: where they are kept, how one is made, and which one prices a trace.

use crate::progress;
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use trapline_formats::{Estimate, Host, PriceList, Trace};
use trapline_machine::doctor::{PRICE_EXITS, PRICE_ROUNDS, measure_prices};
use trapline_machine::{describe_host, open_and_probe};
use trapline_recorder::devices::calendar::DateTime;
use trapline_recorder::guest::flat;
use trapline_recorder::own_share;

/// Memory of the guest that is recorded to see what recording adds.
const MEMORY: u64 = 4 << 20;

/// What exits are priced by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PricesArg {
    /// The trace alone.
    None,
    /// This list.
    File(PathBuf),
}

impl From<OsString> for PricesArg {
    fn from(text: OsString) -> Self {
        if text == "none" { Self::None } else { Self::File(text.into()) }
    }
}

/// Measures this host's price list, keeps it and prints it.
pub fn calibrate(file: Option<&Path>, json: bool) -> Result<u8> {
    let (kvm, convention) = open_and_probe()?;
    let mut list = PriceList::new(describe_host(&kvm), env!("CARGO_PKG_VERSION"), today());
    let path = match file {
        Some(path) => path.to_owned(),
        None => {
            kept_at(&list.host).context("neither XDG_STATE_HOME nor HOME says where: --prices FILE does")?
        }
    };
    let bar = progress::bar(None, "{spinner} measuring: {msg}", json);
    let mut progress = |what: &str| bar.set_message(what.to_owned());
    let found = measure_prices(&kvm, &mut progress)?;
    (list.prices, list.unpriced) = (found.prices, found.unpriced);
    (list.rounds, list.exits_per_round) = (PRICE_ROUNDS as u32, PRICE_EXITS as u32);
    let guest = flat::from_bytes(trapline_guests::port_loop().image.to_vec(), flat::Mode::Bits64, MEMORY)?;
    let trace = std::env::temp_dir().join(format!("trapline-prices-{}.trap", std::process::id()));
    let share = own_share(&kvm, convention, &guest, &trace, &mut progress);
    let _ = std::fs::remove_file(&trace);
    list.recorder_ns = share?;
    bar.finish_and_clear();
    let text = serde_json::to_string_pretty(&list)? + "\n";
    keep(&path, &text)?;
    if json {
        say!("{}", text.trim_end());
    } else {
        say!(
            "{}\nKept in {}; `trapline report` takes it for traces of this host.",
            shown(&list),
            path.display()
        );
    }
    Ok(0)
}

/// The price list for a trace: the one that was asked for, which must be of its host; otherwise the one that is kept for its
/// host, if there is one.
pub fn choose(trace: &Trace, asked: Option<&PricesArg>) -> Result<Option<PriceList>> {
    let host = &trace.header().host;
    match asked {
        Some(PricesArg::None) => Ok(None),
        Some(PricesArg::File(path)) => {
            let list = read(path)?;
            let differences = list.differences(host);
            if !differences.is_empty() {
                bail!("the prices of {} are of another host: {}", path.display(), differences.join("; "));
            }
            Ok(Some(list))
        }
        None => {
            let Some(path) = kept_at(host).filter(|p| p.exists()) else { return Ok(None) };
            let list =
                read(&path).context("--prices none does without it, and doctor --calibrate makes it anew")?;
            let differences = list.differences(host);
            if differences.is_empty() {
                return Ok(Some(list));
            }
            let differences = differences.join("; ");
            eprintln!("trapline: the prices of {} are left out: {differences}", path.display());
            Ok(None)
        }
    }
}

fn read(path: &Path) -> Result<PriceList> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let list: PriceList =
        serde_json::from_str(&text).with_context(|| format!("{} is no price list", path.display()))?;
    list.check().map_err(|why| anyhow::anyhow!("cannot take prices from {}: {why}", path.display()))?;
    Ok(list)
}

/// Writes a list where the old one stays until the new one is whole.
fn keep(path: &Path, text: &str) -> Result<()> {
    let error = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(error)?;
    }
    let part = path.with_extension("part");
    std::fs::write(&part, text).with_context(error)?;
    std::fs::rename(&part, path).with_context(error)
}

/// Where the price list of a host is kept: by the XDG base directory specification, a state of this user.
fn kept_at(host: &Host) -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("trapline/prices").join(name(host)))
}

/// A list for each kernel and processor. The text may be a stranger's: none of it is a path.
fn name(host: &Host) -> String {
    let text = format!("{}-{}-{:x}-{:x}", host.engine, host.kernel, host.cpu_signature, host.microcode);
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    format!("{}.json", text.chars().map(safe).take(200).collect::<String>())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a price list says when it was made; no trace or report is priced by it"
)]
fn today() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let DateTime { year, month, day, .. } = DateTime::from_unix(now.as_secs() as i64);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The list for people.
fn shown(list: &PriceList) -> String {
    let host = &list.host;
    let brand = if host.cpu_brand.is_empty() { &host.cpu_vendor } else { &host.cpu_brand };
    let interval = |e: Estimate| format!("{:.0} .. {:.0}", e.low, e.high);
    let mut lines = vec![
        format!(
            "Prices of exits: {}, Linux {}, {brand}, microcode {:#x}; {}",
            host.engine, host.kernel, host.microcode, list.made
        ),
        String::new(),
        format!(
            "Exit path, hardware and kernel, in ns: medians of {} rounds of {} exits. guest: what the probe's other\n\
             instructions took, subtracted.",
            list.rounds, list.exits_per_round
        ),
        format!("  {:<17} {:>8} {:>19} {:>6}  measured by", "", "median", "95 % confidence", "guest"),
    ];
    lines.extend(list.prices.iter().map(|p| {
        let (kind, path) = (p.kind.name(), p.path_ns);
        format!("  {kind:<17} {:>8.0} {:>19} {:>6.0}  {}", path.median, interval(path), p.guest_ns, p.what)
    }));
    lines.extend(list.unpriced.iter().map(|u| format!("  {:<17} not measured: {}", u.kind.name(), u.why)));
    lines.push(String::new());
    lines.push(match list.recorder_ns {
        Some(share) => format!(
            "Recording adds {:.0} ns ({}) to the VMM time of an exit: measured with a log and without.",
            share.median,
            interval(share)
        ),
        None => "What recording adds to the VMM time was not measured.".into(),
    });
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_of_a_host_leads_out_of_the_folder() {
        let host = Host { engine: "../../etc".into(), kernel: "a/b\0\n".repeat(100), ..Host::default() };
        let name = name(&host);
        assert!(!name.contains('/') && !name.contains('\0') && name.len() <= 205, "{name}");
        assert!(name.starts_with(".._.._etc-a_b__"), "{name}");
    }
}
