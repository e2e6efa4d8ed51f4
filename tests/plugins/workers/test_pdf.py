"""PDF: object streams, attachments, scripts and forms; malformed and encrypted documents; real ones."""

from __future__ import annotations

import time
import zlib
from collections import Counter

import pytest

from plugins._formats.filetype import identify
from plugins._formats.pdf import crypt
from plugins._formats.pdf.parts import STREAMS_MARK
from plugins.workers.pdf import Pdf
from stoq_core.testing import make, run
from tests import samples
from tests.pdf_files import FLATE, HEAD, LAUNCH, OPENS, SCRIPT, TEXT, only, packed, result, scan, stream


def test_objects_in_streams_are_read() -> None:
    """Words, scripts and pages that only an object stream holds."""
    held = packed(
        b"<</Type/Page/AA<</O<</S/JavaScript/JS(app.alert\\(1\\))>>>>>>", b"<</URI(https://a.example/)>>"
    )
    ran = scan(HEAD + held)
    found = result(ran)
    assert (found["pages"], found["object_streams"], found["objects"]) == (1, 1, 3)
    assert found["keywords"] == {"JS": 1, "JavaScript": 1, "AA": 1, "URI": 1}
    assert found["uris"] == ["https://a.example/"]
    assert ran.contents["javascript-1.js"] == b"app.alert(1)"
    assert b"https://a.example/" in ran.contents["streams"]


def test_object_streams_whose_table_lies() -> None:
    """Without a table that holds, objects are read from the beginning; none is passed over."""
    body = b"<</A 1>> <</JS(one)>> <</JS(two)>>"
    ran = scan(HEAD + stream(zlib.compress(body), b"/Type/ObjStm/N 3/First 9999/Filter/Fl"))
    assert ran.contents["javascript-1.js"] == b"one"
    assert ran.contents["javascript-2.js"] == b"two"


def test_attached_files() -> None:
    """Each is a child under the name that its specification gives, decoded or as it stands."""
    spec = b"3 0 obj<</Type/Filespec/F(x)/UF<FEFF00FC002E0074007800740020>/EF<</F 4 0 R>>>>endobj\n"
    named = stream(zlib.compress(b"attached"), b"/Type/EmbeddedFile/Filter/Fl", 4)
    ran = scan(HEAD + spec + named + stream(b"as it stands", b"/Type/EmbeddedFile", 5))
    assert ran.contents == {"ü.txt": b"attached", "embedded-2": b"as it stands"}
    evil = spec.replace(b"/UF<FEFF00FC002E0074007800740020>", b"/UF(bill.pdf.exe)")
    assert [one.name for one in scan(HEAD + evil + named).findings] == [
        "name_double_extension", "pdf_attached_program",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "written",
    [
        b"(app.alert\\(1\\);\\\n//\\101)", b"(app.alert(1);//A)", b"<6170702e616c 657274 2831293b2f2f41>",
        b"<FEFF" + "app.alert(1);//A".encode("utf-16-be").hex().encode() + b">",
        b"(\xfe\xff" + "app.alert(1);//A".encode("utf-16-be").replace(b"(", b"\\(").replace(b")", b"\\)") + b")",
        b"8 0 R", b"9 0 R",
    ],
)  # fmt: skip
def test_scripts(written: bytes) -> None:
    """JavaScript as a string of any kind, in another object, or in a stream."""
    others = b"8 0 obj (app.alert(1);//A) endobj\n" + stream(zlib.compress(b"app.alert(1);//A"), number=9)
    ran = scan(HEAD + b"1 0 obj<</S/JavaScript/JS " + written + b">>endobj\n" + others)
    assert ran.contents["javascript-1.js"] == b"app.alert(1);//A"


def test_many_scripts() -> None:
    """Those past `max_scripts` are one child; the same script is taken once."""
    many = b"".join(b"%d 0 obj<</JS(f%d\\(\\))>>endobj\n" % (n, n // 2) for n in range(20))
    ran = run(make(Pdf, max_scripts=3), HEAD + many)
    assert list(ran.contents) == [*(f"javascript-{n}.js" for n in (1, 2, 3)), "javascript-more.js"]
    assert ran.contents["javascript-more.js"].split() == [b"f%d()" % n for n in range(3, 10)]


def test_forms() -> None:
    """The parts of an XFA form, named in place or in an array elsewhere."""
    parts = stream(zlib.compress(b"<xdp/>"), number=5) + stream(b"<template/>", b"", 6)
    for form in (b"[(preamble) 5 0 R (template) 6 0 R]", b"7 0 R"):
        array = b"7 0 obj [(preamble) 5 0 R (template) 6 0 R] endobj\n"
        ran = scan(HEAD + b"1 0 obj<</AcroForm<</XFA " + form + b">>>>endobj\n" + parts + array)
        assert ran.contents == {"xfa-1.xml": b"<xdp/>", "xfa-2.xml": b"<template/>"}


def test_what_the_document_says_of_itself() -> None:
    """Version, counts and the information dictionary, however its text is written."""
    content = (
        b"%PDF-1.4\n1 0 obj<</Linearized 1>>endobj 2 0 obj<</Title(A \\(b\\))/Producer<FEFF00E9>/X 1>>endobj\n"
        b"3 0 obj<</Type/Page>>endobj 4 0 obj<</Type/Pages>>endobj trailer<</Info 2 0 R>>"
    )
    found = result(scan(b"junk\n" + content))
    assert {key: one for key, one in found.items() if one} == {
        "version": "1.4", "pages": 1, "objects": 4, "linearized": True, "keywords": {"Linearized": 1},
        "info": {"Title": "A (b)", "Producer": "é"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "finding", "score"),
    [
        (OPENS + packed(SCRIPT), "pdf_hidden_javascript", 200),
        (packed(SCRIPT), None, 0),
        (OPENS + b"1 0 obj" + SCRIPT + b"endobj", None, 0),
        (packed(LAUNCH), "pdf_hidden_launch", 600),
        (b"1 0 obj" + LAUNCH + b"endobj", None, 0),
        (b"1 0 obj<</S/J#61vaScript>>endobj", "pdf_obfuscated_names", 300),
        (b"1 0 obj<</BaseFont/Times#20New#20Roman/P#61ge 1>>endobj", None, 0),
    ],
)
def test_findings(content: bytes, finding: str | None, score: int) -> None:
    """With its score; a script or a program to start is a finding of its own, hidden or not."""
    found = {one.name: one.score for one in scan(HEAD + content).findings}
    assert found.get(finding or "", 0) == score
    assert set(found) <= {finding, "pdf_javascript_on_open", "pdf_starts_program"}


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (b"1 0 obj<</S/Launch/F<636d642e657865>>>endobj", "pdf_starts_program"),
        (b"1 0 obj<</S/Launch/F(c\\155d.e\\\nxe)>>endobj", "pdf_starts_program"),
        (b"1 0 obj<</S/Launch/Win<</F(a.ps1)/P(x)>>>>endobj", "pdf_starts_program"),
        (b"1 0 obj<</S/Launch/F 2 0 R>>endobj 2 0 obj<</Type/Filespec/UF(a.hta)>>endobj", "pdf_starts_program"),
        (b"1 0 obj<</S/Launch/F(chapter2.pdf)>>endobj", ""),
        (b"1 0 obj<</S/GoToE/F(\\\\\\\\198.51.100.7\\\\s)/D[0/Fit]>>endobj", "pdf_leads_to_share"),
        (b"1 0 obj<</S/GoToR/F(chapter2.pdf)>>endobj", ""),
        (b"1 0 obj<</OpenAction<</S/URI/URI(http://e.example/a.exe)>>>>endobj", "pdf_opens_program_address"),
        (b"1 0 obj<</OpenAction 2 0 R>>endobj 2 0 obj<</S/URI/URI(http://e.example/)>>endobj", "pdf_opens_address"),
        (b"1 0 obj<</A<</S/URI/URI(http://e.example/a.exe)>>>>endobj", ""),
        (b"1 0 obj<</S/JavaScript/JS(eval\\(unescape\\('%75'\\)\\))>>endobj", "pdf_javascript_unpacks_code"),
        (b"1 0 obj<</S/JavaScript/JS 7 0 R>>endobj\n"
         + stream(zlib.compress(b"eval(unescape('%75'))"), b"/Filter/Fl", 7), "pdf_javascript_unpacks_code"),
        (b"1 0 obj<</S/JavaScript/JS(AFNumber_Format\\(2\\))>>endobj", ""),
    ],
)  # fmt: skip
def test_actions(content: bytes, finding: str) -> None:
    """Programs, shares and addresses in any form of string; scripts count the same in a stream."""
    found = {one.name for one in scan(HEAD + content).findings} - {"pdf_javascript_on_open"}
    assert found == ({finding} if finding else set())


def test_around_and_between() -> None:
    """What stands in front, behind, and behind packed bytes within a stream is scanned or searched."""
    mark = b"a text that nobody may pass over "
    ran = scan(mark + HEAD + stream(FLATE) + b"%%EOF\n" + mark * 2)
    assert ran.contents["lead"].startswith(mark)
    assert ran.contents["tail"] == mark * 2
    assert not {"lead", "tail", "gap"} & set(scan(HEAD + b"% note " + stream(FLATE) + b"%%EOF\n").contents)


def test_pictures_filters_in_front_of_others() -> None:
    """An image's filter, then Flate: its data may be packed all the same; a picture's may not."""
    words = b"/Subtype/Image/Filter[/DCTDecode/FlateDecode]"
    assert b"plain bytes" in b"".join(
        scan(HEAD + stream(zlib.compress(b"plain bytes"), words)).contents.values()
    )
    assert not scan(HEAD + stream(b"\xff\xd8\xff picture", words)).reasons


@pytest.mark.parametrize(
    "content",
    [
        stream(FLATE).replace(b"/Length %d" % len(FLATE), b"/Length 3"),
        stream(FLATE).replace(b"/Length %d" % len(FLATE), b"/Length 99999999"),
        stream(FLATE).replace(b"/Length %d" % len(FLATE), b"/Length 8 0 R") + b"8 0 obj %d endobj" % len(FLATE),
        stream(FLATE).replace(b"/Length %d" % len(FLATE), b""),
        stream(FLATE).replace(b"endstream\n", b""), stream(FLATE).replace(b"\nendstream\nendobj\n", b""),
        stream(FLATE).replace(b"stream\n", b"stream \r\n", 1), stream(FLATE).replace(b"1 0 obj", b"1 0 %x\nobj"),
        b"9 0 obj (never ends " + stream(FLATE), b"9 0 obj << /A [ << " + stream(FLATE), b"9 0 obj garbage >> ] ) } " + stream(FLATE),
        b"9 0 obj << /A [ 1 2 >> endobj " + stream(FLATE), b"9 0 obj (" + stream(FLATE) + b") endobj",
        stream(FLATE).replace(b"<<", b"<</A[1 2(x\\)y)<4<</B/C>>]", 1), stream(FLATE).replace(b"/Filter", b"/A[/Filter"),
        stream(stream(FLATE), b"/Filter/DCTDecode", 5),
    ],
)  # fmt: skip
def test_malformed(content: bytes) -> None:
    """No table, lengths that lie, marks that are missing, garbage, objects within others: all is decoded."""
    assert scan(HEAD + content).contents["streams"] == STREAMS_MARK + b"\n" + TEXT


def test_a_stream_that_holds_its_end_mark() -> None:
    """A length that the file confirms counts more than the first `endstream`, also from another object."""
    held = b"x endstream endobj " * 9
    data = zlib.compress(held, 0)
    assert only(stream(data)) == b"\n" + held
    there = stream(data).replace(b"/Length %d" % len(data), b"/Length 8 0 R")
    assert only(there + b"8 0 obj %d endobj" % len(data)) == b"\n" + held


def test_what_is_no_pdf_is_left_alone() -> None:
    """The mark must stand in the first KiB; there it makes a PDF of what nothing else knows."""
    for content in (b"", b"text", bytes(1_020) + HEAD + stream(FLATE)):
        assert scan(content).result is None
    late = bytes(1_000) + HEAD + stream(FLATE)
    assert scan(late).contents["streams"] == STREAMS_MARK + b"\n" + TEXT
    assert identify(memoryview(late)).label == "pdf"
    assert identify(memoryview(bytes(1_025) + HEAD)).label != "pdf"
    assert identify(memoryview(b"<html>" + HEAD)).label == "html"


ENCRYPTED = {
    "r2-user-password.pdf": "asdfzxcv", "r2-empty-password.pdf": "", "r3-user-password.pdf": "asdfzxcv",
    "r4-user-password.pdf": "asdfzxcv", "r4-aes-user-password.pdf": "asdfzxcv", "r5-empty-password.pdf": "",
    "r6-both-passwords.pdf": "foo", "r6-empty-password.pdf": "",
}  # fmt: skip


@pytest.mark.parametrize(("sample", "password"), ENCRYPTED.items())
def test_encrypted(sample: str, password: str) -> None:
    """RC4, AES-128 and AES-256, each opened by its password to the bytes of the same file unencrypted, strings behind them."""
    content = samples.content("pypdf", f"encryption/{sample}")
    plain = scan(samples.content("pypdf", "encryption/unencrypted.pdf"))
    ran = scan(content, passwords=["wrong", password])
    assert not ran.reasons
    found = ran.contents["streams"]
    assert not Counter(plain.contents["streams"].split(b"\n")) - Counter(found.split(b"\n"))
    assert b"\n/Author (cheng)" in found
    assert result(ran)["password"] == password
    assert result(ran)["info"]["Author"] == "cheng"
    if password:
        shut = scan(content, passwords=["wrong"])
        assert shut.reasons == {"encrypted_document"}
        assert not shut.children
        assert result(shut)["encrypted"]


def test_keys_of_any_length() -> None:
    """RC4 as the library has it, also with keys of lengths that it refuses."""
    key = b"123456789"
    assert crypt._rc4(key, b"text") == crypt._rc4(key * 2, b"text")
    assert crypt._rc4_of_odd_keys(key[:5], b"some text") == crypt._rc4(key[:5], b"some text")
    for bits in range(40, 136, 8):
        said = b"<</Filter/Standard/V 2/R 3/Length %d/O(%s)/U(%s)/P -4>>" % (bits, b"o" * 32, b"u" * 32)
        ran = scan(HEAD + stream(FLATE) + b"trailer<</Encrypt " + said + b">>")
        assert ran.reasons == {"encrypted_document"}


@pytest.mark.parametrize(
    ("words", "data"), [(b"/Filter/Fl/Filter/AHx", FLATE), (b"/Filter/AHx/Filter/Fl", FLATE)]
)
def test_two_filters_of_one_name(words: bytes, data: bytes) -> None:
    """Readers take the first or the last: both are decoded."""
    assert TEXT in scan(HEAD + stream(data, words)).contents["streams"]


@pytest.mark.parametrize(
    ("sample", "password"), [("r6-both-passwords.pdf", "bar"), ("r2-user-password.pdf", "bar")]
)
def test_owner_password(sample: str, password: str) -> None:
    """The owner's password opens what the user's does; a wrong one does not."""
    ran = scan(samples.content("pypdf", f"encryption/{sample}"), passwords=[password])
    assert bool(ran.children) == sample.startswith("r6")


def test_encryption_that_is_not_known() -> None:
    """Another handler, or nonsense: said, and nothing is decoded."""
    for said in (b"<</Filter/Mine>>", b"77 0 R", b"<</Filter/Standard/V 9/R 9/O(a)/U(b)>>", b"<</Filter/Standard/V 5/R 6/O(a)/U(b)/P -4>>"):  # fmt: skip
        ran = scan(HEAD + stream(FLATE) + b"trailer<</Encrypt " + said + b">>")
        assert ran.reasons == {"encrypted_document"}


def test_real_files() -> None:
    """The documents of pypdf's tests: all are read to the end, in good time, and none of them is suspicious."""
    passwords = ["asdfzxcv", "foo", "password", "openpassword", "test"]
    read = 0
    for one in samples.files("pypdf"):
        if one.suffix != ".pdf":
            continue
        began = time.process_time()
        ran = scan(one.read_bytes(), passwords=passwords)
        assert not ran.reasons, one.name
        assert sum(found.score for found in ran.findings) < 300
        assert time.process_time() - began < 10
        read += result(ran)["pages"]
    assert read > 250
    attached = scan(samples.content("pypdf", "attachment.pdf"))
    assert attached.contents["jpeg.pdf"].startswith(b"%PDF-")
