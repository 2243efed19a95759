"""Histograms, read by another implementation of HdrHistogram: table, log and distribution hold the same times."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]
from hdrh.log import HistogramLogReader  # type: ignore[import-untyped]

import trapline
from trapline import Report

#: No time in a trace is longer, in nanoseconds of a clock of a GHz.
LONGEST = 2**42


@pytest.fixture(scope="module")
def report(printed: trapline.Trace) -> Report:
    return printed.report(histograms=True)


def read(log: Path) -> dict[str, Any]:
    """The histograms of a log by their tags."""
    reader = HistogramLogReader(str(log), HdrHistogram(1, LONGEST, 3))
    found = {}
    while (histogram := reader.get_next_interval_histogram()) is not None:
        found[histogram.get_tag()] = histogram
    reader.close()
    return found


def test_the_table_counts_every_timed_exit(report: Report) -> None:
    counts = report.histograms.group_by("row", "time").agg(pl.col("count").sum())
    rows = report.frame.with_row_index("row").select("row", "timed")
    for time in ("vmm", "guest"):
        told = rows.join(counts.filter(time=time), on="row", how="left").fill_null(0)
        assert told["timed"].to_list() == told["count"].to_list()
    assert (report.histograms["from_ns"] < report.histograms["to_ns"]).all()


def test_a_report_made_without_has_none(printed: trapline.Trace) -> None:
    assert printed.report().histograms.is_empty()


def test_another_implementation_reads_the_log(
    report: Report, printed: trapline.Trace, command: Callable[..., str], tmp_path: Path
) -> None:
    log = tmp_path / "run.hlog"
    command("report", printed.path, "--format", "hdr", "-o", log, "--quiet", "--prices", "none")
    assert log.read_text() == report.hdr_log()
    histograms = read(log)
    tags = {f"site-{site}-{time}" for site in report.frame["site"] for time in ("vmm", "guest")}
    assert set(histograms) <= tags
    for row in report.frame.iter_rows(named=True):
        for time in ("vmm", "guest"):
            histogram = histograms.get(f"site-{row['site']}-{time}")
            assert (0 if histogram is None else histogram.get_total_count()) == row["timed"]
            for percent in (50, 90, 99):
                quantile = row[f"{time}_p{percent}_ns"]
                if quantile is not None:
                    assert histogram is not None
                    # Steps of a thousandth, and whole nanoseconds.
                    read_back = histogram.get_value_at_percentile(percent)
                    assert read_back == pytest.approx(quantile, rel=0.002, abs=1)
    busiest = report.frame.row(0, named=True)
    steps = report.histograms.filter(site=busiest["site"], time="vmm")
    recorded = [
        item.count_at_value_iterated_to for item in histograms[f"site-{busiest['site']}-vmm"].get_recorded_iterator()
    ]
    assert sum(recorded) == steps["count"].sum()
    assert len(recorded) <= len(steps)


def test_the_distribution_is_that_of_the_log(
    report: Report, printed: trapline.Trace, command: Callable[..., str], tmp_path: Path
) -> None:
    log = tmp_path / "run.hlog"
    log.write_text(report.hdr_log())
    costs = report.frame.filter(~pl.col("idle"))["site"]
    together = HdrHistogram(1, LONGEST, 3)
    for site in costs:
        together.add(read(log)[f"site-{site}-vmm"])
    expected = io.BytesIO()
    together.output_percentile_distribution(expected, 1000.0)
    told = command("report", printed.path, "--format", "hgrm", "--quiet", "--prices", "none")
    numbers = re.compile(r"^ *([\d.]+) +([\d.]+) +(\d+)", re.MULTILINE)
    ours = [(float(value), int(count)) for value, _, count in numbers.findall(told)]
    theirs = [(float(value), int(count)) for value, _, count in numbers.findall(expected.getvalue().decode())]
    assert ours[-1][1] == theirs[-1][1] == report.totals["exits"] - report.totals["idle_exits"]
    # As many exits are at or below the value of each line.
    items = [(item.value_iterated_to, item.count_at_value_iterated_to) for item in together.get_recorded_iterator()]
    for value, count in ours:
        assert count == sum(times for step, times in items if step <= value * 1000 + 0.5), value
    assert "#[Max" in told and "Total count" in told
