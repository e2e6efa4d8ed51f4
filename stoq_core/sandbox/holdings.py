"""What the broker holds for each request that children have said: counted as it comes, and bounded."""

from __future__ import annotations

import time
from typing import Any

from stoq_core.limits import MiB

_EARLY_BYTES = 8 * MiB  # as they were sent
_HEAR_S = 0.0004  # a child has work for a millisecond in its queue
_NODE_BYTES = 80  # of a text, number, list or mapping beside its characters: 56 to 88 in CPython 3.11
VALUE_BYTES = 90
"""The same for a value with the key that may stand before it."""


class EarlyBytes:
    """What is held of examinations whose turn has not come, by request: a thread of its own has each."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._held: dict[str, int] = {}
        self._heard_at: dict[str, float] = {}

    def due(self, request: str) -> bool:
        """True if it is time to hear a request's children again: to ask costs more than they say at once."""
        now = time.monotonic()
        if now - self._heard_at.get(request, 0.0) < _HEAR_S:
            return False
        self._heard_at[request] = now
        return True

    def left(self, request: str) -> int:
        """How much more may be held."""
        return max(0, _EARLY_BYTES - self._held.get(request, 0))

    def spend(self, request: str, size: int) -> None:
        """So much is held."""
        self._held[request] = self._held.get(request, 0) + size

    def give_back(self, request: str, size: int) -> None:
        """The engine has it now, or nobody wants it."""
        if request in self._held:
            self._held[request] -= size

    def forget(self, request: str) -> None:
        """The request is over."""
        self._held.pop(request, None)
        self._heard_at.pop(request, None)


class Holdings:
    """Bytes of memory that results, findings, errors and names of a request's payloads take.

    Past `results_bytes` no further results are kept, so that what is found later still counts; past
    `most_bytes` nothing is.
    """

    def __init__(self, most_bytes: int) -> None:
        """So many in all; an eighth is left for what is said when no results are kept any more."""
        self.most_bytes = most_bytes
        self.results_bytes = most_bytes - most_bytes // 8
        self._held: dict[str, int] = {}

    def take(self, request: str, size: int) -> int:
        """Count so much more; what is held now."""
        held = self._held.get(request, 0) + size
        self._held[request] = held
        return held

    def full(self, request: str) -> bool:
        """True once nothing more is kept."""
        return self._held.get(request, 0) > self.most_bytes

    def forget(self, request: str) -> None:
        """The request is over."""
        self._held.pop(request, None)


def weight_of(value: Any) -> int:
    """About how many bytes of memory a JSON-like value takes."""
    total, rest = 0, [value]
    while rest:
        each = rest.pop()
        total += _NODE_BYTES
        if isinstance(each, str):
            total += len(each)
        elif isinstance(each, dict):
            rest += each.keys()
            rest += each.values()
        elif isinstance(each, list):
            rest += each
    return total


_SKIPPED = {
    0xC4: -1, 0xC5: -2, 0xC6: -4, 0xC7: -1, 0xC8: -2, 0xC9: -4, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4,
    0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17, 0xD9: -1,
    0xDA: -2, 0xDB: -4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4,
}  # fmt: skip
"""Bytes behind a msgpack type byte; below zero: so many bytes of length, then that many more."""
_EXTENSIONS = (0xC7, 0xC8, 0xC9)


def nodes_of(data: bytes | bytearray, most: int) -> int:
    """How many values a msgpack text would make, counted no further than past `most`; makes none."""
    at = count = 0
    size = len(data)
    while at < size and count <= most:
        byte = data[at]
        at += 1
        count += 1
        if 0xA0 <= byte <= 0xBF:  # a short text; other small types are one byte
            at += byte & 0x1F
            continue
        skipped = _SKIPPED.get(byte, 0)
        if skipped < 0:
            length = int.from_bytes(data[at : at - skipped], "big")
            at += length - skipped + (byte in _EXTENSIONS)
        else:
            at += skipped
    return count
