use super::*;
use proptest::prelude::*;
use std::convert::Infallible;

/// Two sequences in memory: (site, data). Exits long given out may not be asked for.
#[derive(Default)]
struct InMemory {
    exits: [Vec<(u32, u32)>; 2],
    given: [u64; 2],
    cut: [bool; 2],
    steps: Vec<Step>,
    asked: u64,
}

impl InMemory {
    fn look(&mut self, side: Side, at: u64) -> Option<(u32, u32)> {
        assert!(at + LOOKED_BACK >= self.given[side as usize], "{side:?} {at} was forgotten");
        self.asked += 1;
        self.exits[side as usize].get(at as usize).copied()
    }
}

impl Sequences for InMemory {
    type Error = Infallible;

    fn site(&mut self, side: Side, at: u64) -> Result<Option<u32>, Infallible> {
        Ok(self.look(side, at).map(|e| e.0))
    }

    fn is_same(&mut self, a: u64, b: u64) -> Result<bool, Infallible> {
        Ok(self.look(Side::A, a) == self.look(Side::B, b))
    }

    fn is_cut(&self, side: Side) -> bool {
        self.cut[side as usize]
    }

    fn step(&mut self, step: Step) -> Result<(), Infallible> {
        match &step {
            Step::Pair(a, b) => {
                assert_eq!([*a, *b], self.given);
                assert_eq!(self.exits[0][*a as usize].0, self.exits[1][*b as usize].0, "a pair has one site");
                self.given = [a + 1, b + 1];
            }
            Step::Only { side, exits, .. } => {
                assert!(exits.start == self.given[*side as usize] && exits.end > exits.start, "{step:?}");
                self.given[*side as usize] = exits.end;
            }
        }
        self.steps.push(step);
        Ok(())
    }
}

fn aligned(a: Vec<(u32, u32)>, b: Vec<(u32, u32)>) -> InMemory {
    let mut sequences = InMemory { exits: [a, b], ..InMemory::default() };
    let Ok(()) = align(&mut sequences);
    assert_eq!(sequences.given, [0, 1].map(|s| sequences.exits[s].len() as u64), "all of both is covered");
    sequences
}

/// What is not a pair of equal exits: (side or -, range or pair, cycle).
fn differences(sequences: &InMemory) -> Vec<Step> {
    let is_same = |a: u64, b: u64| sequences.exits[0][a as usize] == sequences.exits[1][b as usize];
    let mut found: Vec<Step> = Vec::new();
    for step in &sequences.steps {
        match (step, found.last_mut()) {
            (Step::Pair(a, b), _) if is_same(*a, *b) => {}
            (
                Step::Only { side, exits, cycle },
                Some(Step::Only { side: last, exits: before, cycle: same }),
            ) if side == last && before.end == exits.start && same == cycle => before.end = exits.end,
            _ => found.push(step.clone()),
        }
    }
    found
}

fn plain(sites: impl IntoIterator<Item = u32>) -> Vec<(u32, u32)> {
    sites.into_iter().map(|site| (site, 0)).collect()
}

/// Sites that hardly repeat.
fn straight(length: u32) -> Vec<(u32, u32)> {
    plain((0..length).map(|i| 100 + i * 7 % 1009))
}

fn only(side: Side, exits: Range<u64>, cycle: Option<u64>) -> Step {
    Step::Only { side, exits, cycle }
}

#[test]
fn equal_sequences_are_pairs() {
    let sequences = aligned(straight(5000), straight(5000));
    assert_eq!(differences(&sequences), []);
    assert!(sequences.asked < 5 * 5000, "{} look-ups", sequences.asked);
    assert_eq!(differences(&aligned(Vec::new(), Vec::new())), []);
}

#[test]
fn further_iterations_of_a_loop_are_one_insertion_however_many() {
    for cycle in [1, 2, 3, 7, 64] {
        for more in [1, 2, 117, 5000, 20_000] {
            let run = |iterations: u32| {
                let body = (0..iterations).flat_map(|_| (0..cycle).map(|i| (i, 0)));
                straight(300).into_iter().chain(body).chain(straight(300)).collect::<Vec<_>>()
            };
            let (few, many) = (run(3), run(3 + more));
            let start = u64::from(300 + 3 * cycle);
            let exits = start..start + u64::from(more * cycle);
            let cycle = Some(u64::from(cycle));
            assert_eq!(
                differences(&aligned(few.clone(), many.clone())),
                [only(Side::B, exits.clone(), cycle)]
            );
            assert_eq!(differences(&aligned(many, few)), [only(Side::A, exits, cycle)]);
        }
    }
}

#[test]
fn what_ends_a_polling_loop_is_paired() {
    for more in [3, 10_000] {
        // The status is 0 until it is 1.
        let polls = |n: u32| (0..n).map(move |i| (5, u32::from(i + 1 == n)));
        let run = |n| straight(50).into_iter().chain(polls(n)).chain(straight(50)).collect::<Vec<_>>();
        let found = differences(&aligned(run(4), run(4 + more)));
        assert_eq!(found, [only(Side::B, 53..53 + u64::from(more), Some(1))]);
    }
}

#[test]
fn a_loop_that_counts_is_longer_at_its_end() {
    let count = |n: u32| (0..n).map(|i| (5, i));
    let run = |n| straight(50).into_iter().chain(count(n)).chain(straight(50)).collect::<Vec<_>>();
    assert_eq!(differences(&aligned(run(4), run(9))), [only(Side::B, 54..59, Some(1))]);
}

#[test]
fn exits_that_stand_only_here_are_found_in_their_place() {
    let run = |more: &[u32]| [straight(500), plain(more.iter().copied()), straight(500)].concat();
    assert_eq!(differences(&aligned(run(&[]), run(&[1, 2, 3]))), [only(Side::B, 500..503, None)]);
    assert_eq!(
        differences(&aligned(run(&[1, 2]), run(&[3]))),
        [only(Side::A, 500..502, None), only(Side::B, 500..501, None)]
    );
}

#[test]
fn an_interrupt_that_came_elsewhere_in_a_loop_makes_no_more_than_two_insertions() {
    let run = |before: usize, after: usize| {
        let polls = |n| plain(std::iter::repeat_n(5, n));
        [straight(100), polls(before), plain([1, 2, 3, 4]), polls(after), straight(100)].concat()
    };
    assert_eq!(
        differences(&aligned(run(10, 20), run(15, 11))),
        [only(Side::B, 110..115, Some(1)), only(Side::A, 125..134, Some(1))]
    );
}

#[test]
fn a_long_loop_that_the_other_side_does_not_enter_is_left_behind() {
    for cycle in [1, 3] {
        let body = (0..30_000 * cycle).map(|i| i % cycle);
        let b = [straight(300), plain(body), straight(20_000)].concat();
        let a = [straight(300), straight(20_000)].concat();
        let exits = 300..300 + 30_000 * u64::from(cycle);
        let found = differences(&aligned(a, b));
        let whole: u64 = found
            .iter()
            .map(|s| match s {
                Step::Only { side: Side::B, exits, cycle: Some(_) } => exits.end - exits.start,
                other => panic!("{other:?}"),
            })
            .sum();
        assert_eq!(whole, exits.end - exits.start, "{found:?}");
    }
}

#[test]
fn sequences_without_anything_in_common_take_linear_time() {
    let a = plain((0..200_000).map(|i| i % 97));
    let b = plain((0..100_000).map(|i| 1000 + i % 89));
    let sequences = aligned(a, b);
    assert!(sequences.steps.iter().all(|s| matches!(s, Step::Only { .. })));
    assert!(sequences.asked < 300_000 * 200, "{} look-ups", sequences.asked);
}

#[test]
fn the_last_exits_of_a_cut_recording_are_not_looked_for_far_ahead() {
    let a = [straight(100), plain([1, 2])].concat();
    let b = [straight(100), plain((0..200).map(|i| 2000 + i)), plain([1, 2]), straight(50)].concat();
    let mut sequences = InMemory { exits: [a, b], cut: [true, false], ..InMemory::default() };
    let Ok(()) = align(&mut sequences);
    assert!(
        sequences.steps.iter().all(|s| !matches!(s, Step::Pair(100.., _))),
        "{:?}",
        differences(&sequences)
    );
}

proptest! {
    #[test]
    fn every_alignment_covers_both(a in prop::collection::vec((0u32..6, 0u32..2), 0..600), b in prop::collection::vec((0u32..6, 0u32..2), 0..600)) {
        aligned(a, b);
    }

    #[test]
    fn an_edit_costs_no_more_than_its_size(at in 0usize..2000, gone in 0usize..20, new in prop::collection::vec(0u32..50, 0..20)) {
        let a = straight(2000);
        let mut b = a.clone();
        let end = (at + gone).min(b.len());
        b.splice(at..end, plain(new.iter().copied()));
        let found = differences(&aligned(a, b));
        let size: u64 = found.iter().map(|s| match s { Step::Only { exits, .. } => exits.end - exits.start, Step::Pair(..) => 1 }).sum();
        prop_assert!(size <= (end - at + new.len()) as u64, "{:?}", found);
    }
}
