"""Profiles, read by their formats' own schemas and viewers."""

import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import unknown_fields
from perfetto.protos.perfetto.trace import perfetto_trace_pb2

import trapline

BEGIN, END = 1, 2
# What python/test has installed.
VIEWERS = Path(os.environ["TRAPLINE_VIEWERS"])


def _is_known(message: Any) -> bool:
    """Whether the schema has every field of a message."""
    if len(unknown_fields.UnknownFieldSet(message)):
        return False
    parts = [(field, value) for field, value in message.ListFields() if field.message_type]
    return all(_is_known(part) for field, value in parts for part in (value if hasattr(value, "__len__") else [value]))


def test_perfettos_schema_knows_every_field_and_slices_close(
    ticked: trapline.Trace, command: Callable[..., str], tmp_path: Path
) -> None:
    out = tmp_path / "run.perfetto"
    command("export", ticked.path, "--to", "perfetto", "-o", out, "--quiet")
    trace = perfetto_trace_pb2.Trace()
    trace.ParseFromString(out.read_bytes())
    assert _is_known(trace)
    depth: dict[int, int] = {}
    last = 0
    for packet in trace.packet:
        event = packet.track_event
        if packet.HasField("track_event") and event.type in (BEGIN, END):
            depth[event.track_uuid] = depth.get(event.track_uuid, 0) + (1 if event.type == BEGIN else -1)
            assert depth[event.track_uuid] >= 0 and packet.timestamp >= last
            last = packet.timestamp
    assert depth and not any(depth.values())
    tracks = {packet.track_descriptor.name for packet in trace.packet if packet.HasField("track_descriptor")}
    assert {"vCPU 0: exits", "vCPU 0: waiting in HLT", "interrupts"} <= tracks


Export = Callable[..., Path]


@pytest.fixture
def export(printed: trapline.Trace, command: Callable[..., str], tmp_path: Path) -> Export:
    """A recording as a profile."""

    def of(form: str) -> Path:
        out = tmp_path / f"run.{form}"
        command("export", printed.path, "--to", form, "-o", out, "--quiet")
        return out

    return of


def _costs(folded: Path) -> Counter[str]:
    """Nanoseconds of each innermost frame: what an exit does."""
    costs: Counter[str] = Counter()
    for line in folded.read_text().splitlines():
        stack, cost = line.rsplit(" ", 1)
        costs[stack.split(";")[-1]] += int(cost)
    assert len(costs) > 1 and costs.total() > 0
    return costs


def test_the_library_of_firefox_profiler_finds_the_same_costs(export: Export, tmp_path: Path) -> None:
    program = [VIEWERS / "node", VIEWERS / "node_modules/@firefox-devtools/profiler-cli/dist/profiler-cli.js"]
    environment = {**os.environ, "PROFILER_CLI_SESSION_DIR": str(tmp_path)}

    def ask(*arguments: str | Path) -> str:
        done = subprocess.run([*program, *arguments], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    ask("load", export("firefox"))
    try:
        functions = json.loads(ask("thread", "functions", "--thread", "t-0", "--limit", "0", "--json"))
    finally:
        ask("stop", "--all")
    assert functions["weightType"] == "tracing-ms"
    found = {f["name"]: f["selfSamples"] * 1e6 for f in functions["functions"] if f["selfSamples"]}
    assert found == pytest.approx(dict(_costs(export("folded"))), rel=1e-3)


def test_pprof_itself_finds_the_same_costs(export: Export) -> None:
    everything = ["-nodecount=1000000", "-nodefraction=0", "-unit=ns", "-sample_index=cost"]
    words: list[str | Path] = [VIEWERS / "pprof", "-top", *everything, export("pprof")]
    text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    lines = re.findall(r"^ *(\d+)(?:ns)? +\S+% +\S+% +\S+ +\S+% +(.*)$", text, re.MULTILINE)
    found = {name: int(cost) for cost, name in lines if int(cost)}
    assert found == dict(_costs(export("folded")))
