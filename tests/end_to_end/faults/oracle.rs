//! Says whether and where a fault takes effect: the original trace and the faulty one are both carried out, and everything that
//! can be seen of the two guests is compared at every exit.

use super::claims::{Claims, Unlike, without_resume_flag};
use super::executor::{Disk, Ending, Place, Sight, execute};
use crate::support::host::Host;
use crate::support::plain::{Plain, PlainExit};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use trapline_formats::digests::{self, COMPARED};

/// The execution of an original trace, point by point.
pub struct Reference {
    sights: BTreeMap<Place, Sight>,
}

/// What a fault comes to.
#[derive(Debug, Default)]
pub struct Effect {
    /// The first exit that is not as the faulty trace says, and the registers that are not.
    pub exit: Option<(u64, BTreeSet<String>)>,
    /// The first point at which anything differs from the original execution.
    pub state: Option<Place>,
    /// The first checkpoint or keyframe that is not as the faulty trace says, and what of it is not.
    pub checkpoint: Option<(Place, Unlike)>,
    /// A checkpoint or a keyframe at which something differs, and the faulty trace says just that.
    pub missed: Option<Place>,
    /// The trace cannot be carried out, from behind so many exits on.
    pub refused: Option<u64>,
}

impl Effect {
    pub fn is_none(&self) -> bool {
        self.exit.is_none() && self.state.is_none() && self.checkpoint.is_none() && self.refused.is_none()
    }
}

impl Reference {
    /// Carries an original trace out. It goes as it says, or nothing can be learned from it.
    pub fn of(host: &Host, plain: &Plain, disk: Disk<'_>, silence: Duration) -> Self {
        let mut sights = BTreeMap::new();
        let ending = execute(host, plain, disk, silence, &mut |sight| {
            sights.insert(sight.place, sight);
            true
        });
        assert_eq!(ending, Ending::Whole);
        let mut claims = Claims::of(plain);
        for sight in sights.values() {
            assert_eq!(unlike_exit(plain, sight), None, "{:?}", sight.place);
            assert_eq!(claims.compare(sight).names, BTreeSet::new(), "{:?}", sight.place);
        }
        assert_eq!(sights.keys().filter(|place| place.look == 0).count(), plain.exits.len());
        Self { sights }
    }

    /// What a faulty trace comes to.
    pub fn effect(&self, host: &Host, faulty: &Plain, disk: Disk<'_>, silence: Duration) -> Effect {
        let mut effect = Effect::default();
        let mut claims = Claims::of(faulty);
        let ending = execute(host, faulty, disk, silence, &mut |sight| {
            let original = self.sights.get(&sight.place);
            let differs = original.is_none_or(|original| !is_same(original, &sight));
            if differs {
                effect.state.get_or_insert(sight.place);
            }
            let unlike = claims.compare(&sight);
            // Where the original has none, a turn of a loop more or less has moved it, and it may be right.
            if differs && original.is_some() && sight.place.look > 0 && unlike.names.is_empty() {
                effect.missed.get_or_insert(sight.place);
            }
            if !unlike.names.is_empty() {
                effect.checkpoint = Some((sight.place, unlike));
            }
            effect.exit = unlike_exit(faulty, &sight).map(|registers| (sight.place.exit, registers));
            effect.exit.is_none() && effect.checkpoint.is_none()
        });
        match ending {
            Ending::Whole | Ending::Enough => {}
            Ending::Impossible(exit) | Ending::Silent(exit) => effect.exit = Some((exit, BTreeSet::new())),
            Ending::Refused(exits, _) => effect.refused = Some(exits),
        }
        effect
    }
}

/// Nothing of two executions differs at a point, as far as KVM lets one see it.
fn is_same(a: &Sight, b: &Sight) -> bool {
    a.exit == b.exit
        && a.registers == b.registers
        && without_resume_flag(&a.cpu) == without_resume_flag(&b.cpu)
        && a.pages == b.pages
}

/// The registers that are not as the trace says at an exit; `None` if the exit is as the trace says.
fn unlike_exit(plain: &Plain, sight: &Sight) -> Option<BTreeSet<String>> {
    let (site, data) = sight.exit.as_ref()?;
    let PlainExit { site: number, data: recorded, registers, .. } = &plain.exits[sight.place.exit as usize];
    let is_input = site.kind.is_input();
    let is_same = *site == plain.sites[*number]
        && data.len() == recorded.len()
        && (is_input || data == recorded)
        && sight.registers == *registers;
    let differs = |r: &usize| sight.registers[*r] != registers[*r];
    (!is_same).then(|| (0..COMPARED).filter(differs).map(|r| digests::name(r).to_owned()).collect())
}
