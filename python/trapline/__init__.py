"""Record any KVM guest, replay it exactly, and price every instruction that trapped.

>>> import trapline
>>> trace = trapline.read("boot.trap")           # doctest: +SKIP
>>> trace.report(by="device")                     # doctest: +SKIP
>>> trace.exits.group_by("kind").len()            # doctest: +SKIP
"""

from trapline._native import RecordError, ReplayError, TraceError, TraplineError
from trapline._record import record
from trapline._replay import Divergence, Replay, replay
from trapline._report import Comparison, Report
from trapline._trace import DamagedTraceWarning, Trace, read

__all__ = [
    "Comparison",
    "DamagedTraceWarning",
    "Divergence",
    "RecordError",
    "Replay",
    "ReplayError",
    "Report",
    "Trace",
    "TraceError",
    "TraplineError",
    "read",
    "record",
    "replay",
]
