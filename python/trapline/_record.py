"""Recording a guest."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from typing import Literal

from trapline import _native
from trapline._trace import Trace

File = str | PathLike[str]


def record(
    *,
    output: File,
    firmware: File | None = None,
    option_roms: Sequence[File] = (),
    kernel: File | None = None,
    initrd: File | None = None,
    multiboot: File | None = None,
    modules: Sequence[str] = (),
    flat: File | None = None,
    mode: Literal[16, 32, 64] = 64,
    cmdline: str = "",
    protocol: Literal["auto", "pvh", "linux64", "linux32"] = "auto",
    memory: int = 64 << 20,
    clock: Literal["host", "virtual"] = "host",
    preempt: Literal["exits", "positions"] = "exits",
    tsc: Literal["held", "free"] = "held",
    timeout: float | None = None,
    max_exits: int | None = None,
    until_console: str | None = None,
    input: bytes | None = None,
    input_after: str | None = None,
    sites: File | None = None,
    disks: Sequence[File] = (),
    disk_in_trace: bool = False,
    virtio_console: bool = False,
    entropy: bool = False,
    net: str | None = None,
    replace: bool = False,
) -> Trace:
    """Runs a guest under KVM, writes its trace to ``output``, and opens it.

    Name one guest: ``firmware`` (with ``option_roms``, and a ``kernel`` that one of them boots), ``kernel`` (with ``initrd``,
    ``cmdline``, ``protocol``), ``multiboot`` (with ``modules``, ``cmdline``) or a ``flat`` image (entered in ``mode``).
    ``memory`` is in bytes, ``timeout`` in seconds of host time.
    Every argument is the flag of that name of ``trapline record``, whose help says more.

    Other Python threads run meanwhile. Ctrl-C ends the recording and raises :class:`KeyboardInterrupt`; its trace is whole.
    Raises :class:`FileExistsError` where ``output`` is there and ``replace`` is not set, and
    :class:`trapline.RecordError` where the guest cannot be recorded.
    """
    guest = {
        "firmware": firmware,
        "option_roms": [fspath(rom) for rom in option_roms],
        "kernel": kernel,
        "initrd": initrd,
        "multiboot": multiboot,
        "modules": list(modules),
        "flat": flat,
        "mode": mode,
        "cmdline": cmdline,
        "protocol": protocol,
        "memory": memory,
    }
    flags = {
        "output": output,
        "replace": replace,
        "clock": clock,
        "preempt": preempt,
        "tsc": tsc,
        "timeout": timeout,
        "max_exits": max_exits,
        "until_console": until_console,
        "input": input,
        "input_after": input_after,
        "sites": sites,
        "disks": [fspath(disk) for disk in disks],
        "disk_in_trace": disk_in_trace,
        "virtio_console": virtio_console,
        "entropy": entropy,
        "net": net,
    }
    try:
        _native.record(guest, flags)
    except FileExistsError as error:
        raise FileExistsError(f"{output} exists: replace=True replaces it") from error
    return Trace(output)
