"""Fuzz any worker or dispatcher with mutations of real samples: flip, cut, splice, and see it survive.

    survive(make(Pecarve), [one.read_bytes() for one in …], examples=100)   # in `make test`
    survive(make(Pecarve), seeds, seconds=60)                               # under the mark `soak`

It runs in a process of its own, so that a library that crashes ends that process and not the tests;
the input that did it is kept under `build/fuzz`.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from stoq_core.limits import Limits, MiB, RequestLimits
from stoq_core.plugin import Plugin
from stoq_core.testing import payload, run

_KEPT = Path(__file__).resolve().parent.parent / "build" / "fuzz"
_MOST_BYTES = 8 << 20
_BATCH = 200
_ODD = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF)


def _flip(draw: Any, data: bytearray) -> None:
    data[_place(draw, data)] ^= 1 << draw(st.integers(0, 7))


def _number(draw: Any, data: bytearray) -> None:
    """A number that lengths and offsets are often wrong about, in either byte order."""
    at, size = _place(draw, data), draw(st.sampled_from((1, 2, 4, 8)))
    value = draw(st.sampled_from((*_ODD, len(data), at)))
    order: Any = draw(st.sampled_from(("little", "big")))
    data[at : at + size] = (value & ((1 << (8 * size)) - 1)).to_bytes(size, order)


def _cut(draw: Any, data: bytearray) -> None:
    del data[_place(draw, data) :]


def _remove(draw: Any, data: bytearray) -> None:
    at = _place(draw, data)
    del data[at : at + draw(st.integers(1, 64))]


def _insert(draw: Any, data: bytearray) -> None:
    at = _place(draw, data)
    data[at:at] = draw(st.binary(min_size=1, max_size=32))


def _repeat(draw: Any, data: bytearray) -> None:
    """A block once more, elsewhere: tables that overlap or point at themselves."""
    start, at = _place(draw, data), _place(draw, data)
    block = data[start : start + draw(st.integers(1, 512))]
    data[at : at + len(block)] = block


_CHANGES: tuple[Callable[[Any, bytearray], None], ...] = (_flip, _number, _cut, _remove, _insert, _repeat)


def _place(draw: Any, data: bytearray) -> int:
    """An offset, mostly within the headers."""
    last = max(0, len(data) - 1)
    return int(draw(st.one_of(st.integers(0, min(last, 1023)), st.integers(0, last))))


class _Input(bytes):
    """Bytes that a report can show."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} bytes, {self[:8].hex(' ')} …>"


@st.composite
def mutations(draw: Any, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds after some changes, or the head of one with the tail of another."""
    data = bytearray(draw(st.sampled_from(list(seeds))))
    if draw(st.integers(0, 9)) == 0:
        other = draw(st.sampled_from(list(seeds)))
        data[_place(draw, data) :] = other[_place(draw, bytearray(other)) :]
    for _ in range(draw(st.integers(1, 6))):
        if not data:
            break
        draw(st.sampled_from(_CHANGES))(draw, data)
    return _Input(data)


def check(plugin: Plugin[Any], content: bytes) -> None:
    """Any bytes end in emits or an error (anything but `PluginError` is raised), within the limits."""
    began = time.monotonic()
    ran = run(plugin, payload(bytes(content), "fuzzed.bin"))
    limits = RequestLimits()
    allowed_ms = (getattr(plugin, "limits", None) or Limits()).wall_ms or limits.worker_wall_ms
    assert (time.monotonic() - began) * 1000 <= allowed_ms, "longer than its time"
    made = sum(child.body.size for child in ran.children)
    most = max(limits.ratio_free_bytes, limits.ratio * len(content)) + MiB * len(ran.children)
    assert made <= most, "more than its bytes"
    assert len(ran.children) <= limits.payloads, "more than its children"


def survive(
    plugin: Plugin[Any], seeds: Sequence[bytes], *, examples: int = _BATCH, seconds: float = 0
) -> None:
    """Run `examples` mutations, or as many as fit into `seconds`; fail with the input that did not hold.

    Seeds above 8 MiB are left out. The same call makes the same mutations.
    """
    usable = [one for one in seeds if 0 < len(one) <= _MOST_BYTES]
    assert usable, "there are no seeds"
    kept = mmap.mmap(-1, 2 * _MOST_BYTES)
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # the child has this thread alone, and needs no other
        child = os.fork()
    if not child:
        os.close(reader)
        _child(plugin, usable, examples, seconds, kept, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode("utf-8", "replace")
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        how = f"killed by {signal.Signals(-status).name}" if status < 0 else said
        raise AssertionError(f"{plugin.name} did not survive {_keep(plugin, kept)}: {how}")


def _child(
    plugin: Plugin[Any], seeds: Sequence[bytes], examples: int, seconds: float, kept: mmap.mmap, writer: int
) -> None:
    """What the forked process does; it never returns."""
    code = 0
    try:
        until = time.monotonic() + seconds
        number = 0
        while not number or time.monotonic() < until:
            _batch(plugin, seeds, _BATCH if seconds else examples, number, kept)
            number += 1
    except BaseException:  # noqa: BLE001 - all of it is the parent's to tell
        code = 1
        os.write(writer, traceback.format_exc(limit=-12)[-60_000:].encode())
    finally:
        os._exit(code)


def _batch(plugin: Plugin[Any], seeds: Sequence[bytes], examples: int, number: int, kept: mmap.mmap) -> None:
    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(mutations(seeds))
    def holds(content: bytes) -> None:
        kept[: 4 + len(content)] = struct.pack("<I", len(content)) + content
        check(plugin, content)

    holds()


def _keep(plugin: Plugin[Any], kept: mmap.mmap) -> Path:
    """The input that was at work last, in a file."""
    size = struct.unpack("<I", kept[:4])[0]
    _KEPT.mkdir(parents=True, exist_ok=True)
    file = _KEPT / f"{plugin.name}-{size}.bin"
    file.write_bytes(kept[4 : 4 + size])
    return file
