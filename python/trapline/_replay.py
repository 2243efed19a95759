"""Replaying a trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath

from trapline import _html, _native
from trapline._trace import Trace


@dataclass(frozen=True)
class Divergence:
    """The first place where a replay shows something else than the recording."""

    #: The exit at which it shows.
    exit: int
    #: What differed, in one line.
    what: str
    #: All that is known: both sides, the exits before it, possible causes.
    details: str
    #: What differs by name: recorded and replayed.
    differences: dict[str, tuple[str, str]]


@dataclass(frozen=True)
class Replay:
    """How a replay went. It is true where it was faithful."""

    #: Exits that were replayed.
    exits: int
    #: None where everything that was compared was equal.
    divergence: Divergence | None

    @property
    def faithful(self) -> bool:
        """Whether everything that was compared was equal."""
        return self.divergence is None

    def __bool__(self) -> bool:
        return self.faithful

    def __str__(self) -> str:
        if self.divergence is None:
            return f"faithful: {self.exits:,} exits, all identical to the recording"
        return self.divergence.details

    def _repr_html_(self) -> str:
        return _html.text(str(self))


def replay(
    trace: Trace | str | PathLike[str], *, until: int | None = None, disks: Sequence[str | PathLike[str]] = ()
) -> Replay:
    """Runs a recorded guest again, from its trace alone, and compares everything that it shows.

    ``until`` stops after that exit; ``disks`` are the images of the guest's disks, where the trace refers to them. A divergence is an outcome, not an error: :class:`trapline.ReplayError` says that the
    replay could not be carried out at all. Other Python threads run meanwhile; Ctrl-C ends it.
    """
    path = trace.path if isinstance(trace, Trace) else fspath(trace)
    exits, told = _native.replay(path, until, [fspath(disk) for disk in disks])
    if told is None:
        return Replay(exits, None)
    exit, what, details, differences = told
    by_name = {name: (recorded, replayed) for name, recorded, replayed in differences}
    return Replay(exits, Divergence(exit, what, details, by_name))
