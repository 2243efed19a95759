"""Profiles, read by their formats' own schemas."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from google.protobuf import unknown_fields
from perfetto.protos.perfetto.trace import perfetto_trace_pb2

import trapline

BEGIN, END = 1, 2


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
