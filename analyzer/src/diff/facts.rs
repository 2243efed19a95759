//! What two traces say of themselves, side by side.

use super::{FEW_PAGES, safe};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use trapline_formats::envelope::BlockType;
use trapline_formats::memory::page_hash;
use trapline_formats::{CpuidEntry, Difference, Header, MemoryRegion, Trace, TraceError};

/// Something that differs between two traces. All of it is printable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What: "host.microcode", "CPUID 0x1.0 ECX", "RAX".
    pub name: String,
    /// In the first trace.
    pub a: String,
    /// In the second.
    pub b: String,
}

impl Fact {
    pub(super) fn new(name: impl AsRef<str>, a: impl AsRef<str>, b: impl AsRef<str>) -> Self {
        Self { name: safe(name), a: safe(a), b: safe(b) }
    }
}

impl From<Difference> for Fact {
    fn from(difference: Difference) -> Self {
        Self::new(difference.name, difference.expected, difference.actual)
    }
}

/// What a header does not have.
const NONE: &str = "–";
/// Facts told of one header at most: a stranger's may differ in anything.
const MOST: usize = 1000;
/// A value longer than this is told by its beginning.
const LONG: usize = 100;

/// What differs between two headers. Whatever a later version adds to them is compared, too.
pub(super) fn headers(a: &Header, b: &Header) -> Vec<Fact> {
    let mut facts = Vec::new();
    let (Ok(mut left), Ok(mut right)) = (serde_json::to_value(a), serde_json::to_value(b)) else {
        return facts;
    };
    for value in [&mut left, &mut right] {
        if let Some(object) = value.as_object_mut() {
            object.retain(|name, _| !["cpuid", "memory", "files", "host"].contains(&name.as_str()));
        }
    }
    host(a, b, &mut facts);
    files(a, b, &mut facts);
    let regions = |header: &Header| header.memory.iter().map(region).collect::<Vec<_>>().join(", ");
    push(&mut facts, "memory", regions(a), regions(b));
    walk("", &left, &right, &mut facts);
    cpuid(&a.cpuid, &b.cpuid, &mut facts);
    facts.truncate(MOST);
    facts
}

fn push(facts: &mut Vec<Fact>, name: impl AsRef<str>, a: String, b: String) {
    if a != b {
        facts.push(Fact::new(name, cut(a), cut(b)));
    }
}

fn cut(text: String) -> String {
    match text.char_indices().nth(LONG) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn region(region: &MemoryRegion) -> String {
    let kind = if region.readonly { "ROM" } else { "RAM" };
    format!("{kind} {:#x}..{:#x}", region.gpa, region.gpa.saturating_add(region.bytes))
}

fn host(a: &Header, b: &Header, facts: &mut Vec<Fact>) {
    let (a, b) = (&a.host, &b.host);
    let mut both = |name: &str, a: &dyn ToString, b: &dyn ToString| {
        push(facts, format!("host.{name}"), a.to_string(), b.to_string());
    };
    both("engine", &a.engine, &b.engine);
    both("kernel", &a.kernel, &b.kernel);
    both("cpu_vendor", &a.cpu_vendor, &b.cpu_vendor);
    both("cpu_brand", &a.cpu_brand, &b.cpu_brand);
    both("cpu_signature", &format!("{:#x}", a.cpu_signature), &format!("{:#x}", b.cpu_signature));
    both("microcode", &format!("{:#x}", a.microcode), &format!("{:#x}", b.microcode));
    let of = |all: &[(String, i64)]| all.iter().cloned().collect::<BTreeMap<_, _>>();
    let show = |value: &i64| value.to_string();
    keyed("host.", &of(&a.capabilities), &of(&b.capabilities), show, facts);
}

/// By its role and its number among those of this role.
fn files(a: &Header, b: &Header, facts: &mut Vec<Fact>) {
    let of = |header: &Header| {
        let mut all = BTreeMap::new();
        for file in &header.files {
            let number = all.keys().filter(|(role, _)| *role == file.role).count();
            let text = format!("{} ({} bytes, xxh3 {:016x})", file.name, file.bytes, file.xxh3);
            all.insert((file.role.clone(), number), text);
        }
        all.into_iter()
            .map(|((role, number), text)| {
                (if number == 0 { role } else { format!("{role} {}", number + 1) }, text)
            })
            .collect::<BTreeMap<_, _>>()
    };
    keyed("", &of(a), &of(b), String::clone, facts);
}

fn keyed<V: PartialEq>(
    prefix: &str,
    a: &BTreeMap<String, V>,
    b: &BTreeMap<String, V>,
    show: impl Fn(&V) -> String,
    facts: &mut Vec<Fact>,
) {
    let names: BTreeSet<_> = a.keys().chain(b.keys()).collect();
    for name in names {
        let of = |side: &BTreeMap<String, V>| side.get(name).map_or(NONE.to_owned(), &show);
        push(facts, format!("{prefix}{name}"), of(a), of(b));
    }
}

fn cpuid(a: &[CpuidEntry], b: &[CpuidEntry], facts: &mut Vec<Fact>) {
    let rows = |all: &[CpuidEntry]| {
        all.iter().map(|e| ((e.leaf, e.subleaf), e.registers)).collect::<BTreeMap<_, _>>()
    };
    let (a, b) = (rows(a), rows(b));
    let places: BTreeSet<_> = a.keys().chain(b.keys()).copied().collect();
    for place in places {
        for (i, register) in ["EAX", "EBX", "ECX", "EDX"].into_iter().enumerate() {
            let of = |rows: &BTreeMap<_, [u32; 4]>| {
                rows.get(&place).map_or(NONE.to_owned(), |r| format!("{:#010x}", r[i]))
            };
            push(facts, format!("CPUID {:#x}.{} {register}", place.0, place.1), of(&a), of(&b));
        }
    }
}

fn walk(path: &str, a: &Value, b: &Value, facts: &mut Vec<Fact>) {
    if a == b || facts.len() > MOST {
        return;
    }
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let empty = Value::Null;
    match (a, b) {
        (Value::Object(left), Value::Object(right)) => {
            let names: BTreeSet<_> = left.keys().chain(right.keys()).collect();
            for name in names {
                walk(
                    &below(name),
                    left.get(name).unwrap_or(&empty),
                    right.get(name).unwrap_or(&empty),
                    facts,
                );
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (i, (left, right)) in left.iter().zip(right).enumerate() {
                walk(&below(&i.to_string()), left, right, facts);
            }
        }
        (Value::Array(left), Value::Array(right)) => {
            push(facts, path, format!("{} entries", left.len()), format!("{} entries", right.len()));
        }
        _ => {
            let text = |value: &Value| match value {
                Value::Null => NONE.to_owned(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            push(facts, path, text(a), text(b));
        }
    }
}

/// In what two guests differ before their first exits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Start {
    /// Registers and the like.
    pub state: Vec<Fact>,
    /// Pages of memory that differ.
    pub pages: u64,
    /// The first of them: guest-physical addresses in hexadecimal.
    pub first_pages: Vec<String>,
}

impl Start {
    pub(super) fn of(a: &Trace, b: &Trace) -> Result<Self, TraceError> {
        // What was not recorded by running a guest has no state.
        let has_state =
            |trace: &Trace| trace.blocks().iter().any(|b| b.header.kind == BlockType::StartState as u16);
        let state = if has_state(a) && has_state(b) {
            a.start_state()?.differences(&b.start_state()?).into_iter().map(Fact::from).collect()
        } else {
            Vec::new()
        };
        let hashes = |trace: &Trace| {
            let mut all = BTreeMap::new();
            trace.start_memory(|number, content| {
                all.insert(number, page_hash(content));
            })?;
            Ok::<_, TraceError>(all)
        };
        let (a, b) = (hashes(a)?, hashes(b)?);
        let differing = differing(&a, &b);
        let first_pages =
            differing.iter().take(FEW_PAGES).map(|n| format!("{:#x}", n.saturating_mul(4096))).collect();
        Ok(Self { state, pages: differing.len() as u64, first_pages })
    }

    /// Whether nothing differs.
    pub fn is_same(&self) -> bool {
        self.state.is_empty() && self.pages == 0
    }
}

/// The pages whose hashes are not the same on both sides.
pub(super) fn differing(a: &BTreeMap<u64, u64>, b: &BTreeMap<u64, u64>) -> BTreeSet<u64> {
    let changed = a.iter().filter(|(number, hash)| b.get(number) != Some(hash)).map(|(number, _)| *number);
    changed.chain(b.keys().filter(|number| !a.contains_key(number)).copied()).collect()
}
