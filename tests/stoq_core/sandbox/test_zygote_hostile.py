"""Whoever gets hold of the zygote's socket gains nothing: what it says unasked is not believed."""

from __future__ import annotations

import ctypes
import os
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoq_core.sandbox import messages as wire
from tests.stoq_core.sandbox.stage import Stage, stage

ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0, reason="looks into opaque processes: run as root")
_PIDFD_OPEN, _PIDFD_GETFD = 434, 438
CONTROL = 3
"""The descriptor of the zygote's socket, in the zygote."""


@pytest.fixture
def sandbox() -> Iterator[Stage]:
    """One that is attacked once."""
    with stage(scan__only=["tooled", "later"], sandbox__tools={"script": "/bin/sh"}) as one:
        yield one


def taken(pid: int, number: int) -> int:
    """A copy of another process's descriptor (pidfd_getfd(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    process = libc.syscall(_PIDFD_OPEN, pid, 0)
    try:
        fd = int(libc.syscall(_PIDFD_GETFD, process, number, 0))
    finally:
        os.close(process)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    return fd


def framed(kind: int, message: object) -> bytes:
    """A frame as the zygote writes them."""
    data = message if isinstance(message, bytes) else wire.ENCODE(message)
    return struct.pack("<IBB", len(data), kind, 0) + data


def family(pid: int) -> list[int]:
    """A process's children."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


FORGED = {
    "the end of a process that was never there": framed(wire.EXITED, wire.Exited(999_999, 0, 1)),
    "the end of the broker": framed(wire.EXITED, wire.Exited(os.getpid(), 9, 1)),
    "a child that nobody asked for": framed(wire.FORKED, wire.Forked(999_999)),
    "no process": framed(wire.FORKED, wire.Forked(0)),
    "a message that is none": framed(wire.EXITED, b"\xc1"),
    "another message": framed(wire.FORKED, wire.ENCODE(["a", "b", "c"])),
    "facts that nobody asked for": framed(wire.DESCRIBED, wire.PluginInfo("worker", "hash")),
    "a second start": framed(wire.READY, [wire.PluginInfo("worker", "hash", essential=False)]),
    "an unknown kind": framed(99, b""),
    "a frame without end": struct.pack("<IBB", 1 << 31, wire.EXITED, 0),
    "descriptors": struct.pack("<IBB", 0, wire.EXITED, 3),
}


@ROOT_ONLY
@pytest.mark.parametrize("said", FORGED)
def test_a_zygote_that_says_what_nobody_asked_for_is_ended(sandbox: Stage, said: str) -> None:
    """Its children end with it, what they examined is named, a new one starts, and the request goes on."""
    before = sandbox.sandbox._zygote.pid
    socket = taken(before, CONTROL)
    slow = b"#!script\nwhile :; do :; done\n"
    done = []
    scan = threading.Thread(
        target=lambda: done.append(sandbox.scan(slow, b"#!script\nexit 0\n", b"\nexit 0\n"))
    )
    scan.start()
    time.sleep(0.3)
    os.write(socket, FORGED[said])
    os.close(socket)
    scan.join()
    reports = done[0].reports
    assert sandbox.sandbox._zygote.pid != before
    assert not Path(f"/proc/{before}").exists()
    roots = [one for one in reports if one.extracted_from is None]
    assert [one.result_of("later") for one in roots] == [{"size": one.size} for one in roots]
    assert {one.code for one in done[0].errors} <= {"crashed", "timeout"}
    assert done[0].errors
    assert not sandbox.scan(b"#!script\nexit 0\n").errors


@ROOT_ONLY
def test_a_tool_has_its_own_descriptors_and_no_others(sandbox: Stage) -> None:
    """/proc/PID/fd of a running tool: standard output and error, the bodies, /dev/null; no socket at all."""
    zygote = sandbox.sandbox._zygote.pid
    before = set(family(zygote))
    scan = threading.Thread(target=lambda: sandbox.scan(b"#!script\nwhile :; do :; done\n"))
    scan.start()
    held: dict[str, str] = {}
    while scan.is_alive() and not held:
        for pid in set(family(zygote)) - before:
            if Path(f"/proc/{pid}/comm").read_text().strip() in ("sh", "dash"):
                folder = Path(f"/proc/{pid}/fd")
                held = {one.name: os.readlink(one) for one in folder.iterdir()}
        time.sleep(0.01)
    scan.join()
    assert {"0", "1", "2"} <= set(held)
    assert held["0"] == "/dev/null"
    for number, target in held.items():
        assert not target.startswith(("socket", "anon_inode")), (number, target)
    # dash keeps the script's own descriptor at 10
    assert {int(one) for one in held} <= {0, 1, 2, 10, 20, 21}
