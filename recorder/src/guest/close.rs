//! Closing a source in a guest that is loaded already: one that was not found by disassembly, but by watching it execute.

use super::Guest;
use crate::rewrite::Ports;
use trapline_formats::{Gpa, Suspect};

impl Guest {
    /// What is in memory at the start; `None` where nothing is loaded.
    pub(crate) fn bytes_at(&self, gpa: u64, length: usize) -> Option<&[u8]> {
        // What is loaded later lies on top.
        self.contents.iter().rev().find_map(|(start, bytes)| {
            let offset = usize::try_from(gpa.checked_sub(start.0)?).ok()?;
            bytes.get(offset..offset.checked_add(length)?)
        })
    }

    /// Changes what is in memory at the start, wherever it is loaded.
    pub(crate) fn put(&mut self, gpa: u64, new: &[u8]) {
        let mut places = vec![gpa];
        for mirror in &self.mirrors {
            let [one, other] = mirror.gpas;
            for (from, to) in [(one, other), (other, one)] {
                let offset = gpa.wrapping_sub(from);
                // What begins before the second place begins there alone.
                if offset < mirror.bytes {
                    places.push(to + offset);
                }
            }
        }
        for (Gpa(start), bytes) in &mut self.contents {
            for place in &places {
                let offset = place.wrapping_sub(*start) as usize;
                let there = bytes.get_mut(offset..).and_then(|rest| rest.get_mut(..new.len()));
                if let Some(there) = there {
                    there.copy_from_slice(new);
                }
            }
        }
    }

    /// Rewrites a source. The error is a reason in words.
    pub(crate) fn close(&mut self, gpa: u64, original: &[u8], found_by: &str) -> Result<(), String> {
        if self.rewrites.iter().any(|r| r.gpa == gpa && r.original == original) {
            return Ok(());
        }
        if self.bytes_at(gpa, original.len()) != Some(original) {
            return Err(format!("the bytes {original:02x?} are not at {gpa:#x}"));
        }
        let ports = Ports::of(self)?;
        let rewrite = ports
            .rewrite(gpa, original, found_by)
            .ok_or_else(|| format!("the bytes {original:02x?} are no instruction that can be rewritten"))?;
        self.put(gpa, &rewrite.replacement);
        self.stand_ins = ports.stand_ins();
        let is_apart = |s: &Suspect| s.gpa.wrapping_sub(gpa) >= original.len() as u64;
        self.suspects.retain(is_apart);
        let place = self.rewrites.partition_point(|r| r.gpa < gpa);
        self.rewrites.insert(place, rewrite);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::{Mirror, flat};

    /// `jmp $`, and an RDTSC that nothing reaches.
    fn guest() -> Guest {
        flat::from_bytes(vec![0xeb, 0xfe, 0x0f, 0x31, 0xf4], flat::Mode::Bits64, 4 << 20).unwrap()
    }

    #[test]
    fn a_source_is_closed_once_and_no_longer_suspect() {
        let mut guest = guest();
        assert_eq!(guest.suspects.len(), 1);
        for _ in 0..2 {
            guest.close(0x8002, &[0x0f, 0x31], "test").unwrap();
        }
        assert_eq!(guest.bytes_at(0x8002, 3), Some(&[0xe6, 0x9e, 0xf4][..]));
        assert_eq!((guest.suspects.len(), guest.rewrites.len()), (0, 1));
        assert_eq!(guest.stand_ins.clock, Some(0x9e));
    }

    #[test]
    fn what_is_not_there_or_no_source_is_refused_and_nothing_changed() {
        let mut guest = guest();
        let before = guest.contents.clone();
        assert!(guest.close(0x8000, &[0x0f, 0x31], "test").unwrap_err().contains("not at 0x8000"));
        assert!(guest.close(0x8004, &[0xf4], "test").unwrap_err().contains("no instruction"));
        assert!(guest.close(u64::MAX, &[0x0f, 0x31], "test").is_err());
        assert_eq!(guest.contents, before);
    }

    #[test]
    fn what_is_loaded_twice_is_changed_twice() {
        let mut guest = guest();
        guest.contents.push((Gpa(0x2_0000), guest.contents[0].1.clone()));
        guest.mirrors = vec![Mirror { gpas: [0x8000, 0x2_0000], bytes: 5 }];
        guest.close(0x8002, &[0x0f, 0x31], "test").unwrap();
        assert_eq!(guest.bytes_at(0x2_0002, 2), Some(&[0xe6, 0x9e][..]));
    }
}
