"""Reports, comparisons, and what they look like."""

import json
from collections.abc import Callable

import polars as pl
import pytest

import guests
import trapline
from conftest import TEXT, Recorder
from trapline import charts


@pytest.mark.parametrize("by", ["instruction", "symbol", "reason", "device", "address"])
def test_a_report_is_that_of_the_command_line(
    ticked: trapline.Trace, command: Callable[..., str], by: str
) -> None:
    report = ticked.report(by=by)  # type: ignore[arg-type]
    expected = json.loads(command("report", ticked.path, "--by", by, "--format", "json", "--quiet"))
    assert json.loads(report.json()) == expected
    assert report.totals == expected["totals"]
    assert report.frame["count"].to_list() == [row["count"] for row in expected["rows"]]
    assert command("report", ticked.path, "--by", by, "--quiet") == report.text()


def test_no_such_grouping(ticked: trapline.Trace) -> None:
    with pytest.raises(ValueError, match="choose one of instruction"):
        ticked.report(by="weather")  # type: ignore[arg-type]


def test_a_comparison_is_that_of_the_command_line(
    printed: trapline.Trace, record: Recorder, command: Callable[..., str]
) -> None:
    now = record(guests.prints(TEXT, at_once=True), clock="virtual")
    compared = now.report().against(printed.report())
    flags = [now.path, "--against", printed.path, "--quiet"]
    assert compared.facts == json.loads(command("report", *flags, "--format", "json"))
    assert compared.text() == command("report", *flags)
    assert compared.exits == (len(printed), len(now))
    gone = compared.changed.filter(pl.col("site_now").is_null())
    assert gone["exits_before"].to_list() == [len(TEXT)]
    assert set(gone["exits"]) == {"less"}
    assert charts.comparison(compared).to_dict()["mark"]["type"] == "bar"


def test_a_recording_beside_itself_has_not_changed(printed: trapline.Trace) -> None:
    compared = printed.report().against(printed.report())
    assert compared.changed.is_empty() and set(compared.frame["exits"]) == {"same"}
    with pytest.raises(ValueError, match="by instruction"):
        printed.report(by="device").against(printed.report())


def test_charts_draw_sums_of_the_tables(ticked: trapline.Trace, printed: trapline.Trace) -> None:
    def drawn(chart: object, column: str) -> float:
        (rows,) = chart.to_dict()["datasets"].values()  # type: ignore[attr-defined]
        total: float = sum(row[column] for row in rows)
        return total

    costs = ticked.exits.filter(pl.col("kind") != "halt")
    timeline = charts.timeline(ticked, by="kind", bins=10)
    assert drawn(timeline, "exits") == costs.height
    assert drawn(timeline, "vmm_ms") == pytest.approx(sum(costs["vmm_ns"]) / 1e6)
    times = printed.exits.filter(pl.col("vmm_ns") > 0).height
    assert drawn(charts.histogram(printed), "exits") == times
    report = printed.report(by="device")
    assert drawn(charts.top(report), "ms") == pytest.approx(report.totals["cost_ns"] / 1e6, rel=1e-6)


def test_nothing_of_a_trace_is_markup(record: Recorder) -> None:
    trace = record(guests.prints(b"<b>bold</b>\n"), "<img src=x>.trap", until_console="<b>")
    shown = trace._repr_html_() + trace.report()._repr_html_() + trapline.replay(trace)._repr_html_()
    shown += trace.report().against(trace.report())._repr_html_()
    assert "&lt;img" in shown and "&lt;b&gt;" in shown
    assert "<img" not in shown and "<b>bold" not in shown and "`<b>`" not in shown


def test_a_page_is_whole(printed: trapline.Trace) -> None:
    assert printed.report().html().lower().startswith("<!doctype html>")
    with pytest.raises(ValueError, match="by instruction"):
        printed.report(by="device").html()
