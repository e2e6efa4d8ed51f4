"""The two scans that stoQ's README shows, re-enacted: ExifTool and hashes, two carved executables."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest

from handlers import bootstrap
from stoq_core.limits import Deadline
from stoq_core.payload import Request
from stoq_core.pipeline import payload_of
from stoq_core.render import encode
from stoq_core.tools import find
from tests import samples
from tests.binaries import pe

if find("exiftool", {}) is None:
    pytest.skip("needs ExifTool: apt-get install libimage-exiftool-perl", allow_module_level=True)

SCAN_ID = "00000000-0000-5000-8000-000000000001"


def scan(content: bytes, name: str, dispatchers: list[str]) -> dict[str, Any]:
    """The document of one file, scanned with `exif` and `hash` on every payload."""
    settings: list[tuple[str, Any]] = [("scan.only", ["exif", "hash"]), ("scan.dispatchers", dispatchers)]
    pipeline = bootstrap.pipeline(bootstrap.configured({}, settings))
    request = Request(scan_id=SCAN_ID, payloads=[payload_of(content, name)])
    with closing(pipeline):
        made: dict[str, Any] = json.loads(encode(pipeline.scan(request, Deadline.after_ms(60_000))))
    return made


def test_exiftool_and_hashes_of_an_executable() -> None:
    """One round of `exif` and `hash`; ExifTool's keys as shown there, the name the payload's own."""
    document = scan(pe(stamp=1_366_469_410, wide=False), "bad.exe", [])
    (one,) = document["results"]
    assert one["plugins_run"]["workers"] == [["exif", "hash"]]
    (workers,) = one["workers"]
    assert set(workers["hash"]) == {"sha256", "md5", "sha1"}
    told = workers["exif"]
    assert (told["FileName"], told["FileType"], told["FileTypeExtension"]) == ("bad.exe", "Win32 EXE", "EXE")
    assert (told["MIMEType"], told["MachineType"], told["PEType"]) == ("application/octet-stream", 332, 267)
    assert (told["Subsystem"], told["OSVersion"], told["EntryPoint"]) == (3, 6.0, 4096)
    assert document["errors"] == {}


def test_two_executables_carved_out_of_a_word_document() -> None:
    """The document has `exif`, `hash` and `pecarve`; each child has its offset and its own scans."""
    word = samples.content("clamav", "clam.ole.doc")
    first, second = pe(b"\x90" * 2048, wide=False), pe(b"\xc3" * 4096)
    content = word + first + b"Documento do Microsoft Word" * 9 + second
    document = scan(content, "sample_doc_with_pe.doc", ["yara"])
    root, *carved = document["results"]
    assert root["plugins_run"]["workers"] == [["exif", "hash", "pecarve"]]
    assert "pecarve" not in root["workers"][0]
    assert root["workers"][0]["exif"]["FileType"] == "DOC"
    assert [one["payload_meta"]["extra_data"] for one in carved] == [
        {"offset": len(word)},
        {"offset": len(word) + len(first) + 243},
    ]
    assert [one["size"] for one in carved] == [len(first), len(second)]
    for one in carved:
        assert (one["extracted_by"], one["extracted_from"]) == ("pecarve", root["payload_id"])
        assert one["plugins_run"]["workers"] == [["exif", "hash"]]
        assert one["workers"][0]["exif"]["FileType"].startswith("Win")
    assert document["errors"] == {}
