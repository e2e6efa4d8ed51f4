"""ExifTool's metadata of the payload, and nothing of the scratch file that it was handed."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.workers.exif import Exif
from stoq_core.body import Body, anonymous_file, write_all
from stoq_core.testing import job, make, payload, run
from stoq_core.tools import LocalTools, find
from tests import samples
from tests.binaries import pe

if find("exiftool", {}) is None:
    pytest.skip("needs ExifTool: apt-get install libimage-exiftool-perl", allow_module_level=True)


def exif(content: bytes, name: str | None = None, **options: Any) -> dict[str, Any]:
    """The worker's result."""
    ran = run(make(Exif, **options), payload(content, name))
    assert (ran.error, ran.errors) == (None, [])
    assert ran.result is not None
    return ran.result


def png(text: bytes) -> bytes:
    """A PNG of one pixel with this tEXt chunk."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + chunk(b"tEXt", text)
        + chunk(b"IDAT", zlib.compress(b"\0\0"))
        + chunk(b"IEND", b"")
    )


def test_an_executable_as_the_readme_shows_it() -> None:
    """ExifTool's own keys, flat and numeric, the compile time in UTC."""
    found = exif(pe(stamp=1_366_469_410, wide=False), "bad.exe")
    assert found["FileType"] == "Win32 EXE"
    assert (found["MachineType"], found["PEType"], found["Subsystem"]) == (332, 267, 3)
    assert found["TimeStamp"] == "2013:04:20 14:50:10+00:00"
    assert all(not isinstance(value, dict) for value in found.values())


def test_names_are_the_payloads_own() -> None:
    """SourceFile, FileName, Directory and FileSize are those of the payload, wherever its bytes lie."""
    content = pe()
    fd = anonymous_file()
    write_all(fd, content)
    for body in (content, Body.from_fd(fd)):
        found = run(make(Exif), payload(body, "inbox/today/bad.exe")).result
        assert found is not None
        assert [found[key] for key in ("SourceFile", "FileName", "Directory", "FileSize")] == [
            "inbox/today/bad.exe", "bad.exe", "inbox/today", len(content),
        ]  # fmt: skip


def test_nothing_of_the_scratch_file() -> None:
    """No date, mode or path of the file that ExifTool read; a payload without a name has no name."""
    found = exif(pe())
    assert not {key for key in found if key.startswith(("FileModify", "FileAccess", "FileInode", "FilePerm"))}
    assert not {"SourceFile", "FileName", "Directory"} & found.keys()
    assert "/proc/" not in str(found)
    assert "stoq-tool" not in str(found)


def test_the_same_bytes_have_the_same_result() -> None:
    """Twice the same."""
    assert exif(png(b"Author\0somebody"), "a.png") == exif(png(b"Author\0somebody"), "a.png")


def test_exclude() -> None:
    """Tags by name, letter case aside."""
    found = exif(png(b"Author\0somebody"), "a.png", exclude=["author", "FileName", "ExifToolVersion"])
    assert not {"Author", "FileName", "ExifToolVersion"} & found.keys()
    assert found["ImageWidth"] == 1


def test_a_name_is_never_a_word_of_the_command() -> None:
    """A payload that is called like an option, or like a command, is a file."""
    for name in ("-csv=/etc/passwd", "-stay_open", "$(id)", "a\nb.png", "@args", "x'; touch y"):
        assert exif(png(b"Author\0me"), name)["Author"] == "me"


def test_what_it_does_not_know_is_said_by_it() -> None:
    """`Error` is ExifTool's word, and no error of ours; an empty payload is not asked about."""
    assert exif(bytes([0, 1, 2]) * 99)["Error"] == "Unknown file type"
    assert run(make(Exif), b"").result is None


def test_long_texts_are_cut() -> None:
    """A megabyte of comment does not become a result that is too large."""
    found = exif(png(b"Comment\0" + b"x" * 1_000_000))
    assert len(found["Comment"]) == 8192
    assert found["cut"] == ["Comment"]


def test_bytes_that_are_no_text() -> None:
    """Control characters, NUL and broken UTF-8 in a value end in text."""
    assert isinstance(exif(png(b"Author\0\xff\xfe\x01\xc3\x28 \r\n\"'{}[]\\"))["Author"], str)


def test_without_the_tool() -> None:
    """`tool_missing`, and a reason that keeps the verdict from being wrong."""
    worker = make(Exif)
    work = job(worker)
    work._tools = LocalTools(allowed=[])
    with pytest.raises(Exception, match="exiftool") as raised:
        list(worker.scan(payload(pe()), work))
    assert getattr(raised.value, "code", "") == "tool_missing"


def test_a_tool_that_fails(tmp_path: Path) -> None:
    """A program that says something else than JSON is `exiftool_failed`, with what it said."""
    other = tmp_path / "exiftool"
    other.write_text("#!/bin/sh\necho 'not JSON'; echo 'Perl is broken' >&2; exit 2\n")
    other.chmod(0o755)
    worker = make(Exif)
    work = job(worker)
    work._tools = LocalTools({"exiftool": str(other)})
    with pytest.raises(Exception, match="Perl is broken") as raised:
        list(worker.scan(payload(pe()), work))
    assert getattr(raised.value, "code", "") == "exiftool_failed"


def test_real_files() -> None:
    """ClamAV's test files: each has a file type or ExifTool's own word of why not."""
    for file in sorted(samples.folder("clamav").glob("clam.*"))[:20]:
        found = exif(file.read_bytes(), file.name)
        assert found.get("FileType") or found.get("Error"), file.name


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from([b"", pe()[:300], png(b"a\0b")[:40], b"\xff\xd8\xff\xe1", b"%PDF-1.4\n"]),
    st.binary(max_size=200),
)
def test_any_bytes(head: bytes, content: bytes) -> None:
    """Any bytes end in a result or, for none, in nothing."""
    ran = run(make(Exif), head + content)
    assert ran.error is None
    assert (ran.result is None) is (not head + content)
