"""TNEF: attachments by their long names, bodies, embedded messages; damaged and hostile files."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins._formats.mail import tnef
from plugins.workers.tnef import Tnef
from stoq_core.limits import RequestLimits
from stoq_core.testing import Ran, make, run
from tests import samples

HEAD = b"\x78\x9f\x3e\x22\x01\x00"
IMESSAGE = bytes.fromhex("0703020000000000c000000000000046")


def attribute(level: int, number: int, data: bytes) -> bytes:
    """One attribute with its checksum."""
    return struct.pack("<BII", level, number, len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF)


def prop(number: int, kind: int, data: bytes, name: str | None = None) -> bytes:
    """One sized MAPI property, named if `name` is given."""
    made = struct.pack("<HH", kind, number)
    if name is not None:
        wide = name.encode("utf-16-le") + b"\0\0"
        made += bytes(16) + struct.pack("<II", 1, len(wide)) + wide.ljust(len(wide) + 3 & ~3, b"\0")
    return made + struct.pack("<II", 1, len(data)) + data.ljust(len(data) + 3 & ~3, b"\0")


def props(*rows: bytes) -> bytes:
    """A property list."""
    return struct.pack("<I", len(rows)) + b"".join(rows)


def attachment(title: bytes, data: bytes | None, *rows: bytes) -> bytes:
    """One attachment."""
    made = attribute(2, 0x00069002, bytes(14)) + attribute(2, 0x00018010, title + b"\0")
    if data is not None:
        made += attribute(2, 0x0006800F, data)
    return made + (attribute(2, 0x00069005, props(*rows)) if rows else b"")


def scan(content: bytes, **job: Any) -> Ran:
    """Run the worker."""
    return run(make(Tnef), content, **job)


def test_attachments_by_their_long_names() -> None:
    """The long name is taken, folders and control characters are not; the short one where there is none."""
    long = prop(0x3707, 0x1F, "C:\\x\\räport\t2.docx\0".encode("utf-16-le"))
    ran = scan(
        HEAD
        + attachment(b"RPORT~1.DOC", b"one", long, prop(0x370E, 0x1E, b"text/x\0"))
        + attachment(b"B.TXT", b"two")
    )
    assert ran.contents == {"räport 2.docx": b"one", "B.TXT": b"two"}
    assert ran.children[0].meta.extra_data["type"] == "text/x"
    assert ran.result is not None
    assert [one["size"] for one in ran.result["attachments"]] == [3, 3]
    assert not ran.reasons


def test_bodies_and_properties() -> None:
    """Text, HTML and RTF bodies are children; subject, sender and named properties are in the result."""
    rtf = struct.pack("<IIII", 21, 9, 0x414C454D, 0) + b"{\\rtf1 x}"
    message = props(
        prop(0x1000, 0x1E, b"plain\0"), prop(0x1013, 0x102, b"<p>"), prop(0x1009, 0x102, rtf), prop(0x0037, 0x1F, "Hé".encode("utf-16-le")),
        prop(0x8001, 0x1F, "v".encode("utf-16-le"), name="My Name"),
    )  # fmt: skip
    ran = scan(HEAD + attribute(1, 0x00069003, message))
    assert ran.contents == {"body.txt": b"plain", "body.html": b"<p>", "body.rtf": b"{\\rtf1 x}"}
    assert ran.result is not None
    assert ran.result["properties"]["subject"] == "Hé"
    assert ran.result["named"] == {"My Name": "v"}
    assert ran.result["bodies"] == ["body.txt", "body.html", "body.rtf"]


def test_an_embedded_message() -> None:
    """A message inside is TNEF again, without the interface in front; the note for old programs is not it."""
    inner = HEAD + attachment(b"IN.TXT", b"inner")
    ran = scan(HEAD + attachment(b"msg", b"a note", prop(0x3701, 0x0D, IMESSAGE + inner)))
    assert [one.body.content() for one in ran.children] == [inner]
    assert ran.result is not None
    assert ran.result["attachments"][0]["embedded"] is True
    assert scan(inner).contents == {"IN.TXT": b"inner"}


def test_compressed_rtf() -> None:
    """The example of MS-OXRTFCP 3.1, and one that repeats over itself."""
    first = bytes.fromhex(
        "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0"
    )
    assert tnef.rtf(memoryview(first), 10**6) == (b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n", True)
    second = bytes.fromhex("1a0000001c0000004c5a4675e2d44b51410004205758595a0d6e7d010eb0")
    assert tnef.rtf(memoryview(second), 10**6) == (b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}", True)
    assert tnef.rtf(memoryview(second), 10)[1] is False


def test_findings() -> None:
    """Names that hide what they are."""
    assert {one.name for one in scan(HEAD + attachment(b"a.pdf.exe", b"x")).findings} == {
        "name_double_extension"
    }
    rtl = prop(0x3707, 0x1F, "a\u202efdp.exe".encode("utf-16-le"))
    assert "name_right_to_left" in {one.name for one in scan(HEAD + attachment(b"a", b"x", rtl)).findings}
    assert not scan(HEAD + attachment(b"setup.exe", b"x")).findings


def test_damage_is_named() -> None:
    """A bad checksum is an error, a cut file `truncated`, damaged properties `corrupt`, trailing bytes a child."""
    good = HEAD + attachment(b"A.TXT", b"x" * 50)
    bad_sum = good[:-1] + bytes([good[-1] ^ 0xFF])
    assert [one.code for one in scan(bad_sum).errors] == ["checksum"]
    assert not scan(bad_sum).reasons
    cut = scan(good[:-20])
    assert cut.reasons == {"truncated"}
    assert cut.contents["A.TXT"] == b"x" * 32
    assert "corrupt" in scan(HEAD + attribute(1, 0x00069003, struct.pack("<I", 5) + b"junk")).reasons
    assert scan(good + b"\x09 and bytes behind it").contents["tail"] == b"\x09 and bytes behind it"


def test_hostile_counts() -> None:
    """Counts and sizes that a file claims cost neither memory nor time."""
    for data in (
        struct.pack("<I", 0xFFFFFFFF), struct.pack("<IHHI", 1, 0x101E, 0x3001, 0xFFFFFFFF),
        struct.pack("<IHHII", 1, 0x1E, 0x3001, 1, 0xFFFFFFFF), struct.pack("<IHHI", 1, 0x1000, 0x3001, 0x7FFFFFFF),
        struct.pack("<IHH", 1, 0x1F, 0x8000) + bytes(16) + struct.pack("<II", 1, 0xFFFFFFFF),
    ):  # fmt: skip
        assert "corrupt" in scan(HEAD + attribute(1, 0x00069003, data)).reasons
    scan(HEAD + struct.pack("<BII", 1, 0x00069003, 0xFFFFFFFF))
    bomb = (
        struct.pack("<IIII", 0, 0xFFFFFFFF, 0x75465A4C, 0)
        + b"\xff"
        + b"\x00\x0f" * 8
        + (b"\xff" + b"\x00\x0f" * 8) * 20_000
    )
    scan(HEAD + attribute(1, 0x00069003, props(prop(0x1009, 0x102, bomb))))


def test_many_attachments() -> None:
    """Past the request's children a reason is left, and the result is there."""
    ran = scan(HEAD + attachment(b"A", b"x") * 100, limits=RequestLimits(payloads=10))
    assert len(ran.children) == 10
    assert ran.error is not None
    assert ran.result is not None


@pytest.mark.parametrize(
    ("name", "attachments", "bodies"),
    [
        ("two-files.tnef", {"AUTHORS": 244, "README": 893}, []),
        ("long-filename.tnef", {"allproductsmar2000.dat": 279}, ["body.rtf"]),
        ("unicode-mapi-attr.tnef", {"example.dat": 1024}, ["body.html"]),
        ("IPM-DistList.tnef", {"Untitled Attachment": 19965}, ["body.rtf", "body.html"]),
        ("triples.tnef", {}, ["body.txt", "body.rtf"]),
        ("rtf.tnef", {}, ["body.rtf"]),
        ("data-before-name.tnef", {"AUTOEXEC.BAT": 0, "CONFIG.SYS": 0, "boot.ini": 289}, ["body.rtf"]),
    ],
)
def test_real_files(name: str, attachments: dict[str, int], bodies: list[str]) -> None:
    """What another reader of TNEF finds in its own samples."""
    found = scan(samples.content("tnefparse", name)).result
    assert found is not None
    assert {one["filename"]: one["size"] for one in found["attachments"]} == attachments
    assert found["bodies"] == bodies


def test_every_real_file_is_read() -> None:
    """No failure on any sample, and clamav's program comes out."""
    for file in samples.files("tnefparse"):
        assert scan(file.read_bytes()).error is None, file
    assert len(scan(samples.content("clamav", "clam.tnef")).contents["clam.exe"]) == 544


WHOLE = (
    HEAD
    + attachment(b"A.TXT", b"x" * 50, prop(0x3707, 0x1F, b"a\0b\0"))
    + attribute(1, 0x00069003, props(prop(0x1000, 0x1E, b"t")))
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=6)), max_size=5),
    st.floats(0.1, 1),
    st.binary(max_size=60),
)
def test_any_bytes(damage: list[tuple[float, bytes]], keep: float, behind: bytes) -> None:
    """Damaged and arbitrary bytes end in a result, within the limits."""
    broken = bytearray(WHOLE[: int(len(WHOLE) * keep)] + behind)
    for where, what in damage:
        at = 6 + int(where * (len(broken) - 6))
        broken[at : at + len(what)] = what
    ran = scan(bytes(broken))
    assert sum(one.body.size for one in ran.children) <= 64 * len(broken)
