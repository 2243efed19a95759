//! Aligns two sequences of exits by site and order, in memory that does not grow with their length.
//!
//! As long as sites are equal, nothing is searched. Where they part, the commonest reason is tried first: a loop that ran on
//! for some iterations on one side. Otherwise a window of both sides is compared by Myers' algorithm, and the alignment goes on from the
//! first long run that both have. Exits are *held* for a while before they are given out: an insertion can often stand in several
//! places, and it is put where the exits around it are equal in their data, too.

use imara_diff::{Algorithm, Diff, Token};
use std::ops::Range;

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    A,
    B,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::A, Self::B];

    pub(super) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// A piece of the alignment. Together they cover both sequences in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Exits of one site.
    Pair(u64, u64),
    /// Exits that the other side does not have.
    Only {
        side: Side,
        exits: Range<u64>,
        /// They repeat, so many at a time, what stands beside them: whole iterations of a loop.
        cycle: Option<u64>,
    },
}

/// Two sequences, and whoever takes the steps.
pub(super) trait Sequences {
    type Error;
    /// The site of an exit; `None` behind the last.
    fn site(&mut self, side: Side, at: u64) -> Result<Option<u32>, Self::Error>;
    /// Whether two exits of one site are equal in everything.
    fn is_same(&mut self, a: u64, b: u64) -> Result<bool, Self::Error>;
    /// Whether what follows the last exit is unknown, because host time cut the recording.
    fn is_cut(&self, side: Side) -> bool;
    /// Takes the next step. Of what came [`LOOKED_BACK`] exits before it, nothing is asked for any more.
    fn step(&mut self, step: Step) -> Result<(), Self::Error>;
}

/// Exits that may be asked for once more after they were given out.
pub(super) const LOOKED_BACK: u64 = 2 * HELD;
/// Pairs held back, and the longest loop that is known as one.
const HELD: u64 = 64;
/// Exits that must follow alike on both sides of a loop.
const CONFIRMED: u64 = 4;
/// A loop longer than this is believed, and given out while it is followed.
const LONG: u64 = 4096;
/// Windows that are compared, one after another, until one has an anchor.
const WINDOWS: [u64; 4] = [256, 1024, 4096, 16384];
/// A run of so many equal sites is where an alignment goes on from.
const ANCHOR: u64 = 16;

/// Aligns two sequences from their first exits to their last.
pub(super) fn align<S: Sequences>(sequences: &mut S) -> Result<(), S::Error> {
    let mut aligner = Aligner { sequences, at: [0; 2], held: 0, diff: Diff::default() };
    aligner.run()
}

struct Aligner<'s, S> {
    sequences: &'s mut S,
    /// The next exit of each side.
    at: [u64; 2],
    /// The last so many pairs were not given out yet.
    held: u64,
    diff: Diff,
}

impl<S: Sequences> Aligner<'_, S> {
    fn run(&mut self) -> Result<(), S::Error> {
        loop {
            match (self.next(Side::A, 0)?, self.next(Side::B, 0)?) {
                (None, None) => return self.give_out(self.held),
                (a, b) if a == b => self.pair()?,
                (a, b) => {
                    if self.loop_went_on(Side::B)? || self.loop_went_on(Side::A)? {
                        continue;
                    }
                    match (a, b) {
                        (None, _) => self.rest(Side::B)?,
                        (_, None) => self.rest(Side::A)?,
                        _ => self.resynchronize()?,
                    }
                }
            }
        }
    }

    /// The site so many exits ahead.
    fn next(&mut self, side: Side, ahead: u64) -> Result<Option<u32>, S::Error> {
        self.sequences.site(side, self.at[side as usize] + ahead)
    }

    fn pair(&mut self) -> Result<(), S::Error> {
        self.at = self.at.map(|at| at + 1);
        self.held += 1;
        if self.held > HELD { self.give_out(1) } else { Ok(()) }
    }

    /// Gives out the oldest of the held pairs.
    fn give_out(&mut self, pairs: u64) -> Result<(), S::Error> {
        for _ in 0..pairs {
            let [a, b] = self.at.map(|at| at - self.held);
            self.held -= 1;
            self.sequences.step(Step::Pair(a, b))?;
        }
        Ok(())
    }

    /// Goes on over further iterations of the loop that one side is in. False: it is in none, or what follows it is not what follows
    /// on the other side.
    fn loop_went_on(&mut self, side: Side) -> Result<bool, S::Error> {
        let start = self.at[side as usize];
        for cycle in 1..=HELD.min(start) {
            if !self.repeats(side, start..start + cycle, cycle)? {
                continue;
            }
            if self.follow_loop(side, cycle)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether each of these exits has the site of the one so many before it.
    fn repeats(&mut self, side: Side, mut exits: Range<u64>, cycle: u64) -> Result<bool, S::Error> {
        exits.try_fold(true, |repeats, at| {
            let site = self.sequences.site(side, at)?;
            Ok(repeats && site.is_some() && site == self.sequences.site(side, at - cycle)?)
        })
    }

    fn follow_loop(&mut self, side: Side, cycle: u64) -> Result<bool, S::Error> {
        let start = self.at[side as usize];
        let mut end = start;
        // Where the insertion is moved up to, once part of it has been given out.
        let mut moved = None;
        while self.repeats(side, end..end + cycle, cycle)? {
            end += cycle;
            if end - self.at[side as usize] < LONG {
                continue;
            }
            let up = match moved {
                Some(up) => up,
                None => self.last_differing(side, cycle)?,
            };
            self.insert(side, end, Some(cycle), up)?;
            moved = Some(up);
        }
        if let Some(up) = moved {
            self.insert(side, end, Some(cycle), up)?;
            return Ok(true);
        }
        if !self.goes_on_alike(side, end)? {
            return Ok(false);
        }
        let up = self.best_place(side, end)?;
        self.insert(side, end, Some(cycle), up)?;
        Ok(true)
    }

    /// Whether the other side goes on as this one does from `end` on.
    fn goes_on_alike(&mut self, side: Side, end: u64) -> Result<bool, S::Error> {
        for i in 0..CONFIRMED {
            let ours = self.sequences.site(side, end + i)?;
            if ours != self.next(side.other(), i)? {
                return Ok(false);
            }
            if ours.is_none() {
                break;
            }
        }
        Ok(true)
    }

    /// A whole iteration, if a pair of the last one differs: what ends a loop is in its last iteration on both sides.
    fn last_differing(&mut self, side: Side, cycle: u64) -> Result<u64, S::Error> {
        for back in 1..=cycle.min(self.held) {
            if !self.is_same(side, self.at[side as usize] - back, back)? {
                return Ok(cycle.min(self.held));
            }
        }
        Ok(0)
    }

    /// Whether an exit of `side` equals the one `back` exits before the next of the other side.
    fn is_same(&mut self, side: Side, at: u64, back: u64) -> Result<bool, S::Error> {
        let other = self.at[side.other() as usize] - back;
        let (a, b) = if side == Side::A { (at, other) } else { (other, at) };
        self.sequences.is_same(a, b)
    }

    /// How far up an insertion is moved so that the most of the pairs behind it are equal. It can move over an exit that
    /// has the site of its own last.
    fn best_place(&mut self, side: Side, end: u64) -> Result<u64, S::Error> {
        let start = self.at[side as usize];
        let (mut gain, mut best) = (0i64, (0i64, 0u64));
        for up in 1..=self.held.min(start) {
            if self.sequences.site(side, end - up)? != self.sequences.site(side, start - up)? {
                break;
            }
            gain += i64::from(self.is_same(side, end - up, up)?)
                - i64::from(self.is_same(side, start - up, up)?);
            if gain > best.0 {
                best = (gain, up);
            }
        }
        Ok(best.1)
    }

    /// Gives out exits of one side up to `end`, moved up over `up` of the held pairs.
    fn insert(&mut self, side: Side, end: u64, cycle: Option<u64>, up: u64) -> Result<(), S::Error> {
        let start = self.at[side as usize];
        if start == end {
            return Ok(());
        }
        self.give_out(self.held - up)?;
        self.sequences.step(Step::Only { side, exits: start - up..end - up, cycle })?;
        self.at[side as usize] = end;
        Ok(())
    }

    /// All that is left of one side.
    fn rest(&mut self, side: Side) -> Result<(), S::Error> {
        self.give_out(self.held)?;
        while self.next(side, 0)?.is_some() {
            let mut end = self.at[side as usize] + 1;
            while end - self.at[side as usize] < LONG && self.sequences.site(side, end)?.is_some() {
                end += 1;
            }
            self.insert(side, end, None, 0)?;
        }
        Ok(())
    }

    /// Finds where the two go on alike.
    fn resynchronize(&mut self) -> Result<(), S::Error> {
        for (i, size) in WINDOWS.into_iter().enumerate() {
            let mut windows = [self.window(Side::A, size)?, self.window(Side::B, size)?];
            let ended = Side::BOTH.map(|side| windows[side as usize].len() < size as usize);
            for side in Side::BOTH {
                // What a cut recording would have had next is not known: its last exits are not looked for far ahead.
                if ended[side as usize] && self.sequences.is_cut(side) {
                    let most = 2 * windows[side as usize].len() + HELD as usize;
                    windows[side.other() as usize].truncate(most);
                }
            }
            let runs = self.runs(&windows);
            let length = |run: &Run| run.2;
            let end = [windows[0].len() as u64, windows[1].len() as u64];
            let until = if let Some(anchor) = runs.iter().position(|run| length(run) >= ANCHOR) {
                let anchor = runs[anchor];
                [anchor.0, anchor.1]
            } else if ended == [true; 2] {
                end
            } else if i + 1 < WINDOWS.len() {
                continue;
            } else {
                for side in Side::BOTH {
                    if self.leave_loop(side, &windows[side as usize])? {
                        return Ok(());
                    }
                }
                // Nothing holds here: what the window has in common is better than nothing.
                runs.iter().rfind(|run| length(run) > 0).map_or(end, |run| [run.0 + run.2, run.1 + run.2])
            };
            return self.take(&runs, until);
        }
        Ok(())
    }

    /// Goes on behind a window that is full of a loop which the other side has not.
    fn leave_loop(&mut self, side: Side, window: &[Token]) -> Result<bool, S::Error> {
        let half = window.len() / 2;
        let repeats = |cycle: &usize| (half..window.len()).all(|i| window[i] == window[i - cycle]);
        let Some(cycle) = (1..=HELD as usize).filter(|c| *c <= half).find(repeats) else { return Ok(false) };
        let start = self.at[side as usize];
        let end = start + (window.len() / cycle * cycle) as u64;
        let cycle = self.cycle(side, start..end)?;
        self.insert(side, end, cycle, 0)?;
        Ok(true)
    }

    fn window(&mut self, side: Side, size: u64) -> Result<Vec<Token>, S::Error> {
        let mut tokens = Vec::new();
        for ahead in 0..size {
            let Some(site) = self.next(side, ahead)? else { break };
            tokens.push(Token(site));
        }
        Ok(tokens)
    }

    /// The runs that two windows have in common, and an empty one at their ends.
    fn runs(&mut self, [a, b]: &[Vec<Token>; 2]) -> Vec<Run> {
        self.diff.compute_with(Algorithm::Myers, a, b, 0);
        let mut runs = Vec::new();
        let mut at = (0u64, 0u64);
        for hunk in self.diff.hunks() {
            let length = u64::from(hunk.before.start) - at.0;
            if length > 0 {
                runs.push((at.0, at.1, length));
            }
            at = (hunk.before.end.into(), hunk.after.end.into());
        }
        let left = a.len() as u64 - at.0;
        runs.push((at.0, at.1, left));
        runs
    }

    /// Takes these runs, and what stands between them, up to this place in the windows.
    fn take(&mut self, runs: &[Run], until: [u64; 2]) -> Result<(), S::Error> {
        let origin = self.at;
        for &(a, b, length) in runs {
            let [a, b] = [a.min(until[0]), b.min(until[1])];
            self.between([origin[0] + a, origin[1] + b])?;
            for _ in 0..length.min(until[0] - a) {
                self.pair()?;
            }
        }
        self.between([origin[0] + until[0], origin[1] + until[1]])
    }

    /// Takes what stands between the last run and the next one.
    fn between(&mut self, end: [u64; 2]) -> Result<(), S::Error> {
        let is_one_sided = Side::BOTH.iter().any(|s| self.at[*s as usize] == end[*s as usize]);
        for side in Side::BOTH {
            let (start, end) = (self.at[side as usize], end[side as usize]);
            if start == end {
                continue;
            }
            let (cycle, up) = if is_one_sided {
                (self.cycle(side, start..end)?, self.best_place(side, end)?)
            } else {
                (None, 0)
            };
            self.insert(side, end, cycle, up)?;
        }
        Ok(())
    }

    /// The loop of which these exits are whole iterations, and which ran before or goes on behind them.
    fn cycle(&mut self, side: Side, exits: Range<u64>) -> Result<Option<u64>, S::Error> {
        let length = exits.end - exits.start;
        for cycle in (1..=HELD.min(length)).filter(|c| length.is_multiple_of(*c)) {
            let ran = exits.start >= cycle && self.repeats(side, exits.clone(), cycle)?;
            if ran || self.repeats(side, exits.start + cycle..exits.end + cycle, cycle)? {
                return Ok(Some(cycle));
            }
        }
        Ok(None)
    }
}

/// Where a run begins in each window, and its length.
type Run = (u64, u64, u64);

#[cfg(test)]
#[path = "align_tests.rs"]
mod tests;
