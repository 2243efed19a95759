//! Sources, and functions in them, that have one name: who reads it has to know which is meant.

use super::source::Source;
use super::{SymbolFile, safe};
use std::collections::{BTreeMap, BTreeSet};

/// Files of one name go by their paths.
pub(super) fn tell_files_apart(sources: &mut [Source], files: &[SymbolFile]) {
    let mut often: BTreeMap<String, u32> = BTreeMap::new();
    for source in sources.iter() {
        *often.entry(source.name.clone()).or_default() += 1;
    }
    for (source, file) in sources.iter_mut().zip(files) {
        if often.get(&source.name).is_some_and(|times| *times > 1) {
            source.name = safe(file.path.as_os_str().as_encoded_bytes());
        }
    }
}

/// Functions that two sources call the same and have at different places carry the name of their source. Two lists of one
/// program's functions have them at the same places.
pub(super) fn tell_functions_apart(sources: &mut [Source]) {
    let mut namesakes: Vec<_> = sources.iter().map(|_| BTreeSet::new()).collect();
    {
        let places: Vec<_> = sources.iter().map(places).collect();
        for (i, ours) in places.iter().enumerate() {
            for (_, theirs) in places.iter().enumerate().filter(|(j, _)| *j != i) {
                let differs = |(name, at): &(&&[u8], &BTreeSet<u64>)| {
                    theirs.get(**name).is_some_and(|others| others.is_disjoint(at))
                };
                namesakes[i].extend(ours.iter().filter(differs).map(|(name, _)| name.to_vec()));
            }
        }
    }
    for (source, names) in sources.iter_mut().zip(namesakes) {
        source.namesakes = names;
    }
}

/// Where the guest has the functions of each name.
fn places(source: &Source) -> BTreeMap<&[u8], BTreeSet<u64>> {
    let mut places: BTreeMap<_, BTreeSet<u64>> = BTreeMap::new();
    let Some(offset) = source.placed else { return places };
    for (address, name) in source.table.all() {
        places.entry(name).or_default().insert(address.wrapping_add(offset));
    }
    places
}
