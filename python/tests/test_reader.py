"""The reader in examples/ was written from the specification alone, and reads what the program reads."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trapline

ROOT = Path(__file__).parents[2]
READER = ROOT / "examples" / "reader" / "trapread.py"
GOLDENS = sorted((ROOT / "formats" / "testdata" / "v1").glob("*.trap"))
# Where the end-to-end tests left what they recorded; large ones are read in the full run.
RECORDED = sorted(Path(os.environ.get("TRAPLINE_TRACES", "/nonexistent")).glob("*.trap"))
LARGE = 1 << 62 if os.environ.get("TRAPLINE_MATRIX") == "full" else 48 << 10


def _read(*arguments: object) -> list[Any]:
    done = subprocess.run([sys.executable, READER, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def _agrees(path: Path, command: Callable[..., str]) -> int:
    lines = [json.loads(line) for line in command("inspect", path, "--exits", "0..", "--json").splitlines()]
    assert _read(path, "--exits") == lines, path
    return len(lines)


def test_it_is_short() -> None:
    assert len(READER.read_text().splitlines()) <= 200


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.stem)
def test_it_reads_a_golden_trace(path: Path) -> None:
    assert _read(path) == [json.loads(path.with_suffix(".json").read_text())]


def test_it_agrees_with_the_program_on_every_exit_and_event(
    printed: trapline.Trace, ticked: trapline.Trace, command: Callable[..., str]
) -> None:
    assert _agrees(printed.path, command) > 5000
    assert _agrees(ticked.path, command) > 7


@pytest.mark.skipif("TRAPLINE_TRACES" not in os.environ, reason="the end-to-end tests did not leave their traces")
def test_it_agrees_with_the_program_on_what_the_end_to_end_tests_recorded(command: Callable[..., str]) -> None:
    small = [path for path in RECORDED if path.stat().st_size < LARGE]
    assert len(small) > 100
    assert all(_agrees(path, command) >= 0 for path in small)


def test_it_notices_a_flipped_bit(printed: trapline.Trace, copy: Callable[..., Path]) -> None:
    def flip(content: bytearray) -> None:
        content[len(content) // 2] ^= 0x10

    done = subprocess.run([sys.executable, READER, copy(printed, flip)], capture_output=True, text=True)
    assert done.returncode != 0 and "byte 0x" in done.stderr, done.stderr
