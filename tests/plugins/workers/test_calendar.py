"""Calendars and contacts: values in base64, quoted-printable and `data:` URIs, folded in each way."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.workers.calendar import Calendar
from stoq_core.limits import RequestLimits
from stoq_core.testing import Ran, make, run

SCRIPT = b"WScript.Echo 1, a script of some length"
LETTERS = base64.b64encode(SCRIPT)
FOLDED = b"\r\n ".join(LETTERS[at : at + 9] for at in range(0, len(LETTERS), 9))
LINES = b"\r\n  ".join(LETTERS[at : at + 9] for at in range(0, len(LETTERS), 9))


def scan(content: bytes, **job: object) -> Ran:
    """Run the worker."""
    return run(make(Calendar), content, **job)


def event(line: bytes) -> bytes:
    """A calendar with one more line."""
    return b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:x\r\n" + line + b"\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"


@pytest.mark.parametrize(
    "line",
    [
        b"ATTACH;VALUE=BINARY;ENCODING=BASE64:" + LETTERS,
        b"ATTACH;FMTTYPE=text/plain;ENCODING=BASE64;VALUE=BINARY:" + FOLDED,
        b'attach;encoding="base64":' + LETTERS,
        b'ATTACH;X-A="a:b;c";VALUE=BINARY:' + LETTERS,
        b"ATTACH:data:text/javascript;base64," + LETTERS,
        b"PHOTO;ENCODING=b;TYPE=JPEG:" + FOLDED,
        b"PHOTO;BASE64;JPEG:\r\n  " + LINES + b"\r\n",
        b"PHOTO;ENCODING=BASE64:\r\n" + LETTERS[:20] + b"\r\n" + LETTERS[20:],
        b"item1.NOTE;ENCODING=QUOTED-PRINTABLE:WScript=2EEcho 1, a=\r\n script of some length",
        b"X-ALT-DESC:data:,WScript.Echo%201,%20a%20script%20of%20some%20length",
    ],
)
def test_values_come_out(line: bytes) -> None:
    """However the line is written and folded."""
    ran = scan(event(line))
    assert [text for name, text in ran.contents.items() if name != "unfolded.txt"] == [SCRIPT]


def test_names_are_kept_and_judged() -> None:
    """The name that the line states; one that hides what it is is a finding."""
    ran = scan(event(b"ATTACH;FILENAME=a.pdf.exe;ENCODING=BASE64:" + LETTERS))
    assert ran.children[0].meta.extra_data["filename"] == "a.pdf.exe"
    assert {one.name for one in ran.findings} == {"name_double_extension"}
    assert ran.result is not None
    assert ran.result["values"][0]["property"] == "ATTACH"


def test_folds_hide_no_words() -> None:
    """A word that is cut by folds stands whole in a child."""
    assert b"WScript.Echo" in scan(event(b"DESCRIPTION:WScr\r\n ipt.E\r\n\tcho")).contents["unfolded.txt"]


def test_an_ordinary_calendar_has_no_children() -> None:
    """Texts and links are searched as they stand."""
    ran = scan(event(b"ATTACH:https://example.com/a.pdf\r\nDESCRIPTION:see you: at four;then"))
    assert (ran.children, ran.reasons) == ([], set())


def test_many_values() -> None:
    """Past the request's children a reason is left, and the result is there."""
    ran = scan(
        event(b"\r\n".join(b"ATTACH;ENCODING=BASE64:" + LETTERS for _ in range(50))),
        limits=RequestLimits(payloads=10),
    )
    assert len(ran.children) == 10
    assert ran.error is not None
    assert ran.result is not None


PIECES = [
    b"BEGIN:VCARD\r\n",
    b"ATTACH;",
    b"ENCODING=BASE64",
    b":",
    b";",
    b'"',
    b"\r\n ",
    b"\n",
    LETTERS,
    b"data:;base64,",
    b"=",
]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=20)), max_size=30))
def test_any_bytes(parts: list[bytes]) -> None:
    """Arbitrary bytes end in a result."""
    assert scan(b"".join(parts)).error is None
