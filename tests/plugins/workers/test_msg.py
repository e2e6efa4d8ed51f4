"""Outlook messages as mails: headers, recipients, named properties, bodies of every kind, attachments, messages inside."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.workers.msg import Msg
from stoq_core.testing import Ran, make, run
from tests.office_files import compound

HEADERS = "Received: from a by b; Tue, 1 Jul 2025 10:00:00 +0200\r\nFrom: Alice <alice@example.com>\r\nSubject: hi\r\n"
HTML_RTF = (
    rb"{\rtf1\ansi\fromhtml1 {\fonttbl{\f0 Arial;}}{\*\htmltag19 <html>}\htmlrtf {\htmlrtf0 "
    rb"{\*\htmltag84 <b>}caf\'e9 \u8364 ?\htmlrtf \par\htmlrtf0 {\*\htmltag92 </b>}\{x\}}"
)


def stored(rtf: bytes) -> bytes:
    """RTF in the format that stores it as it is."""
    return struct.pack("<IIII", len(rtf) + 12, len(rtf), 0x414C454D, 0) + rtf


def wide(text: str) -> bytes:
    """UTF-16."""
    return text.encode("utf-16-le")


def fixed(*rows: tuple[int, int, int], head: int = 32) -> bytes:
    """A property stream."""
    return bytes(head) + b"".join(
        struct.pack("<HHIQ", kind, number, 6, value) for kind, number, value in rows
    )


STREAMS = {
    "__properties_version1.0": fixed(
        (0x40, 0x0039, 133_000_000_000_000_000), (0x03, 0x3FFD, 1252), (0x03, 0x8001, 7)
    ),
    "__substg1.0_0037001F": wide("The subject"),
    "__substg1.0_0C1A001E": b"Alice",
    "__substg1.0_007D001F": wide(HEADERS),
    "__substg1.0_1000001F": wide("password: s3cret9 and http://a.example.com/x"),
    "__substg1.0_10090102": stored(HTML_RTF),
    "__substg1.0_8000001F": wide("a value"),
    "__nameid_version1.0/__substg1.0_00030102": struct.pack("<IHHIHH", 0, 1, 0, 0x8554, 0, 1),
    "__nameid_version1.0/__substg1.0_00040102": struct.pack("<I", 12) + wide("MyProp"),
    "__recip_version1.0_#00000000/__properties_version1.0": fixed(head=8),
    "__recip_version1.0_#00000000/__substg1.0_3001001F": wide("Bob"),
    "__recip_version1.0_#00000000/__substg1.0_39FE001F": wide("bob@example.org"),
    "__attach_version1.0_#00000000/__properties_version1.0": fixed(head=8),
    "__attach_version1.0_#00000000/__substg1.0_3707001F": wide("invoice.pdf.exe"),
    "__attach_version1.0_#00000000/__substg1.0_3704001F": wide("INVOIC~1.EXE"),
    "__attach_version1.0_#00000000/__substg1.0_37010102": b"MZ the attachment",
    "__attach_version1.0_#00000001/__substg1.0_3001001F": wide("Inner"),
    "__attach_version1.0_#00000001/__substg1.0_3701000D/__properties_version1.0": fixed(head=24),
    "__attach_version1.0_#00000001/__substg1.0_3701000D/__substg1.0_1000001E": b"the inner body",
}


def scan(content: bytes) -> Ran:
    """Run the worker."""
    return run(make(Msg), content)


def test_a_message_is_a_mail() -> None:
    """Bodies (the HTML out of the RTF, too) and attachments, those of a message inside as well, by their names."""
    ran = scan(compound(STREAMS))
    assert ran.reasons == set()
    found = [
        (one.meta.extra_data["part"], one.meta.extra_data["filename"], one.body.content())
        for one in ran.children
    ]
    assert found == [
        ("1", "body.txt", b"password: s3cret9 and http://a.example.com/x"),
        ("1", "body.rtf", HTML_RTF),
        ("1", "body.html", "<html><b>café €</b>{x}".encode()),
        ("1.1", "invoice.pdf.exe", b"MZ the attachment"),
        ("1.2", "body.txt", b"the inner body"),
    ]
    assert {one.name for one in ran.findings} == {"name_double_extension"}
    assert "s3cret9" in [one.value for one in ran.hints]


def test_what_the_message_says() -> None:
    """Properties, named ones by name and number, recipients, and its headers as a mail's."""
    result = scan(compound(STREAMS)).result
    assert result is not None
    assert result["properties"]["subject"] == "The subject"
    assert result["properties"]["sender_name"] == "Alice"
    assert result["properties"]["sent"].startswith("2022-")
    assert result["named"] == {"MyProp": "a value", "0x8554": 7}
    assert result["recipients"] == [{"address": "bob@example.org", "name": "Bob"}]
    assert result["headers"]["subject"] == "hi"
    assert result["hops"][0]["sender"] == "a"
    assert result["urls"] == ["http://a.example.com/x"]
    assert [one["filename"] for one in result["attachments"]] == ["invoice.pdf.exe", "Inner"]


@pytest.mark.parametrize(
    ("page", "text"), [(20127, "plain"), (28591, "café"), (1251, "\u0439"), (99999, "café")]
)
def test_code_pages(page: int, text: str) -> None:
    """Eight-bit texts are read by the page that the message names, whatever Windows calls it."""
    codec = {20127: "ascii", 28591: "latin-1", 1251: "cp1251", 99999: "cp1252"}[page]
    streams = {
        "__properties_version1.0": fixed((0x03, 0x3FFD, page)),
        "__substg1.0_0037001E": text.encode(codec),
    }
    result = scan(compound(streams)).result
    assert result is not None
    assert result["properties"]["subject"] == text


def test_damaged_rtf_is_named() -> None:
    """What inflates is scanned, and the verdict is not clean."""
    broken = {**STREAMS, "__substg1.0_10090102": stored(HTML_RTF)[:-20]}
    assert scan(compound(broken)).reasons == {"corrupt"}


def test_other_compound_files_are_left_alone() -> None:
    """A document has no such properties."""
    ran = scan(compound({"WordDocument": b"x" * 100}))
    assert (ran.result, ran.children) == (None, [])


WHOLE = compound(STREAMS)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=8)), max_size=6))
def test_any_bytes(damage: list[tuple[int, bytes]]) -> None:
    """Damaged bytes end in a result or an error of the compound file."""
    broken = bytearray(WHOLE)
    for at, what in damage:
        broken[at : at + len(what)] = what
    scan(bytes(broken))
