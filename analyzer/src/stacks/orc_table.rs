//! Linux's ORC tables (arch/x86/include/asm/orc_types.h): for every range of code, how its caller is found.

/// What a caller's stack pointer is counted from (ORC_REG_*).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    Undefined,
    PreviousSp,
    /// A register, by its place in `Registers::general`.
    Register(usize),
    BpIndirect,
    SpIndirect,
}

/// What lies where the stack pointer was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A return address.
    Call,
    /// All registers.
    Registers,
    /// What the processor pushes at an interrupt.
    Interrupt,
    /// Nothing: the outermost frame.
    End,
    /// Nobody knows.
    Unknown,
}

/// One range of code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) sp: Base,
    pub(super) sp_offset: i16,
    pub(super) bp: Base,
    pub(super) bp_offset: i16,
    pub(super) kind: Kind,
}

/// Bytes of an entry: two offsets, and 16 bits of registers and kind.
const BYTES: usize = 6;
const ORC_REG_SP: u16 = 5;

/// How the last 16 bits are divided: `type` has two bits up to Linux 6.3, three since 6.4, where two kinds came in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    UpTo63,
    Since64,
}

/// Ranges of code by their first address, ascending.
#[derive(Debug, Clone, Default)]
pub(super) struct OrcTable(Vec<(u64, Entry)>);

impl OrcTable {
    /// Bytes of an entry.
    pub(super) const ENTRY: usize = BYTES;

    /// Whether all of these bytes are entries: registers and bits that exist.
    pub(super) fn are_entries(bytes: &[u8]) -> bool {
        bytes.as_chunks::<BYTES>().0.iter().all(|entry| {
            let bits = bits(*entry);
            // ORC_REG_SP_INDIRECT is the last register; type, signal and end are bits 8 to 11.
            bits & 15 <= 9 && bits >> 4 & 15 <= 9 && bits >> 12 == 0
        })
    }

    /// The tables of `.orc_unwind_ip`, which lies at this address, and `.orc_unwind`. `None` where they do not belong together.
    pub(super) fn new(ips: (u64, &[u8]), entries: &[u8]) -> Option<Self> {
        let (offsets, rest) = ips.1.as_chunks::<4>();
        let (entries, odd) = entries.as_chunks::<BYTES>();
        if offsets.is_empty() || offsets.len() != entries.len() || !rest.is_empty() || !odd.is_empty() {
            return None;
        }
        let layout = Layout::of(entries);
        let place = |i: usize| ips.0.wrapping_add(4 * i as u64);
        let address = |(i, o): (usize, &[u8; 4])| place(i).wrapping_add_signed(i32::from_le_bytes(*o).into());
        let ips = offsets.iter().enumerate().map(address);
        let mut all: Vec<_> = ips.zip(entries.iter().map(|e| Entry::of(*e, layout))).collect();
        // A kernel that was not finished sorts them when it boots.
        all.sort_by_key(|(ip, _)| *ip);
        Some(Self(all))
    }

    /// The first addresses of its ranges.
    pub(super) fn starts(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|(start, _)| *start)
    }

    /// What holds for an address.
    pub(super) fn at(&self, address: u64) -> Option<&Entry> {
        let after = self.0.partition_point(|(ip, _)| *ip <= address);
        self.0.get(after.checked_sub(1)?).map(|(_, entry)| entry).filter(|_| after < self.0.len())
    }
}

fn bits(entry: [u8; BYTES]) -> u16 {
    u16::from_le_bytes([entry[4], entry[5]])
}

impl Layout {
    /// Most code is functions that count from RSP and return: their type, 0 or 2, tells.
    fn of(entries: &[[u8; BYTES]]) -> Self {
        let from_sp = entries.iter().map(|e| bits(*e)).filter(|b| b & 15 == ORC_REG_SP);
        let (mut old, mut new) = (0, 0);
        for bits in from_sp {
            match bits >> 8 & 7 {
                0 => old += 1,
                2 => new += 1,
                _ => {}
            }
        }
        if new > old { Self::Since64 } else { Self::UpTo63 }
    }
}

impl Entry {
    fn of(raw: [u8; BYTES], layout: Layout) -> Self {
        let bits = bits(raw);
        let sp = Base::of(bits & 15);
        let kind = match (layout, bits >> 8 & 7) {
            // A stack pointer that is not defined: `end` (bit 10, or in Linux 6.3 bit 11) says whether that is meant.
            (Layout::UpTo63, _) if sp == Base::Undefined && bits >> 10 & 3 != 0 => Kind::End,
            (Layout::UpTo63, _) if sp == Base::Undefined => Kind::Unknown,
            (Layout::UpTo63, kind) => {
                [Kind::Call, Kind::Registers, Kind::Interrupt, Kind::Unknown][usize::from(kind & 3)]
            }
            (Layout::Since64, 1) => Kind::End,
            (Layout::Since64, 2) => Kind::Call,
            (Layout::Since64, 3) => Kind::Registers,
            (Layout::Since64, 4) => Kind::Interrupt,
            (Layout::Since64, _) => Kind::Unknown,
        };
        Self {
            sp,
            sp_offset: i16::from_le_bytes([raw[0], raw[1]]),
            bp: Base::of(bits >> 4 & 15),
            bp_offset: i16::from_le_bytes([raw[2], raw[3]]),
            kind,
        }
    }
}

impl Base {
    /// ORC_REG_*.
    fn of(number: u16) -> Self {
        match number {
            1 => Self::PreviousSp,
            2 => Self::Register(3),
            3 => Self::Register(5),
            4 => Self::Register(7),
            5 => Self::Register(6),
            6 => Self::Register(10),
            7 => Self::Register(13),
            8 => Self::BpIndirect,
            9 => Self::SpIndirect,
            _ => Self::Undefined,
        }
    }
}
