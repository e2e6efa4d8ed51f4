"""A plain scan with the shipped settings runs the worker that a payload needs, without a flag."""

from __future__ import annotations

import base64
import io
import struct
import zipfile
import zlib
from itertools import cycle

import pytest

from handlers import bootstrap
from handlers.local.samples import eicar, zipped
from stoq_core.limits import Deadline
from stoq_core.payload import Request
from stoq_core.pipeline import Pipeline, payload_of
from stoq_core.response import PayloadReport, ScanResponse
from tests import samples

SCAN_ID = "33333333-3333-4333-8333-333333333333"


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """The shipped settings."""
    return bootstrap.pipeline(bootstrap.configured({}, [("sandbox.mode", "inline")]))


def scan(pipeline: Pipeline, content: bytes, name: str = "sample") -> ScanResponse:
    """Scan one file."""
    request = Request(scan_id=SCAN_ID, payloads=[payload_of(content, name)])
    return pipeline.scan(request, Deadline.after_ms(60_000))


def workers(report: PayloadReport) -> set[str]:
    """All that ran on a payload."""
    return {name for names in report.workers_run for name in names}


def made_by(response: ScanResponse, worker: str) -> list[str]:
    """The labels of what a worker took out."""
    return [one.result_of("mimetype")["label"] for one in response.results if one.extracted_by == worker]


def a_program() -> bytes:
    """A harmless PE with the usual text in its stub."""
    pe = samples.content("clamav", "clam-upx.exe")
    stub = b"MZ" + bytes(58) + struct.pack("<I", 192) + bytes(14)
    return (stub + b"This program cannot be run in DOS mode.\r\r\n$").ljust(192, b"\0") + pe[
        pe.find(b"PE\0\0") :
    ]


def test_a_program_hidden_by_xor_is_decoded(pipeline: Pipeline) -> None:
    """The rule gives key and offset; the child is the file in plain sight, and there is a finding."""
    hidden = bytes(a ^ b for a, b in zip(a_program(), cycle(b"\x5a"), strict=False))
    response = scan(pipeline, hidden)
    assert made_by(response, "xordecode") == ["pe"]
    assert response.results[0].result_of("xordecode")["key"] == "5a"
    assert response.verdict is not None
    assert response.verdict.findings[0].finding.name == "xor_hidden_executable"
    assert response.verdict.verdict == "suspicious"


def test_base64_of_a_program_in_a_script_is_decoded(pipeline: Pipeline) -> None:
    """Twice over: base64 in base64 is taken apart again, and EICAR at its end is malicious."""
    inner = b"payload = '" + base64.b64encode(zipped(eicar=eicar() + b" " * 60)) + b"'\n"
    response = scan(pipeline, b"x = '" + base64.b64encode(b"%PDF-1.4 " + inner) + b"'", "a.ps1")
    assert made_by(response, "decode") == ["pdf", "zip"]
    assert response.verdict is not None
    assert response.verdict.verdict == "malicious"


def test_a_movie_in_a_document_is_carved(pipeline: Pipeline) -> None:
    """A real movie, compressed, in the middle of a PDF."""
    real = samples.content("hachoir", "claque-beignet.swf")
    packed = b"CWS" + real[3:8] + zlib.compress(real[8:])
    response = scan(pipeline, b"%PDF-1.7\n1 0 obj stream\n" + packed + b"\nendstream")
    assert made_by(response, "swfcarve")[0] == "swf"  # and its body, which is searched by itself
    assert response.results[1].size == len(real)
    assert "swfcarve" in workers(response.results[1])


def test_a_pdf_in_an_xdp_is_carved(pipeline: Pipeline) -> None:
    """By its type where it is one from the start, by the rule where it stands inside something."""
    pdf = samples.content("pypdf", "crazyones.pdf")
    package = b'<?xml version="1.0"?><xdp:xdp xmlns:xdp="http://ns.adobe.com/xdp/"><pdf><document><chunk>'
    package += base64.encodebytes(pdf) + b"</chunk></document></pdf></xdp:xdp>"
    for content in (package, b"\0\1\2" + package):
        response = scan(pipeline, content)
        assert "xdpcarve" in workers(response.results[0])
        assert "pdf" in made_by(response, "xdpcarve") + made_by(response, "decode")  # whoever was first
    assert scan(pipeline, package).results[0].result_of("mimetype")["label"] == "xdp"


def test_a_pdf_behind_something_is_taken_apart(pipeline: Pipeline) -> None:
    """Readers look for the mark in the first KiB: what else the file claims to be makes no difference."""
    pdf = samples.content("pypdf", "attachment.pdf")
    for lead in (b"GIF89a" + bytes(500), b"junk\n", bytes(20)):
        names = [one.extracted_by for one in scan(pipeline, lead + pdf).results if one.extracted_by]
        assert "pdf" in names, lead[:6]


def test_hidden_words_are_looked_for(pipeline: Pipeline) -> None:
    """One word under XOR starts the search for all."""
    content = b"\1\2\3" + bytes(one ^ 9 for one in b"http://evil.example/cmd.exe")
    found = scan(pipeline, content).results[0].result_of("xorsearch")
    assert sorted(found["hits"]["XOR"]["0x09"], key=lambda one: int(one["offset"])) == [
        {"term": "http://", "offset": 3},
        {"term": "cmd.exe", "offset": 23},
    ]


def test_zips_have_their_records_compared(pipeline: Pipeline) -> None:
    """Archives as such, and those behind a program; bytes of no record are scanned."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("a", b"x")
    behind = b"MZ" + bytes(60) + out.getvalue() + eicar()
    response = scan(pipeline, behind)
    assert response.results[0].result_of("xyz")["prepended"] == 62
    assert any(
        one.finding.name == "eicar_test_file" for report in response.results for one in report.findings
    )
    assert scan(pipeline, out.getvalue()).results[0].result_of("xyz")["count"] == 1


def test_ordinary_files_ask_for_none_of_them(pipeline: Pipeline) -> None:
    """Text, a PDF and a program in plain sight: no decoding, no finding."""
    pdf = samples.content("pypdf", "crazyones.pdf")
    for content in (b"plain words", pdf, a_program(), b'{"a": "https://a.example/"}'):
        response = scan(pipeline, content)
        ran = workers(response.results[0])
        assert not ran & {"b64decode", "xordecode", "xorsearch", "swfcarve", "xdpcarve", "xyz"}, content[:20]
        assert response.verdict is not None
        assert response.verdict.score < 300
