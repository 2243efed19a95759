"""Numbers reach polars without being copied."""

import polars as pl
import pyarrow as pa
import pytest

import trapline


def _addresses(series: pl.Series) -> list[int]:
    """Where polars has the values; pyarrow tells, which shares them."""
    return [chunk.to_arrow().buffers()[1].address for chunk in series.get_chunks()]


def test_columns_of_numbers_are_shared(printed: trapline.Trace) -> None:
    native, _ = printed._native.exits()
    frame = pl.DataFrame(native)
    numbers = [name for name, kind in frame.schema.items() if kind.is_numeric()]
    assert {"exit", "site", "address", "value", "start_ns", "guest_ns", "vmm_ns", "interrupt"} <= {*numbers}
    for name in numbers:
        assert _addresses(frame[name]) == native.addresses(name), name


def test_a_copy_would_be_seen(printed: trapline.Trace) -> None:
    native, _ = printed._native.exits()
    copied = pl.DataFrame(native).select(pl.col("vmm_ns") + 1)["vmm_ns"]
    assert _addresses(copied) != native.addresses("vmm_ns")


def test_batches_of_a_scan_are_shared_too(printed: trapline.Trace) -> None:
    for native in printed._native.batches(["exit", "vmm_ns"], 1):
        frame = pl.DataFrame(native)
        assert _addresses(frame["vmm_ns"]) == native.addresses("vmm_ns")


def test_others_take_the_same_memory(printed: trapline.Trace) -> None:
    native, _ = printed._native.exits()
    table = pa.table(native)
    assert [c.buffers()[1].address for c in table["vmm_ns"].chunks] == native.addresses("vmm_ns")


def test_only_numbers_have_an_address(printed: trapline.Trace) -> None:
    native, _ = printed._native.exits()
    for name in ["disassembly", "nothing"]:
        with pytest.raises(KeyError if name == "nothing" else TypeError):
            native.addresses(name)
