"""Bytes that an archive holds where its directory does not lead: all of them become children."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import zipfile
from typing import Any

import pytest

from handlers.local.samples import eicar, zipped
from plugins.workers.decompress import Decompress
from stoq_core.testing import Ran, make, payload, run

SECRET = os.urandom(200)
EMPTY_END = b"PK\x05\x06" + bytes(18)


def unpack(content: bytes, name: str = "x", **job: Any) -> Ran:
    """Run the worker."""
    return run(make(Decompress), payload(content, name), **job)


def spliced(content: bytes, at: int, extra: bytes, *fixes: int) -> bytes:
    """`content` with `extra` put in at an offset; the offsets that stand at `fixes` are moved along."""
    made = bytearray(content[:at] + extra + content[at:])
    for place in fixes:
        where = place if place < at else place + len(extra)
        struct.pack_into("<I", made, where, struct.unpack_from("<I", made, where)[0] + len(extra))
    return bytes(made)


def parts(content: bytes) -> tuple[int, int, list[int]]:
    """Where a small zip's directory and end record stand, and where each entry holds its offset."""
    end = content.rfind(b"PK\x05\x06")
    directory = struct.unpack_from("<I", content, end + 16)[0]
    places, at = [], directory
    while content[at : at + 4] == b"PK\x01\x02":
        places.append(at + 42)
        name, extra, comment = struct.unpack_from("<HHH", content, at + 28)
        at += 46 + name + extra + comment
    return directory, end, places


def test_bytes_between_two_members_are_a_child() -> None:
    """What stands between one member's data and the next one's header is scanned."""
    content = zipped(a=b"first", b=b"second")
    directory, end, places = parts(content)
    second = struct.unpack_from("<I", content, places[1])[0]
    ran = unpack(spliced(content, second, SECRET, places[1], end + 16))
    assert ran.contents == {"a": b"first", "b": b"second", "gap": SECRET}
    assert ran.reasons == set()
    assert directory


def test_bytes_before_the_directory_are_a_child() -> None:
    """As an APK's signing block; what stands there is scanned."""
    content = zipped(a=b"first")
    directory, end, _ = parts(content)
    assert unpack(spliced(content, directory, SECRET, end + 16)).contents["gap"] == SECRET


def test_a_member_that_the_directory_leaves_out_is_found() -> None:
    """The directory lists one of two: the other is read by its own header, which contradicts it."""
    content = zipped(a=b"first", b=eicar())
    directory, end, places = parts(content)
    one = places[1] - 42
    cut = bytearray(content[:one] + content[end:])
    at = cut.rfind(b"PK\x05\x06")
    struct.pack_into("<HHI", cut, at + 8, 1, 1, one - directory)
    ran = unpack(bytes(cut))
    assert ran.contents["a"] == b"first"
    assert ran.contents["b"] == eicar()
    assert [finding.name for finding in ran.findings] == ["archive_read_two_ways"]
    assert ran.reasons == set()


@pytest.mark.parametrize("hides_in", ["behind", "comment"])
def test_an_empty_directory_hides_nothing(hides_in: str) -> None:
    """A second, empty end record behind the real one, or in its comment, hides no member."""
    content = bytearray(zipped(a=eicar()))
    if hides_in == "comment":
        struct.pack_into("<H", content, content.rfind(b"PK\x05\x06") + 20, len(EMPTY_END))
    ran = unpack(bytes(content) + EMPTY_END)
    assert ran.contents == {"a": eicar()}
    assert ran.reasons == set()


def test_an_empty_zip_is_empty() -> None:
    """The 22 bytes of a zip without members have no children and no reasons."""
    ran = unpack(EMPTY_END)
    assert (ran.contents, ran.reasons) == ({}, set())


def test_ordinary_zips_have_no_gaps() -> None:
    """Data descriptors, alignment by zeros, zip64 records and comments are the format's own."""
    out = io.BytesIO()

    class Pipe(io.RawIOBase):
        """Cannot seek, so that sizes stand behind the data."""

        def writable(self) -> bool:
            """Yes."""
            return True

        def write(self, data: Any) -> int:
            """Into the buffer."""
            return out.write(data)

    with zipfile.ZipFile(Pipe(), "w", zipfile.ZIP_DEFLATED) as made:  # type: ignore[arg-type]
        made.comment = b"a comment"
        for n in range(3):
            with made.open(f"{n}", "w", force_zip64=n == 1) as member:
                member.write(b"x" * 100)
    ran = unpack(out.getvalue())
    assert sorted(ran.contents) == ["0", "1", "2"]
    content = zipped(a=b"first", b=b"second")
    _, end, places = parts(content)
    second = struct.unpack_from("<I", content, places[1])[0]
    aligned = unpack(spliced(content, second, bytes(4000), places[1], end + 16))
    assert sorted(aligned.contents) == ["a", "b"]


def test_members_beyond_those_that_are_read_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory with more records than are read is not complete, whatever they are."""
    monkeypatch.setattr("plugins.workers.decompress._MOST_RECORDS", 2)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name in ("a/", "b/", "c.txt"):
            made.writestr(name, b"x" if name == "c.txt" else b"")
    assert unpack(out.getvalue()).reasons == {"too_many_payloads"}


def a_tar(**members: bytes) -> bytes:
    """A tar with its padding."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return out.getvalue()


def test_a_second_tar_behind_the_first_is_a_child() -> None:
    """Behind the end mark and its zeros: `tar` stops there, `tar -i` goes on."""
    second = a_tar(b=eicar())
    ran = unpack(a_tar(a=b"first") + second)
    assert ran.contents == {"a": b"first", "tail": second}
    assert unpack(a_tar(a=b"first")).contents == {"a": b"first"}


def cpio(name: bytes, content: bytes) -> bytes:
    """One newc record."""
    fields = (0, 0o100644, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    made = b"070701" + b"".join(b"%08x" % one for one in fields) + name + b"\0"
    made += bytes(-len(made) % 4)
    return made + content + bytes(-len(content) % 4)


def test_what_follows_a_cpio_is_a_child() -> None:
    """An initramfs: microcode in a first archive, the compressed second one behind its padding."""
    early = cpio(b"early", b"microcode") + cpio(b"TRAILER!!!", b"")
    late = gzip.compress(cpio(b"init", b"#!/bin/sh") + cpio(b"TRAILER!!!", b""))
    ran = unpack(early + bytes(400) + late)
    assert ran.contents == {"early": b"microcode", "tail": late}
    assert ran.reasons == set()
