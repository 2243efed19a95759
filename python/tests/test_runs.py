"""Recording and replaying."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import guests
import trapline
from conftest import Recorder


def _interrupted(work: Callable[[], object], after: float) -> float:
    """Sends Ctrl-C while the work goes on; how long it went on then."""
    timer = threading.Timer(after, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        work()
    timer.join()
    return time.monotonic() - started - after


def test_a_replay_is_faithful(printed: trapline.Trace) -> None:
    replay = trapline.replay(printed)
    assert replay and replay.faithful and replay.exits == len(printed)
    assert "all identical" in str(replay) and "all identical" in replay._repr_html_()
    assert trapline.replay(printed.path, until=99).exits == 100


def test_a_divergence_is_an_outcome(record: Recorder) -> None:
    replay = trapline.replay(record(guests.READS_HIDDEN_CLOCK))
    assert not replay and replay.divergence is not None
    assert replay.divergence.exit == 0
    assert replay.divergence.what == "the guest wrote other data"
    assert "out dx, eax" in replay.divergence.details and replay.divergence.details == str(replay)
    recorded, replayed = replay.divergence.differences["RAX"]
    assert recorded != replayed and recorded in replay._repr_html_()


def test_what_cannot_be_replayed_is_an_error(printed: trapline.Trace) -> None:
    with pytest.raises(trapline.ReplayError, match=f"the trace has {len(printed)} exits"):
        trapline.replay(printed, until=10**9)


def test_devices_are_those_of_the_command_line(tmp_path: Path) -> None:
    image, disk = tmp_path / "image", tmp_path / "disk"
    image.write_bytes(guests.prints(b"hi"))
    disk.write_bytes(bytes(4096))
    trace = trapline.record(output=tmp_path / "run.trap", flat=image, mode=16, disks=[disk], entropy=True, net="user")
    assert [file["name"] for file in trace.header["files"] if file["role"] == "disk"] == ["disk"]
    assert trapline.replay(trace, disks=[disk])
    disk.write_bytes(bytes(512))
    with pytest.raises(trapline.ReplayError, match="it has 512 bytes"):
        trapline.replay(trace, disks=[disk])
    with pytest.raises(trapline.RecordError, match="5 virtio devices"):
        trapline.record(output=tmp_path / "other.trap", flat=image, mode=16, disks=[disk] * 5)


def test_ctrl_c_ends_a_recording_and_its_trace_is_whole(record: Recorder, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(guests.WRITES)
    output = tmp_path / "run.trap"
    late = _interrupted(lambda: trapline.record(output=output, flat=image, mode=16, timeout=60), 1.5)
    assert late < 5
    trace = trapline.read(output)
    assert trace.end == "interrupted by the user" and trace.damage is None
    assert trace.exits.height > 0


def test_ctrl_c_ends_a_replay(record: Recorder) -> None:
    trace = record(guests.WRITES, max_exits=400_000)
    whole = time.monotonic()
    assert trapline.replay(trace).faithful
    whole = time.monotonic() - whole
    assert whole > 0.5, "too short a replay to be interrupted"
    assert _interrupted(lambda: trapline.replay(trace), 0.1) < max(whole - 0.1, 5)


def test_other_threads_run_meanwhile(record: Recorder) -> None:
    seen: list[float] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.01):
            seen.append(time.monotonic())

    watcher = threading.Thread(target=look)
    watcher.start()
    started = time.monotonic()
    record(guests.WRITES, max_exits=100_000)
    ended = time.monotonic()
    done.set()
    watcher.join()
    assert sum(started < moment < ended for moment in seen) > 5


def test_an_existing_trace_is_replaced_only_when_asked(tmp_path: Path) -> None:
    image, output = tmp_path / "image", tmp_path / "run.trap"
    image.write_bytes(guests.prints(b"x"))
    flags: dict[str, Any] = {"output": output, "flat": image, "mode": 16}
    assert len(trapline.record(**flags)) == 2
    with pytest.raises(FileExistsError, match="replace=True"):
        trapline.record(**flags)
    image.write_bytes(guests.prints(b"xy"))
    assert len(trapline.record(**flags, replace=True)) == 3


def test_the_console_is_typed_and_ends_a_recording(record: Recorder) -> None:
    trace = record(guests.prints(b"one\ntwo\nthree\n"), until_console="two")
    assert trace.end == "the console matched `two`"
    assert "three" not in trace.console["text"]


@pytest.mark.parametrize(
    ("flags", "error", "words"),
    [
        ({}, TypeError, "name one guest"),
        ({"flat": "a", "kernel": "b"}, TypeError, "name one guest"),
        ({"flat": "a", "initrd": "b"}, TypeError, "initrd goes with kernel"),
        ({"flat": "a", "cmdline": "b"}, TypeError, "cmdline goes with kernel or multiboot"),
        ({"kernel": "a", "modules": ["b"]}, TypeError, "modules goes with multiboot"),
        ({"kernel": "a", "option_roms": ["b"]}, TypeError, "option_roms goes with firmware"),
        ({"firmware": "/nowhere", "kernel": "a", "option_roms": ["b"]}, FileNotFoundError, "/nowhere"),
        ({"kernel": "a", "protocol": "b"}, ValueError, "choose one of auto, pvh"),
        ({"flat": "a", "mode": 8}, ValueError, "choose one of 16, 32, 64"),
        ({"flat": "a", "clock": "b"}, ValueError, "choose host or virtual"),
        ({"flat": "a", "timeout": -1.0}, ValueError, "timeout"),
        ({"flat": "a", "until_console": "("}, ValueError, "until_console"),
        ({"flat": "a", "input": b"a", "input_after": "("}, ValueError, "input_after"),
        ({"flat": "/nowhere"}, FileNotFoundError, "/nowhere"),
        ({"flat": __file__, "memory": 5000}, trapline.RecordError, "at least 1M"),
    ],
)
def test_what_makes_no_sense_is_told(
    tmp_path: Path, flags: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        trapline.record(output=tmp_path / "run.trap", **flags)
    assert not (tmp_path / "run.trap").exists()
