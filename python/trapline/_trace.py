"""An open trace, and its tables."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator
from functools import cached_property
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal

import polars as pl
from polars.io.plugins import register_io_source

from trapline import _html, _native
from trapline._report import Report

By = Literal["instruction", "symbol", "reason", "device", "address"]

#: Rows that a scan holds at a time, unless polars asks for fewer.
ROWS = 1 << 18


class DamagedTraceWarning(UserWarning):
    """A table ends before the trace does: what comes after is damaged or missing."""


class Trace:
    """A trace: what crossed the line around one vCPU and its memory.

    Tables are read when they are asked for and kept. The columns of each are described in Trapline's ``analyzer/SCHEMA.md``.
    A trace with more exits than memory should hold is for :meth:`scan`.
    """

    def __init__(self, path: str | PathLike[str], *, symbols: Iterable[str] | None = ()) -> None:
        self.path = Path(path)
        self._native = _native.Trace(self.path, None if symbols is None else [fspath(s) for s in symbols])

    @cached_property
    def header(self) -> dict[str, Any]:
        """What the trace says about itself before its first exit: host, guest files, memory, CPUID, names."""
        header: dict[str, Any] = json.loads(self._native.header())
        return header

    @property
    def end(self) -> str | None:
        """How the recording ended, in words; None where its end is missing (the recorder was killed, the file cut)."""
        end = self._native.end
        return None if end is None else end[1]

    @property
    def damage(self) -> str | None:
        """What is wrong with the tail of the file; None where nothing is."""
        damage = self._native.damage
        return None if damage is None else _said(damage)

    @cached_property
    def exits(self) -> pl.DataFrame:
        """All exits, one a row, in memory. Numbers are not copied from where they were decoded."""
        frame, damage = self._native.exits()
        self._warn(damage)
        return pl.DataFrame(frame)

    def scan(self, *, rows: int = ROWS) -> pl.LazyFrame:
        """The exits as a lazy frame, read ``rows`` at a time: for traces larger than memory.

        A query reads the trace from its start; it stops where it has enough, and only columns it uses leave native memory.
        """
        if rows < 1:
            raise ValueError("rows: at least 1")

        def source(
            with_columns: list[str] | None,
            predicate: pl.Expr | None,
            n_rows: int | None,
            batch_size: int | None,
        ) -> Iterator[pl.DataFrame]:
            needed = with_columns
            if needed is not None and predicate is not None:
                names = dict.fromkeys(needed + predicate.meta.root_names())
                needed = list(names)
            at_once = min(filter(None, (rows, batch_size, n_rows)))
            batches = self._native.batches(needed, at_once)
            for batch in batches:
                frame = pl.DataFrame(batch)
                if n_rows is not None:
                    frame = frame.head(n_rows)
                    n_rows -= frame.height
                if predicate is not None:
                    frame = frame.filter(predicate)
                yield frame if with_columns is None else frame.select(with_columns)
                if n_rows == 0:
                    return
            self._warn(batches.damage)

        return register_io_source(source, schema=self._exits_schema, is_pure=True)

    @cached_property
    def sites(self) -> pl.DataFrame:
        """Where exits come from: one row per instruction doing one thing to one address. Exits name them by ``site``."""
        return pl.DataFrame(self._native.sites())

    @cached_property
    def events(self) -> pl.DataFrame:
        """What the host did to the guest, and after which exit: interrupts, NMIs, checkpoints and the like."""
        frame, damage = self._native.events()
        self._warn(damage)
        return pl.DataFrame(frame)

    @cached_property
    def console(self) -> pl.DataFrame:
        """What the guest printed, one line a row, and when. Control characters are visible escapes."""
        frame, damage = self._native.console()
        self._warn(damage)
        return pl.DataFrame(frame)

    def report(self, *, by: By = "instruction", histograms: bool = False) -> Report:
        """What the exits cost, by instruction, function, reason, device or address."""
        return Report(self._native.report(by, histograms), by)

    @cached_property
    def _exits_schema(self) -> pl.Schema:
        return pl.DataFrame(next(iter(self._native.batches(None, 1)))).schema

    def _warn(self, damage: tuple[int, str] | None) -> None:
        if damage is not None:
            message = f"{self.path}: the table ends early: {_said(damage)}"
            warnings.warn(message, DamagedTraceWarning, stacklevel=3)

    def __len__(self) -> int:
        """The number of exits; where the trace does not say it, its readable exits are counted."""
        end = self._native.end
        if end is not None:
            return end[2]
        counted: int = self.scan().select(pl.len()).collect().item()
        return counted

    def __repr__(self) -> str:
        return f"<trapline.Trace {self.path.name!r}: {self._count()}; {self._ended()}>"

    def _count(self) -> str:
        end = self._native.end
        return "exits not counted" if end is None else f"{end[2]:,} exits"

    def _ended(self) -> str:
        return self.end or "its end is missing"

    def _repr_html_(self) -> str:
        host, header = self.header["host"], self.header
        files = ", ".join(f"{f['name']} ({f['role']})" for f in header["files"])
        memory = sum(region["bytes"] for region in header["memory"] if not region["readonly"])
        facts = {
            "recording": f"{self._count()}; {self._ended()}",
            "guest": f"{files}, entered as {header['entry']}, {memory / 2**20:g} MiB",
            "host": ", ".join(filter(None, (host["engine"], f"Linux {host['kernel']}", host["cpu_brand"]))),
            "clock": header["clock"],
            "file": f"{self._native.bytes:,} bytes",
            "damage": self.damage,
        }
        return _html.card(self.path.name, facts)


def read(path: str | PathLike[str], *, symbols: Iterable[str] | None = ()) -> Trace:
    """Opens a trace.

    Functions are named by the kernel in the trace, if it is a Linux, and by ``symbols``: ELF files, bzImages, System.maps,
    each with ``@0xADDRESS`` behind it where it was moved. ``symbols=None`` names no functions.

    Raises :class:`FileNotFoundError` and its kin as :func:`open` does, and :class:`trapline.TraceError` where the file is no
    trace, or is damaged before its first exit; its ``offset`` says where.
    """
    return Trace(path, symbols=symbols)


def _said(damage: tuple[int, str]) -> str:
    offset, reason = damage
    return f"at byte {offset:#x}: {reason}"
