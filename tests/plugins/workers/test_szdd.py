"""SZDD, as Microsoft's compress.exe wrote it: the one file, whole, with its name."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.workers.decompress import Decompress
from stoq_core.limits import MiB, RequestLimits
from stoq_core.testing import Ran, make, payload, run

MARK = b"SZDD\x88\xf0\x27\x33"
SAMPLES = Path("/usr/share/clamav-testfiles")


def unpack(content: bytes, name: str = "setup.dl_", **job_arguments: Any) -> Ran:
    """Run the worker."""
    return run(make(Decompress), payload(content, name), **job_arguments)


def packed(content: bytes, matches: bool = True) -> bytes:
    """Runs of one letter as matches that reach into themselves, all else as letters."""
    items: list[tuple[bool, bytes]] = []
    at = 0
    while at < len(content):
        run_of = 0
        while at and run_of < 18 and content[at + run_of : at + run_of + 1] == content[at - 1 : at]:
            run_of += 1
        if matches and run_of >= 3:
            place = 4_080 + at - 1 & 4_095
            items.append((False, bytes((place & 255, place >> 4 & 0xF0 | run_of - 3))))
            at += run_of
        else:
            items.append((True, content[at : at + 1]))
            at += 1
    made = MARK + b"Al" + struct.pack("<I", len(content))
    for first in range(0, len(items), 8):
        group = items[first : first + 8]
        made += bytes((sum(literal << n for n, (literal, _) in enumerate(group)),))
        made += b"".join(data for _, data in group)
    return made


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(1, 40)), max_size=60), st.booleans())
def test_comes_out_as_it_went_in(runs: list[tuple[int, int]], matches: bool) -> None:
    """Letters and matches, those that write what they read included."""
    content = b"".join(bytes((letter,)) * count for letter, count in runs)
    ran = unpack(packed(content, matches))
    assert not ran.reasons
    assert ran.contents == {"setup.dll": content}


def test_a_match_before_the_beginning_is_spaces() -> None:
    """The window is full of them at first."""
    made = MARK + b"A\0" + struct.pack("<I", 5) + b"\x00\x00\x02"
    assert unpack(made, "a.szdd").contents == {"a": b" " * 5}


def test_cut_short() -> None:
    """What there is, and that it is not all."""
    whole = packed(bytes(range(256)) * 8, matches=False)
    ran = unpack(whole[:700])
    assert "truncated" in ran.reasons
    [child] = ran.children
    assert (bytes(range(256)) * 8).startswith(child.body.content())
    assert unpack(MARK + b"A").reasons == {"truncated"}
    assert unpack(MARK + b"Bl" + bytes(20)).reasons == {"unsupported_method"}


def test_a_bomb() -> None:
    """A size of 4 GiB is a claim: it ends with its bytes, or at the limit."""
    made = MARK + b"Al" + struct.pack("<I", 2**32 - 1) + b"\x00" + b"\xf0\xff" * 8 * 10_000
    began = time.monotonic()
    ran = unpack(made, limits=RequestLimits(payload_bytes=MiB))
    assert ran.reasons & {"too_large", "truncated"}
    assert time.monotonic() - began < 20


@given(st.binary(max_size=300), st.integers(0, 2**32 - 1))
def test_any_bytes(data: bytes, size: int) -> None:
    """A child, or a reason."""
    ran = unpack(MARK + b"A\0" + struct.pack("<I", size) + data)
    assert ran.children or ran.reasons or not size


def test_a_real_one() -> None:
    """ClamAV's sample is its test program."""
    if not SAMPLES.is_dir():
        pytest.skip("apt-get install clamav-testfiles")
    content = (SAMPLES / "clam.exe.szdd").read_bytes()
    assert unpack(content, "clam.exe.szdd").contents == {"clam.exe": (SAMPLES / "clam.exe").read_bytes()}
