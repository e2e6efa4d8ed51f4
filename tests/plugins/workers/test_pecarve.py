"""Executables inside other bytes: found by their own headers, in one pass, each byte taken out once."""

from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.workers.pecarve import Pecarve
from stoq_core.body import Body, anonymous_file, write_all
from stoq_core.limits import RequestLimits
from stoq_core.testing import Ran, make, payload, run
from tests import samples
from tests.binaries import SECTION_OFFSET, pe

PE = pe()
DOC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)


def carve(content: bytes, **options: object) -> Ran:
    """Run the worker."""
    return run(make(Pecarve, **options), content)


def offsets(ran: Ran) -> list[int]:
    """Where the children stood."""
    return [one.meta.extra_data["offset"] for one in ran.children]


def test_two_executables_out_of_a_document() -> None:
    """Each is a child with its offset and its own bytes; there is no result; a document is a finding."""
    first, second = pe(b"\x90" * 700), pe(b"\xc3" * 900, wide=False)
    content = DOC + first + b"between them " * 9 + second + b" and behind"
    ran = carve(content)
    assert offsets(ran) == [512, 512 + len(first) + 117]
    assert [one.body.content() for one in ran.children] == [first, second]
    assert ran.result is None
    assert [(one.name, one.score) for one in ran.findings] == [("pe_in_document", 200)]


def test_a_root_is_not_its_own_child() -> None:
    """An executable has no children but those that stand inside it, and those are no finding."""
    assert carve(PE).children == []
    hidden = pe(b"\x90" * 600)
    ran = carve(PE + hidden)
    assert [one.body.content() for one in ran.children] == [hidden]
    assert ran.findings == []


def test_a_second_mz_on_the_roots_own_header() -> None:
    """A mark in the DOS stub that leads to the root's own PE header makes no child."""
    again = bytearray(pe())
    again[:] = again[:64].ljust(256, b"\0") + again[64:]
    struct.pack_into("<I", again, 0x3C, 256)
    again[64:66] = b"MZ"
    struct.pack_into("<I", again, 64 + 0x3C, 256 - 64)
    assert carve(bytes(again)).children == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"MZ",
        b"xMZ" + bytes(61),
        b"xMZ" + bytes(58) + struct.pack("<I", 64),
        b"xMZ" + bytes(58) + struct.pack("<I", 0xFFFFFFFF) + b"PE\0\0" + bytes(99),
        b"xMZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\1" + bytes(99),
        b"xMZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + bytes(19),
    ],
)
def test_what_only_looks_like_one(content: bytes) -> None:
    """`MZ` alone, an offset behind the end, another signature, a header that is cut: no child, no error."""
    ran = carve(content)
    assert (ran.children, ran.error, ran.reasons) == ([], None, set())


def test_sizes_are_not_believed() -> None:
    """A section that claims 4 GiB ends with the payload; one that claims nothing leaves the headers."""
    claims = pe(raw=(SECTION_OFFSET, 0xFFFFFFFF)) + b"the rest"
    assert carve(b"x" + claims).children[0].body.size == len(claims)
    nothing = pe(raw=(0, 0))
    assert carve(b"x" + nothing).children[0].body.size == 64 + 24 + 240 + 40


def test_certificates_and_symbols_belong_to_it() -> None:
    """What the headers place behind the sections is taken out with them; what they do not is not."""
    table = struct.pack("<IHH", 24, 0x200, 2) + bytes(16)
    signed = pe(directories={4: (SECTION_OFFSET + 512, len(table))}) + table
    assert carve(b"x" + signed + b"tail" * 9).children[0].body.content() == signed
    symbols = bytearray(pe())
    struct.pack_into("<II", symbols, 64 + 12, SECTION_OFFSET + 512, 2)
    with_symbols = bytes(symbols) + bytes(36) + struct.pack("<I", 8) + b"_abc"
    assert carve(b"x" + with_symbols + b"tail" * 9).children[0].body.content() == with_symbols


def test_min_bytes() -> None:
    """Smaller ones are left."""
    assert carve(b"x" + PE, min_bytes=len(PE)).children
    assert not carve(b"x" + PE, min_bytes=len(PE) + 1).children


def test_2000_executables_are_taken_out_once_each() -> None:
    """Time and bytes grow with the payload: 2,000 in a row are 2,000 children, and no byte comes twice."""
    content = b"x" + PE * 2000
    began = time.process_time()
    ran = carve(content)
    assert len(ran.children) == 2000
    assert sum(one.body.size for one in ran.children) == len(PE) * 2000
    assert time.process_time() - began < 2


def test_2000_marks_that_each_claim_all_that_follows() -> None:
    """The first takes the rest out; the next level finds the others, so nothing is quadratic."""
    greedy = pe(raw=(SECTION_OFFSET, 0x7FFFFFFF))
    ran = carve(b"x" + greedy * 2000)
    assert [one.body.size for one in ran.children] == [len(greedy) * 2000]


@pytest.mark.parametrize("flood", [b"MZ", b"MZ\0\0", b"PE\0\0", b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0"])
def test_a_flood_of_marks_is_linear(flood: bytes) -> None:
    """100 MB of marks (10 MB here, 100 in the soak) stay within a worker's time."""
    content = flood * (10_000_000 // len(flood))
    began = time.process_time()
    ran = carve(content)
    assert time.process_time() - began < 5
    assert sum(one.body.size for one in ran.children) <= len(content)


@pytest.mark.soak
@pytest.mark.parametrize("flood", [b"MZ", b"MZ\0\0", b"PE\0\0", b"MZ" + bytes(30) + b"PE\0\0"])
def test_a_flood_of_100_mb(flood: bytes) -> None:
    """A payload of 100 MB that is all marks ends within a worker's time."""
    content = flood * (100_000_000 // len(flood)) + PE
    began = time.process_time()
    assert run(make(Pecarve), content).error is None
    assert time.process_time() - began < 25


def test_limits_end_it_with_a_reason() -> None:
    """At the number of children, those taken out stay and the reason says that there are more."""
    ran = run(make(Pecarve), b"x" + PE * 30, limits=RequestLimits(payloads=5))
    assert len(ran.children) == 5
    assert ran.reasons == {"too_many_payloads"}


def test_a_large_body_is_read_where_it_lies() -> None:
    """A payload behind a descriptor gives the same children."""
    content = b"x" * 5_000_000 + PE
    fd = anonymous_file()
    write_all(fd, content)
    assert offsets(run(make(Pecarve), payload(Body.from_fd(fd)))) == offsets(carve(content)) == [5_000_000]


def test_real_files() -> None:
    """ClamAV's test files: the same program out of a cabinet, cpio archives, a PDF and a TNEF mail."""
    folder = samples.folder("clamav")
    program = (folder / "clam.exe").read_bytes()
    for name in ("clam.cab", "clam.newc.cpio", "clam.odc.cpio", "clam.bin-le.cpio", "clam.pdf", "clam.tnef"):
        ran = carve((folder / name).read_bytes())
        assert [one.body.content() for one in ran.children] == [program], name
        assert bool(ran.findings) is (name in ("clam.pdf", "clam.tnef")), name
    assert not carve((folder / "clam.exe").read_bytes()).children


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from([b"MZ", PE, PE[:300], b"PE\0\0", bytes(7), b"\x40\0\0\0"]) | st.binary(max_size=40)
    )
)
def test_any_bytes(parts: list[bytes]) -> None:
    """Any bytes end in children that do not overlap and are what stands at their offset."""
    content = b"".join(parts)
    at = 0
    for one in carve(content).children:
        start, size = one.meta.extra_data["offset"], one.body.size
        assert start >= max(at, 1)
        assert one.body.content() == content[start : start + size]
        at = start + size
