"""RTF: objects as Word reads them, packed files, remote templates, and the tricks that hide them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.workers.rtf import Rtf
from stoq_core.limits import RequestLimits
from stoq_core.testing import Ran, make, run
from tests import samples
from tests.office_files import compound, ole1_object, rtf
from tests.office_files import package as packed

OBJECT = ole1_object(b"Package", packed("note.txt", b"the file"))


def scan(content: bytes, **options: Any) -> Ran:
    """Run the worker."""
    return run(make(Rtf, **options), content)


def objects(content: bytes) -> list[dict[str, Any]]:
    """The objects in its result."""
    found = scan(content).result
    assert found is not None
    listed: list[dict[str, Any]] = found["objects"]
    return listed


def test_a_package_is_unwrapped() -> None:
    """The file in it is the child, under its own name."""
    ran = scan(rtf(OBJECT))
    assert ran.contents == {"note.txt": b"the file"}
    assert ran.result is not None
    (one,) = ran.result["objects"]
    assert (one["class_name"], one["format"], one["name"], one["size"]) == (
        "Package",
        "embedded",
        "note.txt",
        8,
    )
    assert one["offset"] > 0
    assert not ran.reasons


def test_other_objects_are_their_content() -> None:
    """An object that is no package yields what it holds; data that is no object yields itself."""
    inner = compound({"a": b"x"})
    ran = scan(rtf(ole1_object(b"Word.Document.8", inner), b"no object at all"))
    assert [one.body.content() for one in ran.children] == [inner, b"no object at all"]
    assert [one["format"] for one in objects(rtf(ole1_object(b"X", b"y"), b"raw"))] == ["embedded", "raw"]


def test_bytes_behind_an_object() -> None:
    """What follows an object in the same data is a child of its own."""
    ran = scan(rtf(ole1_object(b"X", b"content") + b"shellcode behind the object"))
    assert [one.body.content() for one in ran.children] == [b"content", b"shellcode behind the object"]


def test_class_and_name_from_the_words_around() -> None:
    """`objclass` and `objname` name an object whose data does not."""
    content = b"{\\rtf1{\\object\\objemb{\\*\\objclass My.Class}{\\*\\objname N}{\\*\\objdata 00112233}}}"
    (one,) = objects(content)
    assert (one["class_name"], one["name"]) == ("My.Class", "N")


HEX = OBJECT.hex().encode()


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n".join(HEX[n : n + 2] for n in range(0, len(HEX), 2)), HEX.upper(), HEX[:40] + b"zz!?" + HEX[40:],
        HEX[:40] + b"{\\x " + HEX[40:80] + b"}" + HEX[80:], HEX[:40] + b"\\'aa" + HEX[40:],
        HEX[:40] + b"7\\'aa" + HEX[40:], HEX[:40] + b"\\bin%d " % len(OBJECT[20:]) + OBJECT[20:], HEX[:40] + b"\\bin-5 " + HEX[40:],
        HEX[:40] + b"\\par\\b0 " + HEX[40:], HEX + b"0", HEX[:40] + b"\\*" + HEX[40:],
    ],
)  # fmt: skip
def test_hidden_hex(data: bytes) -> None:
    r"""Blanks, garbage, groups, words, `\'` after an odd digit, `\bin` of either sign: Word reads through them."""
    assert scan(b"{\\rtf1{\\object{\\*\\objdata " + data + b"}}}").contents["note.txt"] == b"the file"


@pytest.mark.parametrize(
    ("content", "finding", "score"),
    [
        (b"{\\rtf1{\\*\\template http://evil.example/t.dotm}}", "rtf_remote_template", 600),
        (b"{\\rtf1{\\*\\template \\\\\\\\198.51.100.7\\\\x}}", "rtf_remote_template", 600),
        (b"{\\rtf1{\\*\\template C:/Normal.dotm}}", None, 0),
        (rtf(OBJECT, words=b"\\objemb\\objupdate"), "rtf_object_loads_at_once", 200),
        (rtf(ole1_object(b"OLE2Link", b"x" * 9 + "http://evil.example/a.hta".encode("utf-16-le"))), "rtf_remote_link", 1000),
        (rtf(ole1_object(b"OLE2Link", b"x" * 9)), None, 0),
        (rtf(ole1_object(b"eQuatiOn.3", b"\x1c" * 40)), "rtf_equation_object", 200),
        (rtf(ole1_object(b"Package", packed("a.exe", b"MZ"))), "ole_packed_executable", 500),
        (rtf(ole1_object(b"Package", packed("a.pdf.lnk", b"L"))), "name_double_extension", 600),
        (rtf(OBJECT), None, 0),
    ],
)  # fmt: skip
def test_findings(content: bytes, finding: str | None, score: int) -> None:
    """What the format itself says, with its score; ordinary objects and templates are none."""
    found = {one.name: one.score for one in scan(content).findings}
    assert found.get(finding or "", 0) == score
    assert finding is not None or not found


def test_the_link_is_named() -> None:
    """Where a linked object points is in the result."""
    (one,) = objects(rtf(ole1_object(b"OLE2Link", "http://evil.example/a.hta".encode("utf-16-le"))))
    assert one["target"] == "http://evil.example/a.hta"


def test_a_cut_object() -> None:
    """An object that claims more than there is is `truncated`; what is there is scanned."""
    cut = rtf(ole1_object(b"X", b"y" * 100)[:-50])
    ran = scan(cut)
    assert ran.reasons == {"truncated"}
    assert ran.children[0].body.content() == b"y" * 50
    assert scan(rtf(OBJECT)[:-60]).children


def test_what_is_no_rtf_is_left_alone() -> None:
    """Other files have no result, blanks in front of the mark do no harm."""
    assert scan(b"hello {\\rtf1").result is None
    assert scan(b"\r\n \t" + rtf(OBJECT)).contents == {"note.txt": b"the file"}


def test_the_library_reads_the_same() -> None:
    """On real files and on tricks the object data is what rtfobj reads."""
    from oletools.rtfobj import RtfObjParser

    from plugins._formats.office.rtf import RtfReader

    real = [
        one.read_bytes()
        for one in (*samples.files("oletools"), *samples.files("clamav"))
        if one.suffix == ".rtf" and one.stat().st_size < 10**6
    ]
    made = [rtf(OBJECT, b"abc"), b"{\\rtf1{\\object{\\*\\objdata 41{\\objclass x 42}43\\'zz4}\\objdata 44}"]
    for content in (*real, *made):
        parser = RtfObjParser(content)
        parser.parse()
        ours = {one.data: one.offset for one in RtfReader(content).read().objects}
        for one in parser.objects:
            # ours begins behind the blank that ends the control word
            assert 0 <= ours[one.rawdata] - one.start <= 1
    assert len(real) >= 2


def test_real_files() -> None:
    """The equation exploit of oletools' samples, and clamav's packed program."""
    exploit = scan(samples.content("oletools", "rtfobj/issue_251.rtf"))
    assert {"rtf_equation_object", "rtf_object_loads_at_once"} <= {one.name for one in exploit.findings}
    assert len(scan(samples.content("clamav", "clam.exe.rtf")).contents["Clam.exe"]) == 544


@pytest.mark.parametrize(
    "content",
    [
        b"{" * 500_000, b"{\\object" * 150_000, b"{\\rtf1{\\*\\objdata " + b"4\\'aa" * 200_000, b"\\b x" * 200_000,
        b"{\\rtf1{\\*\\objdata " + b"41{\\*\\objclass x}" * 60_000, b"{\\rtf1\\bin99999999999 x", b"\\" * 500_000,
        b"{\\rtf1{\\*\\template " + b"a\\b " * 200_000,
    ],
)  # fmt: skip
def test_bombs(content: bytes) -> None:
    """Half a megabyte of groups, words and quotes costs a second or two, not a square of it."""
    began = time.process_time()
    scan(b"{\\rtf1" + content)
    assert time.process_time() - began < 6


def test_more_objects_than_are_taken() -> None:
    """Past `max_objects` they are one child together; past the request's children a reason is left."""
    many = rtf(*[b"raw data %d" % n for n in range(30)])
    assert b"raw data 29" in scan(many, max_objects=10).contents["objects-more.bin"]
    few = run(make(Rtf), many, limits=RequestLimits(payloads=5))
    assert len(few.children) == 5
    assert few.result is not None
    assert few.error is not None


PIECES = [
    b"{",
    b"}",
    b"\\object",
    b"{\\*\\objdata ",
    HEX[:60],
    HEX,
    b"\\'",
    b"\\bin4 ",
    b"\\bin",
    b"\\objupdate ",
    b"\\",
    b"{\\*\\template ",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=20), st.sampled_from(PIECES)), max_size=40))
def test_any_bytes(parts: list[bytes]) -> None:
    """Arbitrary bytes behind the mark end in a result, within the limits."""
    content = b"{\\rtf1" + b"".join(parts)
    ran = scan(content)
    assert ran.error is None
    assert sum(one.body.size for one in ran.children) <= 4 * len(content)
