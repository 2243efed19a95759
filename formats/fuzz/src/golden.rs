//! Inputs to begin with: the golden traces, taken apart.

use crate::{DigestInput, ExitsInput, Piece, pieces, whole};
use std::fs;
use std::path::{Path, PathBuf};
use trapline_formats::envelope::{BlockType, FLAG_ZSTD, decode_payload};
use trapline_formats::{Estimate, ExitKind, Host, InputChunk, Price, PriceList, Trace, TraceError, Unpriced};

/// Writes what the targets begin with: a folder for each.
pub fn write_seeds(folder: &Path) {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/v1");
    let mut paths: Vec<_> =
        fs::read_dir(goldens).expect("golden traces").map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "trap"));
    paths.sort();
    for path in paths {
        let name = path.file_stem().expect("a name").to_string_lossy();
        for (target, n, input) in Golden::open(&path).seeds() {
            write(folder, target, &format!("{name}-{n}"), &input);
        }
    }
    write(folder, "prices", "list", &serde_json::to_vec(&prices()).expect("JSON"));
}

fn write(folder: &Path, target: &str, name: &str, input: &[u8]) {
    let folder = folder.join(target);
    fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join(name), input)).expect("a seed");
}

/// The input of a target, and which block of the trace it is of.
type Seed = (&'static str, usize, Vec<u8>);

struct Golden {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Pages are still compressed, and nothing else.
    blocks: Vec<Piece>,
}

impl Golden {
    fn open(path: &Path) -> Self {
        let bytes = fs::read(path).expect("a golden trace");
        // The one that is cut off ends inside a block.
        let blocks = pieces(&bytes).into_iter().filter_map(plain).collect();
        Self { path: path.to_owned(), bytes, blocks }
    }

    fn seeds(&self) -> Vec<Seed> {
        let is_index = |b: &&Piece| kind(b).is_some_and(|k| k >= BlockType::Index);
        let rest: Vec<_> = self.blocks.iter().filter(|b| !is_index(b)).cloned().collect();
        let mut all =
            vec![("traces", 0, whole(&self.blocks)), ("index", 0, [vec![0], whole(&rest)].concat())];
        for (block, n) in self.blocks.iter().zip(0..) {
            all.extend(payload_seed(block).map(|(target, input)| (target, n, input)));
        }
        let compressed = pieces(&self.bytes).into_iter().zip(0..);
        all.extend(
            compressed.map(|(block, n)| ("blocks", n, [&block.header.encode()[..], &block.stored].concat())),
        );
        all.extend(self.digests());
        all
    }

    /// Digests with the sites that the inputs behind them name.
    fn digests(&self) -> Vec<Seed> {
        let trace = Trace::open(&self.path).expect("a golden trace");
        let chunks = self.blocks.iter().filter(|b| kind(b) == Some(BlockType::Digests));
        let of = |((inputs, digests), n): ((Result<InputChunk, TraceError>, &Piece), usize)| {
            let sites: Vec<_> = inputs.expect("inputs").exits().map(|exit| exit.site).collect();
            ("digests", n, DigestInput::bytes(&sites, &digests.stored))
        };
        trace.inputs().zip(chunks).zip(0..).map(of).collect()
    }
}

fn kind(block: &Piece) -> Option<BlockType> {
    BlockType::from_number(block.header.kind)
}

/// The block without compression, pages apart: those would be long.
fn plain(block: Piece) -> Option<Piece> {
    let Piece { header, stored } = &block;
    if matches!(kind(&block), Some(BlockType::Memory | BlockType::Contents)) {
        return Some(block);
    }
    let payload = decode_payload(header, stored.clone()).ok()?;
    let mut block = Piece::plain(header.kind, header.first_exit, payload);
    block.header.flags = header.flags & !FLAG_ZSTD;
    Some(block)
}

/// The target of a payload, and its input.
fn payload_seed(block: &Piece) -> Option<(&'static str, Vec<u8>)> {
    let payload = decode_payload(&block.header, block.stored.clone()).ok()?;
    let at_exit = || ExitsInput { first_exit: block.header.first_exit, chunk: &payload }.bytes();
    Some(match kind(block)? {
        BlockType::Header => ("headers", payload),
        BlockType::StartState => ("states", payload),
        BlockType::Memory => ("memory", payload),
        BlockType::Sites => ("sites", payload),
        BlockType::Inputs => ("inputs", at_exit()),
        BlockType::Timing => ("timing", payload),
        BlockType::Console => ("console", at_exit()),
        // As many exits as any chunk may have.
        BlockType::HeldTsc => ("held_tsc", ExitsInput { first_exit: 1 << 18, chunk: &payload }.bytes()),
        BlockType::End => ("ends", payload),
        BlockType::Changes => ("changes", payload),
        BlockType::Keyframe => ("keyframes", payload),
        BlockType::Digests | BlockType::Contents | BlockType::Index | BlockType::IndexPlace => return None,
    })
}

/// A price of each kind of exit but the last, which has none.
fn prices() -> PriceList {
    let mut list = PriceList::new(Host::default(), "0.1.0", "2026-01-31".into());
    let path_ns = Estimate { low: 900.5, median: 1000.0, high: 1100.0 };
    for kind in ExitKind::ALL {
        list.prices.push(Price { kind, what: "in al, dx".into(), path_ns, guest_ns: 1.25 });
    }
    list.prices.pop();
    list.unpriced.push(Unpriced { kind: ExitKind::RandomRead, why: "RDRAND is not there".into() });
    list.recorder_ns = Some(path_ns);
    list
}
