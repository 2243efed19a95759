//! The names that a Linux kernel carries with it (CONFIG_KALLSYMS), found in its image without any help.
//!
//! `scripts/kallsyms.c` writes, each aligned to 8 bytes: the number of symbols; their names, compressed; a marker for every 256th
//! name; 256 tokens, which are pieces of names; an index of the tokens. The addresses stand before all that up to Linux 6.3, after
//! it since 6.4: 32-bit offsets and their base, or before Linux 4.6 plain 64-bit addresses. Some versions have an order by
//! name before the tokens.
//!
//! The index of the tokens is what can be recognized: 256 ascending 16-bit numbers right after as many texts that end where it
//! says. From there the way leads backwards, and everything found is checked against everything else.

use super::table::{Entry, Table};
use super::text::{MODULES, rank};

const TOKENS: usize = 256;
const INDEX_BYTES: usize = TOKENS * 2;
const ALIGN: usize = 8;
/// Names between two markers.
const STEP: usize = 256;
/// No name is longer (KSYM_NAME_LEN since Linux 6.1).
const LONGEST_NAME: usize = 512;
/// No kernel has more.
const MOST_SYMBOLS: usize = 4 << 20;

/// The symbols of the first complete set of tables in an image.
pub(super) fn find(image: &[u8]) -> Option<Table> {
    let positions = (0..image.len().saturating_sub(INDEX_BYTES)).step_by(ALIGN);
    positions
        .filter_map(|at| Tokens::at(image, at))
        .find_map(|tokens| Names::before(image, &tokens)?.table(image))
}

fn u16_at(image: &[u8], at: usize) -> Option<u16> {
    image.get(at..)?.first_chunk().map(|b| u16::from_le_bytes(*b))
}

fn u32_at(image: &[u8], at: usize) -> Option<u32> {
    image.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}

fn u64_at(image: &[u8], at: usize) -> Option<u64> {
    image.get(at..)?.first_chunk().map(|b| u64::from_le_bytes(*b))
}

/// The pieces of names.
struct Tokens<'a> {
    /// Where the first one starts.
    start: usize,
    /// Where the index starts.
    index: usize,
    texts: Vec<&'a [u8]>,
}

impl<'a> Tokens<'a> {
    /// The tokens whose index stands here.
    fn at(image: &'a [u8], index: usize) -> Option<Self> {
        let offset = |i: usize| u16_at(image, index + 2 * i).map(usize::from);
        // Most places fail the first two comparisons.
        if offset(0)? != 0 || !(2..=64).contains(&offset(1)?) {
            return None;
        }
        let offsets: Vec<_> = (0..TOKENS).map_while(offset).collect();
        if !offsets.windows(2).all(|w| w[0] + 2 <= w[1]) {
            return None;
        }
        let last = *offsets.last()?;
        // The last token is followed by zeros up to the index.
        (index.checked_sub(last + 64)?..index.checked_sub(last + 1)?)
            .filter(|start| start.is_multiple_of(ALIGN))
            .find_map(|start| Self::from(image, start, index, &offsets))
    }

    fn from(image: &'a [u8], start: usize, index: usize, offsets: &[usize]) -> Option<Self> {
        let text = |i: usize| {
            let from = start + offsets[i];
            let to = offsets.get(i + 1).map_or(index, |next| start + next);
            let length = image[from..to].iter().position(|b| *b == 0)?;
            let padding = &image[from + length..to];
            // Each token ends right before the next one; the last before the padding.
            let ends = padding.iter().all(|b| *b == 0)
                && (padding.len() == 1 || i + 1 == TOKENS && padding.len() <= ALIGN);
            (length > 0 && ends).then(|| &image[from..from + length])
        };
        let texts: Vec<_> = (0..TOKENS).map_while(text).collect();
        (texts.len() == TOKENS).then_some(Self { start, index, texts })
    }
}

/// The names, still compressed.
struct Names<'a> {
    tokens: &'a Tokens<'a>,
    /// Where the first one starts.
    start: usize,
    count: usize,
}

impl<'a> Names<'a> {
    /// The names and markers before the tokens.
    fn before(image: &[u8], tokens: &'a Tokens<'a>) -> Option<Self> {
        // 32-bit markers since Linux 4.20, 64-bit ones before; up to one of them of padding.
        let kinds = [(4, 0), (4, 4), (8, 0)];
        let before = |end: usize| {
            kinds.into_iter().find_map(|(width, padding)| {
                let markers = Markers::ending_at(image, end.checked_sub(padding)?, width)?;
                Self::of(image, tokens, &markers)
            })
        };
        // From Linux 6.2 (and 6.1.y) to 6.3, an order by name stands in between: 3 bytes a symbol.
        let earliest = tokens.start.saturating_sub(3 * MOST_SYMBOLS);
        (earliest..=tokens.start).rev().step_by(ALIGN).find_map(before)
    }

    fn of(image: &[u8], tokens: &'a Tokens<'a>, markers: &Markers) -> Option<Self> {
        let last = *markers.offsets.last()?;
        // What follows the last marker is at most `STEP` names.
        let latest = markers.start.checked_sub(last)? & !(ALIGN - 1);
        let earliest = latest.saturating_sub(STEP * (LONGEST_NAME + 2));
        (earliest..=latest).rev().step_by(ALIGN).find_map(|start| {
            let count = u32_at(image, start.checked_sub(ALIGN)?)? as usize;
            let fits = count.div_ceil(STEP) == markers.offsets.len() && count <= MOST_SYMBOLS;
            let names = Self { tokens, start, count };
            (fits && names.agree(image, markers)).then_some(names)
        })
    }

    /// Whether walking along the names leads past every marker and ends before the markers do.
    fn agree(&self, image: &[u8], markers: &Markers) -> bool {
        let mut at = self.start;
        for i in 0..self.count {
            if i.is_multiple_of(STEP) && markers.offsets[i / STEP] != at - self.start {
                return false;
            }
            match packed_name(image, at) {
                Some((_, next)) if next <= markers.start => at = next,
                _ => return false,
            }
        }
        markers.start - at < ALIGN
    }

    /// Names and addresses together, as far as they are code.
    fn table(&self, image: &[u8]) -> Option<Table> {
        let addresses = Addresses::find(image, self)?;
        let mut entries = Vec::new();
        let mut modules = None;
        let mut at = self.start;
        for i in 0..self.count {
            let (packed, next) = packed_name(image, at)?;
            at = next;
            let text: Vec<u8> =
                packed.iter().flat_map(|t| self.tokens.texts[usize::from(*t)]).copied().collect();
            let Some((&kind, name)) = text.split_first() else { continue };
            if name == MODULES {
                modules = addresses.of(image, i);
            }
            if let Some(rank) = rank(kind) {
                entries.push(Entry { address: addresses.of(image, i)?, size: 0, rank, name: name.to_vec() });
            }
        }
        (!entries.is_empty()).then(|| Table::new(entries).with_modules(modules))
    }
}

/// A name as tokens, and where the next one starts. The length has 7 bits, or since Linux 6.1 14 of them.
fn packed_name(image: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let first = usize::from(*image.get(at)?);
    let (length, from) = match first & 0x80 {
        0 => (first, at + 1),
        _ => ((first & 0x7f) | usize::from(*image.get(at + 1)?) << 7, at + 2),
    };
    let packed = image.get(from..from + length).filter(|p| !p.is_empty() && p.len() <= LONGEST_NAME)?;
    Some((packed, from + length))
}

/// Offsets of every 256th name.
struct Markers {
    start: usize,
    offsets: Vec<usize>,
}

impl Markers {
    /// Reads backwards: they descend to the first, which is 0.
    fn ending_at(image: &[u8], end: usize, width: usize) -> Option<Self> {
        let read = |at: usize| match width {
            4 => u32_at(image, at).map(|v| v as usize),
            _ => u64_at(image, at).and_then(|v| usize::try_from(v).ok()),
        };
        let mut offsets = Vec::new();
        let mut at = end;
        loop {
            at = at.checked_sub(width)?;
            let offset = read(at)?;
            if offsets.last().is_some_and(|next| offset >= *next) || offsets.len() > MOST_SYMBOLS / STEP {
                return None;
            }
            offsets.push(offset);
            if offset == 0 {
                offsets.reverse();
                return Some(Self { start: at, offsets });
            }
        }
    }
}

/// Where the addresses are, and how they are written.
#[derive(Debug, Clone, Copy)]
enum Addresses {
    /// 64 bits each, from here.
    Plain(usize),
    /// 32 bits each, from here, to be added to the base.
    Offsets(usize, u64),
    /// The same, but negative ones count from the base and positive ones are addresses (CONFIG_KALLSYMS_ABSOLUTE_PERCPU).
    PerCpu(usize, u64),
}

impl Addresses {
    fn find(image: &[u8], names: &Names<'_>) -> Option<Self> {
        let before = names.start.checked_sub(ALIGN)?;
        let offsets = (names.count * 4).next_multiple_of(ALIGN);
        let after = names.tokens.index + INDEX_BYTES;
        // (where the offsets start, where their base stands): before the names, and after the tokens.
        let places = [
            before.checked_sub(ALIGN).and_then(|base| Some((base.checked_sub(offsets)?, base))),
            Some((after, after + offsets)),
        ];
        let found =
            places.into_iter().flatten().find_map(|(start, base)| Self::relative(image, names, start, base));
        found.or_else(|| {
            let plain = Self::Plain(before.checked_sub(names.count * 8)?);
            plain.ascends(image, names.count).then_some(plain)
        })
    }

    fn relative(image: &[u8], names: &Names<'_>, start: usize, base: usize) -> Option<Self> {
        // A kernel lives in the upper half.
        let base = u64_at(image, base).filter(|b| *b >> 63 == 1)?;
        let negative =
            (0..names.count).filter(|i| u32_at(image, start + 4 * i).is_some_and(|o| o >> 31 == 1)).count();
        let found =
            if negative * 2 > names.count { Self::PerCpu(start, base) } else { Self::Offsets(start, base) };
        found.ascends(image, names.count).then_some(found)
    }

    /// The address of a symbol.
    fn of(self, image: &[u8], i: usize) -> Option<u64> {
        match self {
            Self::Plain(start) => u64_at(image, start + 8 * i),
            Self::Offsets(start, base) => base.checked_add(u32_at(image, start + 4 * i)?.into()),
            Self::PerCpu(start, base) => {
                let offset = i64::from(u32_at(image, start + 4 * i)?.cast_signed());
                // kallsyms_sym_address: base - 1 - offset.
                let address =
                    if offset < 0 { base.checked_add_signed(-1 - offset)? } else { offset.cast_unsigned() };
                Some(address)
            }
        }
    }

    /// Symbols are sorted by address, and do not all stand at one.
    fn ascends(self, image: &[u8], count: usize) -> bool {
        let first = self.of(image, 0);
        let mut last = 0;
        (0..count).all(|i| {
            let address = self.of(image, i);
            let ascends = address.is_some_and(|a| a >= last);
            last = address.unwrap_or(last);
            ascends
        }) && last >> 63 == 1
            && first != Some(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BASE: u64 = 0xffff_ffff_8100_0000;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Layout {
        Old,
        UpTo61,
        With62,
        PerCpu,
        Since64,
    }

    /// Tables as `scripts/kallsyms.c` writes them; the tokens are the single characters, and "_init" as one of two.
    fn tables(layout: Layout, symbols: &[(u64, char, String)]) -> Vec<u8> {
        let pad = |out: &mut Vec<u8>| out.resize(out.len().next_multiple_of(ALIGN), 0);
        let (mut names, mut markers) = (Vec::new(), Vec::new());
        for (i, (_, kind, name)) in symbols.iter().enumerate() {
            if i % STEP == 0 {
                markers.push(names.len());
            }
            let text = format!("{kind}{name}").replace("_init", "\u{1}");
            if text.len() < 128 {
                names.push(text.len() as u8);
            } else {
                names.extend([text.len() as u8 | 0x80, (text.len() >> 7) as u8]);
            }
            names.extend(text.bytes());
        }
        let mut addresses = Vec::new();
        match layout {
            Layout::Old => symbols.iter().for_each(|s| addresses.extend(s.0.to_le_bytes())),
            Layout::PerCpu => symbols.iter().for_each(|s| {
                let offset = if s.0 < BASE { s.0 as i32 } else { -1 - (s.0 - BASE) as i32 };
                addresses.extend(offset.to_le_bytes());
            }),
            _ => symbols.iter().for_each(|s| addresses.extend(((s.0 - BASE) as u32).to_le_bytes())),
        }
        pad(&mut addresses);
        if layout != Layout::Old {
            addresses.extend(BASE.to_le_bytes());
        }
        let (mut table, mut index) = (Vec::new(), Vec::new());
        for token in 0..=255u8 {
            index.extend((table.len() as u16).to_le_bytes());
            match token {
                0 => table.extend(b"unused"),
                1 => table.extend(b"_init"),
                0x20..=0x7e => table.push(token),
                _ => table.extend(b"xx"),
            }
            table.push(0);
        }
        let mut out = vec![0xcc; 512];
        if layout != Layout::Since64 {
            out.extend(&addresses);
        }
        out.extend((symbols.len() as u64).to_le_bytes());
        out.extend(names);
        pad(&mut out);
        match layout {
            Layout::Old => markers.iter().for_each(|m| out.extend((*m as u64).to_le_bytes())),
            _ => markers.iter().for_each(|m| out.extend((*m as u32).to_le_bytes())),
        }
        pad(&mut out);
        if layout == Layout::With62 {
            let order = (0..symbols.len() as u32).map(|i| i.wrapping_mul(7919) % symbols.len() as u32);
            order.for_each(|i| out.extend(&i.to_be_bytes()[1..]));
            pad(&mut out);
        }
        out.extend(table);
        pad(&mut out);
        out.extend(index);
        if layout == Layout::Since64 {
            out.extend(&addresses);
        }
        out.extend([0xcc; 512]);
        out
    }

    fn symbols(count: usize) -> Vec<(u64, char, String)> {
        let mut all: Vec<_> = (0..count)
            .map(|i| {
                let kind = ['T', 't', 'D', 'w'][i % 4];
                (
                    BASE + 16 * i as u64,
                    kind,
                    format!("function_{i}_init{}", "y".repeat(if i == 9 { 300 } else { 0 })),
                )
            })
            .collect();
        all.sort_by_key(|s| s.0);
        all
    }

    #[test]
    fn names_are_found_in_every_layout() {
        for layout in [Layout::Old, Layout::UpTo61, Layout::With62, Layout::PerCpu, Layout::Since64] {
            // One marker and several, with and without padding after them.
            for count in [20, 600, 1000] {
                let symbols = symbols(count);
                let table = find(&tables(layout, &symbols)).unwrap_or_else(|| panic!("{layout:?} {count}"));
                assert_eq!(table.len(), count / 4 * 3, "{layout:?}: code only");
                for (address, kind, name) in symbols.iter().filter(|s| s.1 != 'D') {
                    let found = table.at(*address + 3).unwrap();
                    assert_eq!((found.name, found.start), (name.as_bytes(), *address), "{layout:?} {kind}");
                }
            }
        }
    }

    #[test]
    fn absolute_symbols_of_processors_are_told_apart() {
        let mut symbols = symbols(30);
        symbols.insert(0, (0x40, 'A', "per_cpu".into()));
        let table = find(&tables(Layout::PerCpu, &symbols)).unwrap();
        assert_eq!(table.at(BASE + 1).unwrap().name, b"function_0_init");
        assert!(table.at(0x40).is_none());
    }

    #[test]
    fn damaged_tables_are_no_tables() {
        let whole = tables(Layout::UpTo61, &symbols(600));
        assert!(find(&whole[..whole.len() - 600]).is_none());
        let names = whole.windows(8).position(|w| w == 600u64.to_le_bytes()).unwrap();
        let mut other = whole.clone();
        other[names] ^= 1;
        assert!(find(&other).is_none(), "as many markers, but the walk finds no 601st name");
    }

    proptest! {
        #[test]
        fn no_image_makes_the_search_panic(at in 0usize..20_000, bytes in prop::collection::vec(any::<u8>(), 1..64)) {
            let mut image = tables(Layout::UpTo61, &symbols(300));
            let at = at % (image.len() - 64);
            image[at..at + bytes.len()].copy_from_slice(&bytes);
            let _ = find(&image);
        }
    }
}
