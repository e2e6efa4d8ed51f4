"""Formats anywhere in a payload: each is a child, whole and no longer than it is."""

from __future__ import annotations

import gzip
import random
import struct
import zlib
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins._formats.carving.search import OpenSpans, seeks
from plugins._formats.filetype import identify
from plugins.workers.carve import Carve
from stoq_core.account import Account
from stoq_core.testing import Ran, make, payload, run
from tests import binaries
from tests.hide.cargo import CARGO, TEXT

NOISE = random.Random(3).randbytes(5_000)
FOUND_AS = {"text": None, "zstd": "zstd", "rar4": "rar", "rar5": "rar", "pe": None}
# the ends that only reading would tell are the readers' own to find
OPEN_ENDED = {"tar", "cpio", "ar", "arj", "lzh", "xar", "wim", "rar5"}


def carve(content: bytes, **job: Any) -> Ran:
    """Run the worker."""
    return run(make(Carve), payload(content), **job)


def cargo(name: str) -> bytes:
    """Packed; skips where the program that packs it is not there."""
    made = CARGO[name](TEXT)
    if not made:
        pytest.skip(f"nothing here writes {name}")
    return made


@pytest.mark.parametrize("name", [name for name in CARGO if FOUND_AS.get(name, name) is not None])
@pytest.mark.parametrize("at", [1, 6, 511, 512, 4096])
def test_a_format_at_any_offset_is_a_child(name: str, at: int) -> None:
    """It is known for what it is, and ends where it ends."""
    packed = cargo(name)
    ran = carve(NOISE[:at] + packed + NOISE[-300:])
    label = FOUND_AS.get(name, name)
    child = next(one for one in ran.children if one.meta.extra_data["format"] == label)
    assert child.meta.extra_data["offset"] == at
    content = child.body.content()
    assert content.startswith(packed) or packed.startswith(content.ljust(len(packed), b"\0"))
    if name not in OPEN_ENDED:
        assert len(content) <= len(packed)
    assert identify(memoryview(content)).label == label
    assert ran.result is not None
    assert ran.result["pieces"][0]["offset"] == at


@pytest.mark.parametrize("name", list(CARGO))
def test_a_payload_is_not_its_own_child(name: str) -> None:
    """What begins with the payload is its reader's work; the marks within are that reader's, too."""
    assert not [one for one in carve(cargo(name)).children if one.meta.extra_data["offset"] == 0]


def test_programs_and_movies_have_carvers_of_their_own() -> None:
    """Those are sent where they were found."""
    movie = b"CWS\x09" + struct.pack("<I", 999) + zlib.compress(bytes(991))
    ran = carve(NOISE + binaries.pe() + movie)
    assert [(one.plugin, one.meta["offsets"]) for one in ran.dispatches] == [
        ("pecarve", [len(NOISE)]),
        ("swfcarve", [len(NOISE) + len(binaries.pe())]),
    ]


def test_a_second_format_that_begins_with_the_payload_has_its_reader() -> None:
    """An ELF that is an ISO image as well, as type 1 AppImages are."""
    image = bytearray(cargo("iso"))
    image[:16] = b"\x7fELF\2\1\1" + bytes(9)
    assert ("decompress", {"filetype": "iso"}) in [
        (one.plugin, one.meta) for one in carve(bytes(image)).dispatches
    ]


def test_what_stands_within_a_piece_is_left_to_it() -> None:
    """A gzip in a tar comes out of the tar."""
    ran = carve(b"lead" + cargo("tar"))
    assert [one.meta.extra_data["format"] for one in ran.children] == ["tar"]


def test_streams_that_follow_each_other_are_one_piece() -> None:
    """As their programs read them; what they hold together is not torn apart."""
    for name in ("gzip", "bzip2", "xz", "zstd"):
        packed = cargo(name) * 3
        assert [len(one.body.content()) for one in carve(b"lead" + packed + b"tail").children] == [
            len(packed)
        ]


def test_what_openers_gave_is_not_looked_through_again() -> None:
    """Children and structure are not; what was but searched as it stands is, and media but for zlib."""
    packed, deflated = gzip.compress(TEXT), zlib.compress(TEXT)
    content = b"head" + packed + deflated
    middle, end = 4 + len(packed), len(content)
    account = Account(end)
    account.child(0, end)
    assert carve(content, accounts=[account]).children == []
    account = Account(end)
    account.media(0, end)
    assert [one.meta.extra_data["offset"] for one in carve(content, accounts=[account]).children] == [4]
    account = Account(end)
    account.structure(0, middle)
    account.searched(middle, end)
    assert [one.meta.extra_data["offset"] for one in carve(content, accounts=[account]).children] == [middle]


def test_structure_that_breaks_off_does_not_hide_what_begins_in_it() -> None:
    """A reader that took a mark for its own header, and knew nothing of what follows."""
    packed = gzip.compress(TEXT)
    account = Account(4 + len(packed))
    account.structure(0, 6)
    assert [
        one.meta.extra_data["offset"] for one in carve(b"head" + packed, accounts=[account]).children
    ] == [4]


def test_a_local_header_with_room_behind_it_is_no_other_archive() -> None:
    """Office pads its local headers: what the zip's own reader leaves behind one is a child, the rest is not."""
    account = Account(400)
    account.structure(0, 40)
    account.structure(100, 40)
    assert not OpenSpans([account], "zip")(110, "zip")
    assert OpenSpans([account], "zip")(110, "gzip")


def test_an_account_that_claims_nothing_closes_nothing() -> None:
    """An opener that found out that the payload is none of its own has no say about it."""
    assert OpenSpans([Account(100)])(50, "gzip")


@pytest.mark.parametrize(
    "key", [b"\x5a\xc3", b"abc", b"\x91\x07\xee\x3c", b"0123456\xff", bytes(range(1, 17))]
)
@pytest.mark.parametrize("lead", [0, 5, 3_000])
def test_a_program_under_a_key_of_several_bytes_is_decoded(key: bytes, lead: int) -> None:
    """By its stub's text anywhere, by the header's zeros where the payload begins with it."""
    stub = (
        b"MZ" + bytes(58) + struct.pack("<I", 192) + bytes(14)
    ) + b"This program cannot be run in DOS mode.\r\r\n$"
    program = stub.ljust(192, b"\0") + binaries.pe()[64:]
    hidden = bytes(a ^ b for a, b in zip(program, cycle(key), strict=False))
    ran = carve(NOISE[:lead] + hidden + NOISE[:100])
    assert [one.name for one in ran.findings] == ["pe_behind_xor_key"]
    assert ran.children[0].body.content().startswith(program[:700])
    assert ran.children[0].meta.extra_data["offset"] == lead


def test_a_program_without_a_stub_under_a_key_is_decoded_where_the_payload_begins() -> None:
    """The zeros of the header show the key, one of a single byte as well."""
    for key in (b"\x77", b"\x5a\xc3\x11\x98"):
        hidden = bytes(a ^ b for a, b in zip(binaries.pe(), cycle(key), strict=False))
        assert [one.name for one in carve(hidden).findings] == ["pe_behind_xor_key"], key


def test_nothing_is_found_in_plain_bytes() -> None:
    """Zeros, noise, text and a program in plain sight."""
    for content in (b"", bytes(5_000), NOISE, TEXT * 50, binaries.pe(), b"MZ" * 500):
        ran = carve(content)
        assert (ran.children, ran.findings, ran.unread, ran.result) == ([], [], [], None)


def test_every_mark_alone_leads_nowhere() -> None:
    """A mark is but a hint: programs that deal with archives are full of them."""
    marks = bytes(64).join(mark.data for seek in seeks() for mark in seek.marks)
    ran = carve(bytes(64) + marks * 3 + bytes(64))
    assert [one.meta.extra_data["format"] for one in ran.children] == []


def test_a_flood_of_marks_is_bounded_and_told() -> None:
    """More marks than are tried: the search is not called whole."""
    ran = carve(b"\x1f\x8b\x08\xff" * 300_000)
    assert (ran.children, ran.reasons) == ([], {"option_limit"})


@given(st.binary(max_size=300), st.sampled_from(sorted(CARGO)), st.integers(0, 200), st.binary(max_size=40))
def test_any_bytes_do_no_harm(lead: bytes, name: str, cut: int, tail: bytes) -> None:
    """Formats cut anywhere, behind and before anything."""
    packed = CARGO[name](TEXT) if name not in ("zstd", "squashfs", "iso", "wim", "7z") else b""
    ran = carve(lead + packed[: len(packed) - cut] + tail)
    assert ran.error is None
