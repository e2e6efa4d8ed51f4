"""A worker that was taken over and speaks to the broker itself, in the place of `job.tool`."""

from __future__ import annotations

import os
import signal
import struct
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from stoq_core.job import Job
from stoq_core.operations import Operation, Tool
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

SOCKET, BELL = 3, 4
TOOL, BODY = 3, 2


def say(kind: int, data: bytes) -> None:
    """One frame, and the bell."""
    os.write(SOCKET, struct.pack("<IBB", len(data), kind, 0) + data)
    os.write(BELL, b"!")


def hear() -> tuple[int, bytes]:
    """The broker's next frame."""
    size, kind, _ = struct.unpack("<IBB", os.read(SOCKET, 6))
    return kind, os.read(SOCKET, size) if size else b""


class Taken(Worker[Options]):
    """Yields what the broker answered to the TOOL frame that stands in the payload, as JSON."""

    tools = {"script": Tool(brings="dash", operations={"run": Operation(words=("{payload}",))})}

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """The payload's second line; `drip` in its first one sends a body byte by byte."""
        first, _, second = payload.content.partition(b"\n")
        say(TOOL, msgspec.msgpack.encode(msgspec.json.decode(second)))
        kind, data = hear()
        if first == b"drip":
            signal.setitimer(signal.ITIMER_REAL, 0)
            while True:
                say(BODY, b"#")
                time.sleep(0.02)
        yield {"kind": kind, "said": repr(data[:200])}
