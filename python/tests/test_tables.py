"""The tables say what the trace says."""

import warnings
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import guests
import trapline
from conftest import TEXT, Recorder

Copy = Callable[[trapline.Trace, Callable[[bytearray], None]], Path]


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col(pl.Categorical).cast(pl.String))


def test_exits_are_those_that_the_command_line_exports(
    printed: trapline.Trace, ticked: trapline.Trace, command: Callable[..., str], tmp_path: Path
) -> None:
    for trace in (printed, ticked):
        out = tmp_path / f"{len(trace)}.parquet"
        command("export", trace.path, "--to", "parquet", "-o", out)
        assert_frame_equal(_plain(trace.exits), _plain(pl.read_parquet(out)))


def test_sites_are_the_keys_of_exits(printed: trapline.Trace) -> None:
    sites, exits = _plain(printed.sites), _plain(printed.exits)
    shared = [name for name in sites.columns if name in exits.columns]
    joined = exits.select("site").join(sites.select(shared), on="site", how="left", maintain_order="left")
    assert_frame_equal(joined.select(shared), exits.select(shared))
    writes = sites.filter(pl.col("address") == 0x3F8)
    assert writes.select("kind", "device", "mode", "bytes", "rep").rows() == [
        ("port-write", "COM1", "real16", "ee", False)
    ]


def test_interrupts_stand_after_their_exits(ticked: trapline.Trace) -> None:
    interrupts = ticked.events.filter(pl.col("event") == "interrupt")
    assert interrupts["vector"].to_list() == [8] * 7
    exits = ticked.exits.filter(pl.col("interrupt").is_not_null())
    assert interrupts["exit"].to_list() == exits["exit"].to_list()
    assert set(exits["kind"]) == {"halt"}
    ends = exits.select(pl.col("start_ns") + pl.col("guest_ns") + pl.col("vmm_ns"))
    assert interrupts["at_ns"].to_list() == ends["start_ns"].to_list()


def test_the_console_is_told_line_by_line_with_its_time(printed: trapline.Trace) -> None:
    console = printed.console
    assert console["text"].to_list() == TEXT.decode().split()[:1] + ["from a guest", "." * 5000]
    assert set(console["channel"]) == {"COM1"}
    at = printed.exits.join(console.select("exit", pl.col("start_ns").alias("told")), on="exit")
    assert at["start_ns"].to_list() == at["told"].to_list() == console["start_ns"].to_list()


def test_header_and_end(printed: trapline.Trace) -> None:
    assert printed.header["entry"] == "flat 16-bit"
    assert printed.header["clock"] == "virtual"
    assert printed.header["memory"][0]["bytes"] == 64 << 20
    assert printed.end == "the guest wrote 0x00 to the exit device"
    assert len(printed) == printed.exits.height == len(TEXT) + 1
    assert printed.damage is None


@pytest.mark.parametrize("rows", [1, 1000, 1 << 20])
def test_a_scan_reads_the_same(printed: trapline.Trace, rows: int) -> None:
    scan, exits = printed.scan(rows=rows), printed.exits
    assert_frame_equal(scan.collect(), exits)
    dots = pl.col("value") == ord(".")
    assert_frame_equal(scan.filter(dots).select("exit").collect(), exits.filter(dots).select("exit"))
    assert_frame_equal(scan.head(7).collect(), exits.head(7))
    assert_frame_equal(scan.filter(dots).head(3).collect(), exits.filter(dots).head(3))
    counts = scan.group_by("kind").len().collect()
    assert counts.rows() == [("port-write", len(TEXT) + 1)]


def test_a_scan_stops_where_it_has_enough(record: Recorder, copy: Copy) -> None:
    trace = record(guests.WRITES, max_exits=40_000)
    whole = len(trace)
    damaged = trapline.read(copy(trace, lambda content: content.__delitem__(slice(-len(content) // 4, None))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert damaged.scan(rows=100).head(5).collect().height == 5
    with pytest.warns(trapline.DamagedTraceWarning, match="ends early: at byte 0x"):
        assert 0 < damaged.scan(rows=100).collect().height < whole


def test_frames_of_two_traces_go_below_each_other(printed: trapline.Trace, ticked: trapline.Trace) -> None:
    both = pl.concat([printed.exits, ticked.exits])
    assert set(both["kind"]) >= {"port-write", "halt"}


def test_what_cannot_be_read_is_told(printed: trapline.Trace, copy: Copy, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere.trap"):
        trapline.read(tmp_path / "nowhere.trap")
    text = tmp_path / "text"
    text.write_text("what a text has to say, which is no trace")
    with pytest.raises(trapline.TraceError, match="not a Trapline trace") as no_trace:
        trapline.read(text)
    assert no_trace.value.offset is None
    with pytest.raises(trapline.TraceError, match="damaged at byte 0x") as damaged:
        trapline.read(copy(printed, lambda content: content.__setitem__(60, content[60] ^ 1)))
    assert damaged.value.offset == 16


def test_a_cut_trace_is_read_up_to_the_cut(printed: trapline.Trace, copy: Copy) -> None:
    # Into the last chunk of exits: the index and the end are behind it.
    def halve(content: bytearray) -> None:
        del content[content.rindex(b"TRPB\x05\x00") + 40 :]

    cut = trapline.read(copy(printed, halve))
    assert cut.end is None and cut.damage is not None
    with pytest.warns(trapline.DamagedTraceWarning):
        exits = cut.exits
    assert_frame_equal(exits, printed.exits.head(exits.height))
    assert "its end is missing" in cut._repr_html_() and "its end is missing" in repr(cut)
    with pytest.warns(trapline.DamagedTraceWarning):
        assert len(cut) == exits.height < len(printed)
