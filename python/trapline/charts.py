"""Charts of traces and reports, by Altair (``pip install 'trapline[charts]'``).

Rows are counted and summed before they are drawn, so that a chart of a million exits is as small as one of a thousand.
"""

from __future__ import annotations

from typing import Literal

import altair as alt
import polars as pl

from trapline._report import Comparison, Report
from trapline._trace import Trace

#: Groups of a timeline that get colours of their own; what is left is one more.
MOST_GROUPS = 8
#: The name of what is left.
OTHER = "(other)"


def timeline(
    trace: Trace, *, by: Literal["device", "kind", "symbol"] = "device", bins: int = 100
) -> alt.Chart:
    """VMM time over the time of the recording, by group: when which device was busy. HLT is left out: it is idleness."""
    groups = pl.coalesce(pl.col(by).cast(pl.String), pl.col("kind").cast(pl.String)).alias(by)
    costs = trace.scan().filter(pl.col("kind").cast(pl.String) != "halt", pl.col("start_ns").is_not_null())
    exits = costs.select(groups, "start_ns", "vmm_ns").collect()
    largest = exits.group_by(by).agg(pl.col("vmm_ns").sum()).sort(["vmm_ns", by], descending=[True, False])
    named = largest.head(MOST_GROUPS)[by]
    last: int = exits.select(pl.max("start_ns")).item() or 0
    width = last // bins + 1
    rows = (
        exits.with_columns(
            pl.when(pl.col(by).is_in(named.implode())).then(by).otherwise(pl.lit(OTHER)).alias(by),
            (pl.col("start_ns") // width * (width / 1e6)).alias("ms"),
        )
        .group_by("ms", by)
        .agg((pl.col("vmm_ns").sum() / 1e6).alias("vmm_ms"), pl.len().alias("exits"))
        .with_columns((pl.col("ms") + width / 1e6).alias("to_ms"))
        .sort("ms", by)
    )
    chart: alt.Chart = (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            x=alt.X("ms:Q", title="time, ms", bin="binned", axis=alt.Axis(tickCount=10)),
            x2="to_ms:Q",
            y=alt.Y("vmm_ms:Q", title="VMM time, ms"),
            color=alt.Color(f"{by}:N", sort=[*named, OTHER]),
            tooltip=["ms:Q", f"{by}:N", "exits:Q", "vmm_ms:Q"],
        )
        .properties(title=f"VMM time of {trace.path.name} by {by}", width="container", height=220)
    )
    return chart


def top(report: Report, *, rows: int = 10) -> alt.Chart:
    """The dearest groups of a report: VMM time, measured, and exit path, estimated."""
    costs = report.frame.filter(~pl.col("idle"), pl.col("cost_ns").is_not_null()).head(rows)
    parts = costs.select(
        pl.Series("what", report.labels(costs), dtype=pl.String),
        "count",
        (pl.col("vmm_ns") / 1e6).alias("VMM (measured)"),
        (pl.col("path_ns") / 1e6).alias("exit path (estimated)"),
    ).unpivot(index=["what", "count"], variable_name="part", value_name="ms")
    chart: alt.Chart = (
        alt.Chart(parts)
        .mark_bar()
        .encode(
            y=alt.Y("what:N", sort=None, title=None, axis=alt.Axis(labelLimit=320)),
            x=alt.X("ms:Q", title="cost, ms"),
            color=alt.Color("part:N", title=None),
            tooltip=["what:N", "part:N", "ms:Q", "count:Q"],
        )
        .properties(title=f"The dearest by {report.by}", width="container")
    )
    return chart


def histogram(
    trace: Trace, *, column: Literal["vmm_ns", "guest_ns"] = "vmm_ns", site: int | None = None, bins: int = 60
) -> alt.Chart:
    """How long exits took, on a logarithmic scale: of all, or of one site. HLT is left out."""
    is_cost = pl.col("kind").cast(pl.String) != "halt"
    wanted = is_cost if site is None else pl.col("site") == site
    times = trace.scan().filter(wanted, pl.col(column) > 0).select(pl.col(column).log10().alias("log")).collect()
    lowest: float = times.select(pl.min("log")).item() or 0.0
    highest: float = times.select(pl.max("log")).item() or 0.0
    step = max((highest - lowest) / bins, 1e-3)
    rows = (
        times.group_by(((pl.col("log") - lowest) // step).alias("bin"))
        .agg(pl.len().alias("exits"))
        .sort("bin")
        .select(
            (10 ** (lowest + pl.col("bin") * step)).alias("ns"),
            (10 ** (lowest + (pl.col("bin") + 1) * step)).alias("to_ns"),
            "exits",
        )
    )
    title = {"vmm_ns": "VMM time", "guest_ns": "guest interval"}[column]
    what = "all exits" if site is None else f"site {site}"
    chart: alt.Chart = (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            x=alt.X("ns:Q", title=f"{title}, ns", bin="binned", scale=alt.Scale(type="log")),
            x2="to_ns:Q",
            y=alt.Y("exits:Q"),
            tooltip=["ns:Q", "to_ns:Q", "exits:Q"],
        )
        .properties(title=f"{title} of {what}", width="container", height=200)
    )
    return chart


def comparison(compared: Comparison, *, rows: int = 10) -> alt.Chart:
    """Exits before and now of the sites that changed most."""
    changed = compared.changed.head(rows)
    place = pl.format("{}: {} ({})", "place", "instruction", "target").alias("site")
    parts = changed.select(
        place, pl.col("exits_before").alias("before"), pl.col("exits_now").alias("now")
    ).unpivot(index="site", variable_name="recording", value_name="exits")
    chart: alt.Chart = (
        alt.Chart(parts)
        .mark_bar()
        .encode(
            y=alt.Y("site:N", sort=None, title=None, axis=alt.Axis(labelLimit=320)),
            yOffset=alt.YOffset("recording:N", sort=["before", "now"]),
            x=alt.X("exits:Q"),
            color=alt.Color("recording:N", sort=["before", "now"], title=None),
            tooltip=["site:N", "recording:N", "exits:Q"],
        )
        .properties(title="Exits of the sites that changed", width="container")
    )
    return chart
