"""What exits cost, and whether it has changed."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

import polars as pl

from trapline import _html, _native

#: Rows that a notebook shows.
SHOWN = 10


class Report:
    """What the exits of a recording cost, group by group, the dearest first; idleness (HLT) last."""

    def __init__(self, native: _native.Report, by: str) -> None:
        self._native = native
        #: What a row stands for.
        self.by = by

    @cached_property
    def frame(self) -> pl.DataFrame:
        """The rows; their columns are the report table of ``analyzer/SCHEMA.md``."""
        return pl.DataFrame(self._native.frame())

    @cached_property
    def histograms(self) -> pl.DataFrame:
        """How often each time occurred: the histograms table of ``analyzer/SCHEMA.md``, of ``report(histograms=True)``."""
        return pl.DataFrame(self._native.histograms())

    def hdr_log(self) -> str:
        """The same for the tools of HdrHistogram: a log with two tagged histograms for each row."""
        return self._native.hdr_log()

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Everything but the rows, as ``trapline report --format json`` has it."""
        facts: dict[str, Any] = json.loads(self._native.json(0))
        del facts["rows"]
        return facts

    @property
    def totals(self) -> dict[str, int]:
        """Exits and nanoseconds of the whole recording: ``total_ns = vmm_ns + path_ns + guest_ns + idle_ns``."""
        totals: dict[str, int] = self.facts["totals"]
        return totals

    @property
    def suggestions(self) -> list[dict[str, Any]]:
        """What could be changed at dear sites, the most promising first."""
        suggestions: list[dict[str, Any]] = self.facts["suggestions"]
        return suggestions

    def json(self, top: int | None = None) -> str:
        """The report as JSON, with at most ``top`` rows of costs."""
        return self._native.json(top)

    def text(self, top: int | None = 20, width: int = 100) -> str:
        """The report for terminals."""
        return self._native.text(top, width)

    def html(self, top: int | None = None) -> str:
        """A whole page for a browser, with pictures; it works offline. By instruction only."""
        return self._native.html(top)

    def against(self, before: Report, *, least_change: float = 5.0) -> Comparison:
        """This recording beside an earlier one, site by site: as ``trapline report --against``.

        Differences of less than ``least_change`` percent are none. Both reports are by instruction.
        """
        return Comparison(self._native.against(before._native, least_change))

    def __repr__(self) -> str:
        totals = self.totals
        return (
            f"<trapline.Report by {self.by}: {totals['exits']:,} exits, "
            f"{_html.duration(totals['cost_ns'])} of {_html.duration(totals['total_ns'])}>"
        )

    def _repr_html_(self) -> str:
        totals = self.totals
        whole = totals["total_ns"] or 1
        shares = {
            name: f"{_html.duration(totals[key])} ({100 * totals[key] / whole:.1f} %), {what}"
            for name, key, what in (
                ("VMM", "vmm_ns", "measured: our process, after exits"),
                ("exit path", "path_ns", "estimated: kernel and hardware"),
                ("guest", "guest_ns", "estimated: its own computing"),
                ("idle", "idle_ns", "measured: waiting in HLT"),
            )
        }
        count = f"{totals['exits']:,} exits in {_html.duration(whole)}"
        damage = None if self.facts["whole"] else "the trace is cut short: these are not the counts of the run"
        head = _html.card(f"Cost by {self.by}", {"recording": count, **shares, "damage": damage})
        costs = self.frame.filter(~pl.col("idle"))
        shown = costs.head(SHOWN)
        rows = shown.select(
            pl.Series("what", self.labels(shown), dtype=pl.String),
            pl.col("cost_percent").round(1),
            (pl.col("cost_ns") / 1e6).round(3).alias("cost_ms"),
            "count",
            "vmm_p50_ns",
        )
        names = [self.by, "cost %", "cost ms", "exits", "VMM p50, ns"]
        more = costs.height - rows.height
        rest = f"<div>and {more:,} more in <code>.frame</code></div>" if more > 0 else ""
        return head + _html.table(names, rows.iter_rows()) + rest

    def labels(self, rows: pl.DataFrame) -> list[str]:
        """What some rows of :attr:`frame` stand for, in words."""
        return [self._label(row) for row in rows.iter_rows(named=True)]

    def _label(self, row: dict[str, Any]) -> str:
        address = "" if row["address"] is None else f"{row['address']:#x}"
        register = " ".join(filter(None, (row["device"], row["register"]))) or row["kind"] or ""
        target = f"{address} {register}".strip() or "(several)"
        if self.by == "instruction":
            place = f"{row['instruction_address']:#x}"
            if row["symbol"] is not None:
                place = f"{row['symbol']}+{row['symbol_offset']:#x}"
            return f"{place}: {row['disassembly'] or '(unreadable)'} – {target}"
        return {"reason": row["kind"], "symbol": row["symbol"], "device": row["device"]}.get(self.by, target) or "(none)"


class Comparison:
    """Two recordings, site by site: what has more exits, what has become slower."""

    def __init__(self, native: _native.Comparison) -> None:
        self._native = native
        #: Everything, as ``trapline report --against --format json`` has it.
        self.facts: dict[str, Any] = json.loads(native.json())

    @cached_property
    def frame(self) -> pl.DataFrame:
        """The pairs of sites, the largest differences first; their columns are the pairs of ``analyzer/SCHEMA.md``."""
        times = pl.List(pl.Float64)
        kinds: dict[str, pl.DataType | type[pl.DataType]] = {
            "site_before": pl.UInt32,
            "site_now": pl.UInt32,
            "exits_before": pl.UInt64,
            "exits_now": pl.UInt64,
            "cost_before_ns": pl.UInt64,
            "cost_now_ns": pl.UInt64,
            "vmm_before_ns": times,
            "vmm_now_ns": times,
        }
        columns = (
            "site_before site_now paired_by kind instruction place target exits_before exits_now exits "
            "cost_before_ns cost_now_ns vmm_before_ns vmm_now_ns vmm"
        ).split()
        return pl.DataFrame(self.facts["pairs"], schema={name: kinds.get(name, pl.String) for name in columns})

    @property
    def changed(self) -> pl.DataFrame:
        """The pairs that have more or fewer exits, or have become slower or faster."""
        verdicts = ["more", "less"]
        return self.frame.filter(pl.col("exits").is_in(verdicts) | pl.col("vmm").is_in(verdicts))

    @property
    def exits(self) -> tuple[int, int]:
        """Exits before and now."""
        before, now = self.facts["exits"]
        return before, now

    @property
    def cost_ns(self) -> tuple[int, int] | None:
        """Cost before and now; None where the times of the two recordings do not compare."""
        cost = self.facts["cost_ns"]
        return None if cost is None else (cost[0], cost[1])

    def text(self, top: int | None = 20, width: int = 100) -> str:
        """The comparison for terminals."""
        return self._native.text(top, width)

    def __repr__(self) -> str:
        before, now = self.exits
        return f"<trapline.Comparison: {before:,} exits before, {now:,} now; {self.changed.height} sites changed>"

    def _repr_html_(self) -> str:
        return _html.text(self.text())
