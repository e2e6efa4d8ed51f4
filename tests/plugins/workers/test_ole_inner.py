"""Compound files: the account of their sectors, and the encodings that their streams bring."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins._formats.office import visio
from plugins._formats.office.inner import Inflated, Stream, zips
from plugins._formats.office.workbook import joined_records
from plugins.workers.ole import Ole
from stoq_core.testing import Ran, make, payload, run
from tests import samples
from tests.office_files import compound, ole10_native

MARK = b"a text that nobody may pass over "
LONG = bytes(range(256)) * 20


def scan(content: bytes, **job: Any) -> Ran:
    """Run the worker."""
    return run(make(Ole), payload(content, "d.doc"), **job)


def holds(ran: Ran, text: bytes = MARK) -> bool:
    """Whether a child has the text."""
    return any(text in child.body.content() for child in ran.children)


def archive(**members: bytes) -> bytes:
    """A zip."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return made.getvalue()


def record(kind: int, data: bytes) -> bytes:
    """One of Excel's."""
    return struct.pack("<HH", kind, len(data)) + data


def split(kind: int, following: int, data: bytes, head: bytes = b"") -> bytes:
    """A record of 8,000 bytes that goes on in others."""
    made = record(kind, data[:8_000])
    for at in range(8_000, len(data), 8_000):
        made += record(following, head + data[at : at + 8_000])
    return made


def test_every_byte_of_a_plain_file_has_an_owner() -> None:
    """A file without leftovers has no child but its streams."""
    ran = scan(compound({"a": b"small" * 20, "b": LONG}))
    assert [child.meta.extra_data["filename"] for child in ran.children] == ["a", "b"]


@pytest.mark.parametrize("size", [100, 5_000])
def test_the_end_of_a_streams_last_sector(size: int) -> None:
    """What stands behind a stream's end in its sector, large or mini, is a child."""
    content = compound({"a": (b"S" * size + MARK)})
    at = content.index(b"S" * 20 + MARK[:10]) + 20
    directory = content.index("a".encode("utf-16-le") + bytes(10)) + 120
    shorter = content[:directory] + struct.pack("<Q", size) + content[directory + 8 :]
    ran = scan(shorter)
    assert at > 0
    assert ran.contents["a"] == b"S" * size
    assert holds(ran)


def test_sectors_that_nothing_uses() -> None:
    """A free sector in the middle, one behind zeros at the end, and the header's own rest."""
    content = compound({"a": LONG})
    assert holds(scan(content + MARK * 20))
    assert holds(scan(content + bytes(512) + MARK * 20))
    (directory,) = struct.unpack_from("<I", content, 48)
    assert directory
    freed = content.replace(struct.pack("<Q", len(LONG)), struct.pack("<Q", 4_096))
    assert scan(freed).children[-1].body.content() in LONG  # what the chain has more than the stream claims


def test_the_directorys_own_leftovers() -> None:
    """Behind a name in its field, and in an entry that is not in use."""
    content = compound({"a": LONG})
    name = content.index("a".encode("utf-16-le") + bytes(20))
    assert holds(scan(content[: name + 8] + MARK + content[name + 8 + len(MARK) :]))
    unused = name + 128
    assert content[unused : unused + 64] == bytes(64)
    assert holds(scan(content[: unused + 4] + MARK + content[unused + 4 + len(MARK) :]))


def test_zlib_anywhere_in_a_stream() -> None:
    """Pictures of slides and drawings are inflated, whatever the records around them are."""
    blip = struct.pack("<HHI", 0x3D40, 0xF01A, 400) + bytes(50) + zlib.compress(MARK * 30)
    for name in ("Pictures", "Data", "EscherStm", "Workbook"):
        ran = scan(compound({name: b"\0" * 60 + blip + b"behind" * 100}))
        assert holds(ran, MARK * 30), name
        assert not ran.reasons
        assert b"behind" in ran.contents[name]


def test_a_damaged_object_of_a_presentation() -> None:
    """It is scanned as far as it goes, and says so."""
    packed = zlib.compress(LONG * 9)
    packed = packed[:60] + b"\xff" * 60 + packed[120:]
    stream = bytes(16) + struct.pack("<HHII", 0x10, 0x1011, len(packed) + 4, 9_999) + packed
    assert "corrupt" in scan(compound({"PowerPoint Document": stream})).reasons


def test_many_packages_in_a_workbook() -> None:
    """Each is a child by itself, and the workbook does not hold them any more: nothing nests."""
    packages = [archive(a=MARK + bytes([n]) * 50) for n in range(12)]
    stream = record(0x0809, bytes(16)) + b"".join(record(0x1234, b"before" + one) for one in packages)
    ran = scan(compound({"Workbook": stream + record(0x0A, b"")}))
    found = [child.body.content() for child in ran.children]
    assert found[:-1] == packages
    assert b"PK\3\4" not in found[-1]
    assert found[-1].count(b"before") == 12
    assert len(found[-1]) == len(stream) + 4


@pytest.mark.parametrize(("following", "head"), [(0x3C, b""), (0x087F, bytes(12)), (0x0812, bytes(4))])
def test_a_package_split_by_records(following: int, head: bytes) -> None:
    """It comes out whole."""
    package = archive(a=LONG * 6, b=MARK)
    stream = record(0x0809, bytes(16)) + split(0x0896, following, bytes(16) + package, head)
    ran = scan(compound({"Workbook": stream + record(0x0A, b"")}))
    assert package in [child.body.content() for child in ran.children]
    assert not ran.reasons


def test_drawings_of_a_workbook_are_put_together() -> None:
    """A picture that goes over several records is inflated."""
    import random

    noise = random.Random(1).randbytes(20_000)
    blip = bytes(30) + zlib.compress(noise + MARK)
    stream = record(0x0809, bytes(16)) + split(0x00EB, 0x3C, blip) + record(0x0A, b"")
    assert holds(scan(compound({"Workbook": stream})))
    kinds = [kind for kind, _, _ in joined_records(stream)]
    assert kinds == [0x00EB]


def test_zips_within_zips_are_one() -> None:
    """A zip that is stored in another one is that one's."""
    inner = archive(a=b"x")
    outer = archive(b=inner, c=b"y")
    content = b"lead" + outer + b"between" + inner
    assert [content[start:end] for start, end in zips(content)] == [outer, inner]


def test_pictures_of_their_own() -> None:
    """A PNG within a stream is a child: text and packed data may stand in it."""
    picture = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + bytes(4)
        for kind, data in ((b"IHDR", bytes(13)), (b"zTXt", MARK), (b"IEND", b""))
    )
    assert picture in scan(compound({"Pictures": b"head" + picture + b"tail"})).contents.values()


def hwp(flags: int, **streams: bytes) -> bytes:
    """An HWP 5 document."""
    head = b"HWP Document File".ljust(32, b"\0") + struct.pack("<II", 0x05000000, flags) + bytes(216)
    return compound({"FileHeader": head, **{name.replace("__", "/"): data for name, data in streams.items()}})


def deflated(data: bytes) -> bytes:
    """Raw deflate."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def test_hwp() -> None:
    """Texts, scripts and attached data are inflated; what follows the packed bytes is a child, too."""
    text = deflated(MARK * 5)
    ran = scan(hwp(1, BodyText__Section0=text, DocInfo=text, Scripts__JScript=text + MARK, BinData__a=text))
    assert sum(child.body.content() == MARK * 5 for child in ran.children) == 4
    assert holds(ran, MARK)
    assert not ran.reasons
    assert scan(hwp(1, BodyText__Section0=MARK)).contents["Section0"] == MARK


@pytest.mark.parametrize("flags", [2, 16])
def test_hwp_that_is_locked(flags: int) -> None:
    """Encryption and rights management are said."""
    assert "encrypted_document" in scan(hwp(1 | flags, BodyText__Section0=b"\1" * 90)).reasons


def visio_packed(data: bytes) -> bytes:
    """Literals only."""
    return b"".join(b"\xff" + data[at : at + 8] for at in range(0, len(data), 8))


def test_visio() -> None:
    """The parts that the trailer's pointers lead to come out plain."""
    text = visio_packed(b"head" + MARK * 3)
    head = b"Visio (TM) Drawing\r\n".ljust(0x24, b"\0")
    head = head[:0x1A] + b"\x0b" + head[0x1B:]
    table_at = 0x24 + 18
    pointer = struct.Struct("<4IH")
    table = struct.pack("<III", 4, 1, 0)
    text_at = table_at + len(table) + pointer.size
    stream = head + pointer.pack(20, 0, table_at, len(table) + pointer.size, 0) + table
    stream += pointer.pack(21, 0, text_at, len(text), 0xD2) + text
    assert holds(scan(compound({"VisioDocument": stream})))
    assert list(visio.parts(stream[:40], 100)) == []


def test_visio_repeats() -> None:
    """Distances lead back into the last 4,096 bytes, and before anything was written to zeros."""
    assert visio.unpacked(b"\x00\x00\x00", 100) == bytes(3)
    assert visio.unpacked(b"\x07abc\xee\xf0", 100) == b"abcabc"


def test_what_a_packed_file_does_not_claim() -> None:
    """Bytes of an Ole10Native stream behind the file and its names are a child."""
    ran = scan(compound({"\x01Ole10Native": ole10_native("a.txt", b"text") + MARK}))
    assert holds(ran)


def test_a_document_with_a_seasonal_password() -> None:
    """Passwords that people change each quarter are tried."""
    from msoffcrypto.format.ooxml import OOXMLFile

    out = io.BytesIO()
    plain = samples.content("oletools", "msodde/harmless-clean.docx")
    OOXMLFile(io.BytesIO(plain)).encrypt("Winter99", out)
    ran = scan(out.getvalue())
    assert ran.result is not None
    assert ran.result["password"] == "Winter99"
    assert plain in ran.contents.values()


def test_streams_within_streams_end() -> None:
    """Zlib heads one in the other, each of which inflates far and then fails, cost a bounded amount."""
    block = b"\x78\x01" + b"\x00" + struct.pack("<HH", 0xF000, 0x0FFF)
    stream = Stream(block * 40_000)
    made = sum(sum(map(len, found.chunks)) for found in stream.found("DATA"))
    assert made <= 4 * len(stream.content) + 5 * 1024 * 1024
    assert stream.overlaps


@given(st.binary(max_size=400), st.sampled_from(["DATA", "WORKBOOK", "POWERPOINT DOCUMENT"]))
def test_any_stream(content: bytes, name: str) -> None:
    """Whatever a stream holds, it comes out with its own size."""
    stream = Stream(content)
    for found in stream.found(name):
        if not found.certain:
            assert sum(map(len, found.chunks)) >= 0
    assert len(stream.left()) == len(content)


@given(st.binary(max_size=300))
def test_any_visio(content: bytes) -> None:
    """Pointers to anywhere end."""
    stream = b"Visio (TM) Drawing".ljust(0x1A, b"\0") + b"\x0b" + bytes(9) + content
    assert sum(len(part) for _, _, part in visio.parts(stream, 10_000)) < 20_000 + 8 * len(stream)


def test_where_inflating_ends() -> None:
    """The bytes used are told, so that what follows is not lost."""
    packed = zlib.compress(LONG * 40)
    made = Inflated(memoryview(packed + MARK))
    assert b"".join(made) == LONG * 40
    assert (made.whole, made.used) == (True, len(packed))


def test_a_stream_that_is_a_file_of_its_own() -> None:
    """A PDF or a package that was put into a document stays as it is, packed data, pictures and all."""
    for name in ("CONTENTS", "Package"):
        content = b"%PDF-1.7 stream\n" + zlib.compress(MARK * 9) + archive(a=MARK)
        assert scan(compound({name: content})).contents == {name: content}


def test_an_object_that_has_no_end() -> None:
    """PowerPoint leaves packed objects unfinished; one of the told size is whole, and does not stay."""
    packer = zlib.compressobj()
    packed = packer.compress(LONG) + packer.flush(zlib.Z_SYNC_FLUSH)
    stream = (
        bytes(16) + struct.pack("<HHII", 0x10, 0x1011, len(packed) + 4, len(LONG)) + packed + b"behind" * 9
    )
    ran = scan(compound({"PowerPoint Document": stream}))
    assert LONG in ran.contents.values()
    assert packed not in ran.contents["PowerPoint Document"]
    assert b"behind" * 9 in ran.contents["PowerPoint Document"]


def test_what_comes_before_the_damage() -> None:
    """A call of the library that fails gives nothing of what it had made; it is asked in small steps then."""
    packed = zlib.compress(MARK * 300, 0)
    made = Inflated(memoryview(packed[:5_000] + b"\xff" * 9_000))
    assert b"".join(made).startswith(MARK * 100)


def test_an_equation_that_overflows() -> None:
    """The Equation Editor's records are looked at wherever its stream is."""
    head = b"\x1c\0\0\0\2\0" + bytes(22) + b"\3\1\1\3\0\x0a\x01"
    ran = scan(compound({"ObjectPool/_1/Equation Native": head + b"\x08ZZ" + b"A" * 60}))
    assert [one.name for one in ran.findings] == ["ole_equation_exploit"]
    assert not scan(compound({"Equation Native": head + b"\x08\x82\1Times\0\2\x83x\0"})).findings
