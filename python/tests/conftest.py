import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import guests
import trapline

Recorder = Callable[..., trapline.Trace]

TEXT = b"hello\r\nfrom a guest\r\n" + b"." * 5000 + b"\r\n"


@pytest.fixture(scope="session")
def command() -> Callable[..., str]:
    """The command line, which says the same as the package."""
    program = os.environ["TRAPLINE"]

    def run(*arguments: object) -> str:
        done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def record(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    """Records machine code."""

    def of(code: bytes, name: str = "run.trap", **flags: Any) -> trapline.Trace:
        folder = tmp_path_factory.mktemp("recording")
        image = folder / "image"
        image.write_bytes(code)
        return trapline.record(output=folder / name, flat=image, mode=16, timeout=60, **flags)

    return of


@pytest.fixture(scope="session")
def printed(record: Recorder) -> trapline.Trace:
    """5,000 exits and more, with console text."""
    return record(guests.prints(TEXT), clock="virtual")


@pytest.fixture(scope="session")
def ticked(record: Recorder) -> trapline.Trace:
    """Interrupts and halts."""
    return record(guests.ticks(7))


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[trapline.Trace, Callable[[bytearray], None]], Path]:
    """A trace with its bytes changed."""

    def of(trace: trapline.Trace, damage: Callable[[bytearray], None]) -> Path:
        content = bytearray(trace.path.read_bytes())
        damage(content)
        path = tmp_path / "damaged.trap"
        path.write_bytes(content)
        return path

    return of
