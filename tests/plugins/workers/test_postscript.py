"""PostScript: data read through filters, strings in ASCII85, the parts of a binary EPS."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.workers.postscript import Postscript
from stoq_core.testing import Ran, make, payload, run

HEAD = b"%!PS-Adobe-3.0\n"
MARK = b"a text that nobody may pass over "
FLATE = zlib.compress(MARK * 3)


def scan(content: bytes, **job: Any) -> Ran:
    """Run the worker."""
    return run(make(Postscript), payload(content, "a.ps"), **job)


@pytest.mark.parametrize(
    ("filters", "data"),
    [
        (b"/ASCII85Decode filter /FlateDecode filter cvx exec", base64.a85encode(FLATE) + b"~>"),
        (b"/ASCIIHexDecode filter /FlateDecode filter cvx exec", FLATE.hex().encode() + b">"),
        (b"/FlateDecode filter cvx exec", FLATE), (b"/ASCIIHexDecode filter cvx exec", MARK.hex().encode() + b">"),
        (b"0 (%eof) /SubFileDecode filter\n/FlateDecode filter exec", FLATE),
    ],
)  # fmt: skip
def test_filters(filters: bytes, data: bytes) -> None:
    """One behind the other, as the program names them; what follows is searched as it stands."""
    ran = scan(HEAD + b"currentfile " + filters + b"\n" + data + b"\nshowpage\n")
    assert any(MARK in child.body.content() for child in ran.children)
    assert not ran.reasons


def test_a_string_in_ascii85() -> None:
    """Outside of filters, too."""
    assert MARK in scan(HEAD + b"<~" + base64.a85encode(MARK) + b"~> cvx exec").children[0].body.content()


def test_damage_and_truncation() -> None:
    """What decodes is scanned; the rest has a reason."""
    text = HEAD + b"currentfile /FlateDecode filter cvx exec\n"
    assert "corrupt" in scan(text + zlib.compress(bytes(range(256)) * 99)[:80]).reasons
    assert "corrupt" in scan(text + b"\x78\x9c\xff\xff\xff").reasons


def test_a_bomb() -> None:
    """It ends at the limits."""
    ran = scan(HEAD + b"currentfile /FlateDecode filter\n" + zlib.compress(bytes(1 << 28), 9))
    assert sum(child.body.size for child in ran.children) < 1 << 28 or not ran.reasons


def test_a_binary_eps() -> None:
    """Program and preview are children; what neither claims is one more."""
    program, preview = HEAD + b"showpage\n", b"II*\0" + bytes(60) + b"pixels" * 9
    head = b"\xc5\xd0\xd3\xc6" + struct.pack(
        "<6IH", 32, len(program), 0, 0, 32 + len(program), len(preview), 65535
    )
    ran = scan(head + bytes(2) + program + preview + MARK)
    assert [child.body.content() for child in ran.children] == [program, preview, MARK]


def test_a_plain_program_has_no_children() -> None:
    """Text is searched as it stands."""
    ran = scan(HEAD + b"/Times findfont 12 scalefont setfont\n(text) show showpage\n%%EOF\n")
    assert not ran.children
    assert ran.result is None


@given(st.binary(max_size=300))
def test_any_bytes(content: bytes) -> None:
    """Arbitrary bytes behind filters end in children or reasons."""
    scan(HEAD + b"currentfile /ASCII85Decode filter /LZWDecode filter /RunLengthDecode filter\n" + content)
    scan(b"\xc5\xd0\xd3\xc6" + content)
