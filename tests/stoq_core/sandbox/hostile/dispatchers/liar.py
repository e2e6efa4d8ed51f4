"""Says what an exploited dispatcher would say so that a payload passes: `LIE` and then which lie."""

from __future__ import annotations

import os
import struct
from typing import Any

import msgspec

from stoq_core.job import Job
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Dispatcher

SOCKET = 3
ENTRIES, DONE = 1, 4
SELF = ["f", "dispatcher:liar#0", 0.0, False]


def frame(kind: int, message: Any) -> bytes:
    """A frame as an honest child writes it."""
    data = msgspec.msgpack.encode(message)
    return struct.pack("<IBB", len(data), kind, 0) + data


def half(ended: list[str]) -> bytes:
    """A round of all four of which these run, and then that it is done."""
    steps: list[list[Any]] = [SELF, ["b", ["hash", "identify", "later", "search"]]]
    for name in ended:
        steps += [["s", name], ["f", name, 0.1, False]]
    return frame(ENTRIES, steps) + frame(DONE, [0])


LIES = {
    "nothing": frame(ENTRIES, [SELF]) + frame(DONE, [0]),
    "open": frame(DONE, [0]),
    "half": half(["hash", "identify"]),
    "few": frame(ENTRIES, [SELF, ["b", ["hash"]], ["s", "hash"], ["f", "hash", 0.1, False]])
    + frame(DONE, [0]),
    "unstarted": frame(
        ENTRIES,
        [
            SELF,
            ["b", ["hash", "search"]],
            ["s", "hash"],
            ["f", "hash", 0.1, False],
            ["f", "search", 0.1, False],
        ],
    )
    + frame(DONE, [0]),
    "failed": frame(
        ENTRIES,
        [SELF, ["b", ["identify", "search"]], ["f", "identify", 0.1, True], ["f", "search", 0.1, True]],
    )
    + frame(DONE, [0]),
}


class Liar(Dispatcher[Options]):
    """Tells the lie and is gone."""

    def dispatch(self, payload: Payload, job: Job) -> list[Any]:
        """Nothing, for a payload without a lie."""
        word, _, lie = payload.content.decode("latin-1").partition(" ")
        if word == "LIE":
            said = LIES[lie.split()[0]]
            while said:
                said = said[os.write(SOCKET, said) :]
            os.write(SOCKET + 1, b"!")
            os._exit(0)
        return []
