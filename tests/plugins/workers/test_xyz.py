"""xyz: records of real and crafted zips, beside the standard library's, and bytes that no record owns."""

from __future__ import annotations

import io
import random
import struct
import time
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.workers.xyz import Xyz
from stoq_core.testing import Ran, make, run
from tests import samples
from tests.plugins.workers import archive_makers


class Pipe(io.RawIOBase):
    """A file that cannot seek, so that members get descriptors."""

    def __init__(self) -> None:
        """Nothing is written yet."""
        self.written = b""

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Keep it."""
        self.written += bytes(data)
        return len(bytes(data))


def a_zip(count: int = 2, comment: bytes = b"", *, piped: bool = False, zip64: bool = False) -> bytes:
    """A zip of small members."""
    out: Any = Pipe() if piped else io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for at in range(count):
            info = zipfile.ZipInfo(f"file{at}.txt", (2020, 2, 3, 4, 5, 6))
            info.compress_type = zipfile.ZIP_DEFLATED
            with made.open(info, "w", force_zip64=zip64) as member:
                member.write(b"some text " * at)
        made.comment = comment
    return out.written if piped else bytes(out.getvalue())


def look(content: bytes, **options: int) -> tuple[dict[str, Any], Ran]:
    """The result and all of the run."""
    ran = run(make(Xyz, **options), content)
    assert ran.error is None
    return ran.result or {}, ran


@pytest.mark.parametrize("form", [{}, {"piped": True}, {"zip64": True}, {"piped": True, "zip64": True}])
def test_an_ordinary_zip_has_no_gaps_and_no_deltas(form: dict[str, bool]) -> None:
    """With and without descriptors and zip64 fields, every byte belongs to a record."""
    content = a_zip(3, b"a note", **form)
    found, ran = look(content)
    assert (found["gaps"], found["deltas"], found["overlaps"], found["count"]) == ([], {}, 0, 3)
    assert found["ends"][-1]["comment"] == "a note"
    assert (ran.children, ran.findings, ran.errors) == ([], [], [])


def test_records_are_those_of_the_standard_library() -> None:
    """Both records of each member: name, method, sizes, CRC, time, offset."""
    content = a_zip(3)
    found, _ = look(content)
    for one, info in zip(found["files"], zipfile.ZipFile(io.BytesIO(content)).infolist(), strict=True):
        for record in (one["central"], one["local"]):
            assert (record["name"], record["method"], record["packed"], record["size"]) == (
                info.filename, "deflate", info.compress_size, info.file_size,
            )  # fmt: skip
            assert (record["crc32"], record["modified"]) == (f"{info.CRC:08x}", "2020-02-03T04:05:06")
        assert one["local"]["offset"] == one["central"]["header_offset"] == info.header_offset


def test_extra_fields_and_comments() -> None:
    """Extra fields by id, name, size and first bytes; a member's comment."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        info = zipfile.ZipInfo("a")
        info.comment = b"of a"
        info.extra = struct.pack("<HHBI", 0x5455, 5, 1, 7) + struct.pack("<HH", 0xBEEF, 40) + bytes(40)
        made.writestr(info, b"x")
    found, _ = look(out.getvalue())
    central = found["files"][0]["central"]
    assert central["comment"] == "of a"
    assert central["extra"][0] == {"id": "0x5455", "name": "unix times", "size": 5, "data": "0107000000"}
    assert central["extra"][1] == {"id": "0xbeef", "name": "", "size": 40, "data": "00" * 32}


def test_bytes_before_between_and_behind() -> None:
    """Each is listed with its kind, offset and size; they are decompress's children, not this one's."""
    content = a_zip()
    directory = content.find(b"PK\x01\x02")
    end = content.find(b"PK\x05\x06")
    moved = bytearray(content[end:])
    struct.pack_into("<I", moved, 16, directory + 6)
    hidden = content[:directory] + b"hidden" + content[directory:end] + bytes(moved)
    found, ran = look(b"MZ stub" + hidden + b"tail")
    assert found["gaps"] == [
        {"kind": "leading", "offset": 0, "size": 7},
        {"kind": "gap", "offset": 7 + directory, "size": 6},
        {"kind": "trailing", "offset": 7 + len(hidden), "size": 4},
    ]
    assert not ran.children
    assert found["prepended"] == 7
    zeros, ran = look(content + bytes(50))
    assert (zeros["gaps"], ran.children) == ([{"kind": "trailing", "offset": len(content), "size": 50}], [])


@pytest.mark.parametrize("make_it", [archive_makers.cpio, archive_makers.cab, archive_makers.arj])
def test_the_pieces_of_another_container_are_no_files(make_it: Callable[[dict[str, bytes]], bytes]) -> None:
    """A zip stored in a cpio, a cabinet, an ARJ: what is around it is listed, not cut out as a file."""
    result, ran = look(make_it({"text": b"before " * 90, "in.zip": a_zip()}))
    assert result["count"] == 2
    assert result["gaps"][0]["kind"] == "leading"
    assert not ran.children


def test_androids_signatures_are_named() -> None:
    """The signing block before the directory is a gap that has a name."""
    content = a_zip()
    directory, end = content.find(b"PK\x01\x02"), content.find(b"PK\x05\x06")
    moved = bytearray(content[end:])
    block = b"signatures" * 3 + b"APK Sig Block 42"
    struct.pack_into("<I", moved, 16, directory + len(block))
    found, _ = look(content[:directory] + block + content[directory:end] + bytes(moved))
    assert found["gaps"] == [{"kind": "apk_signatures", "offset": directory, "size": len(block)}]


@pytest.mark.parametrize(
    ("at", "value", "delta", "told"),
    [
        (30, b"other", "name", True),
        (8, b"\0\0", "method", True),
        (14, b"\1\2\3\4", "crc32", False),
        (22, b"\1\2\3\0", "size", False),
        (10, b"\1\1", "time", False),
        (6, b"\1\0", "flags", False),
    ],
)
def test_records_that_differ(at: int, value: bytes, delta: str, told: bool) -> None:
    """Each field by name; another name or method is a finding, since readers then see different files."""
    content = bytearray(a_zip(1))
    content[at : at + len(value)] = value
    found, ran = look(bytes(content))
    assert found["deltas"] == {delta: 1}
    assert found["files"][0]["deltas"] == [delta]
    assert [one.name for one in ran.findings] == (["zip_records_differ"] if told else [])


def test_a_member_that_the_directory_does_not_name() -> None:
    """Its local header is listed without a central one; one whose local header is gone without a local."""
    content = a_zip(2)
    directory = content.find(b"PK\x01\x02")
    second = content.find(b"PK\x01\x02", directory + 4)
    end = bytearray(content[content.find(b"PK\x05\x06") :])
    struct.pack_into("<HHI", end, 8, 1, 1, second - directory)
    found, _ = look(content[:second] + bytes(end))
    assert (found["count"], found["orphans"], found["missing"]) == (2, 1, 0)
    assert found["files"][1]["local"]["name"] == "file1.txt"
    found, _ = look(b"XX" + content[2:])
    assert (found["missing"], found["files"][0]["local"]) == (1, None)


def test_without_an_end_record() -> None:
    """The local headers are all that there is; the error says so."""
    content = a_zip(3)
    found, ran = look(content[: content.find(b"PK\x01\x02")])
    assert (found["count"], found["orphans"]) == (3, 3)
    assert [one.code for one in ran.errors] == ["no_end"]


def test_a_directory_that_breaks_off() -> None:
    """An end record that names more entries than there are."""
    content = bytearray(a_zip(2))
    struct.pack_into("<HH", content, content.find(b"PK\x05\x06") + 8, 9, 9)
    found, ran = look(bytes(content))
    assert found["count"] == 2
    assert [(one.code, one.observed, one.allowed) for one in ran.errors] == [("short_directory", 2, 9)]


def test_a_false_end_behind_the_true_one() -> None:
    """The end record that leads to a directory is in use; others are listed."""
    found, _ = look(a_zip(2) + b"PK\x05\x06" * 30)
    assert found["count"] == 2
    assert sum(one["in_use"] for one in found["ends"]) == 1
    assert len(found["ends"]) > 5


def test_the_list_is_bounded() -> None:
    """`max_members` is honoured, 0 too; all are counted; the result stays under its limit."""
    content = a_zip(300)
    assert len(look(content)[0]["files"]) == 100
    assert look(content, max_members=0)[0]["files"] == []
    assert look(content, max_members=5000)[0]["count"] == 300
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for at in range(900):
            made.writestr(f"{at}" + "n" * 2000, b"")
    assert len(look(out.getvalue(), max_members=5000)[0]["files"]) < 900


def test_other_files_are_left() -> None:
    """What has no record has no result."""
    for content in (b"", b"PK", b"plain text", random.Random(1).randbytes(100_000), b"PK\x03\x04"):
        assert look(content)[0] == {}


def test_real_archives() -> None:
    """Those of ClamAV's tests, one with imploded data: no gap, no delta, the method named."""
    methods = {}
    for name in ("clam.zip", "clam.bz2.zip", "clam.d64.zip", "clam.impl.zip"):
        found, ran = look(samples.content("clamav", name))
        assert (found["gaps"], found["deltas"], ran.errors) == ([], {}, []), name
        methods[name] = found["files"][0]["local"]["method"]
    assert sorted(methods.values()) == ["bzip2", "deflate", "deflate64", "imploded"]


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04" * 250_000,
        b"PK\x03\x04\x14" + bytes(21) + b"\x01\0\0\0x",
        (b"PK\x03\x04\x14" + bytes(21) + b"\xff\x0f\xff\xff") * 30_000,
        b"PK\x05\x06" * 250_000,
        a_zip(3000)[:-20],
    ],
)
def test_hostile_records_take_bounded_time(content: bytes) -> None:
    """Marks in a row, headers that claim names over the next ones, ends without end."""
    began = time.process_time()
    look(content)
    assert time.process_time() - began < 4


def test_many_members_with_one_local_header() -> None:
    """Sixty thousand entries that point to one header with a long extra field: bounded time and result."""
    extra = struct.pack("<HH", 5, 0) * 16_000
    local = struct.pack("<4s5HIII2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF, 1, len(extra))
    local += b"a" + extra
    entry = (
        struct.pack("<4s6HIII5HII", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    )
    count = 60_000
    end = struct.pack("<4s4HIIH", b"PK\x05\x06", 0, 0, count, count, len(entry) * count, len(local), 0)
    began = time.process_time()
    found, _ = look(local + entry * count + end)
    assert time.process_time() - began < 10
    assert found["count"] == count
    assert found["overlaps"] >= 1


GOOD = [a_zip(2, b"note"), a_zip(1, piped=True), a_zip(1, zip64=True), b"", b"PK\x03\x04"]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(GOOD), st.binary(max_size=60), st.data())
def test_any_bytes_end_in_emits(good: bytes, behind: bytes, data: st.DataObject) -> None:
    """Mutated archives and arbitrary bytes: no error that is not named, gaps within the payload."""
    content = bytearray(good + behind)
    for _ in range(data.draw(st.integers(0, 8)) if content else 0):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.sampled_from([0, 1, 80, 255]))
    found, ran = look(bytes(content))
    assert {one.code for one in ran.errors} <= set(Xyz.errors)
    for gap in found.get("gaps", ()):
        assert 0 <= gap["offset"] < gap["offset"] + gap["size"] <= len(content)
