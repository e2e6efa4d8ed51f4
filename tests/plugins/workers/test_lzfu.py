"""Compressed RTF as a file of its own: the RTF, the HTML it was made of, damage, and a bomb."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from plugins._formats.filetype import identify
from plugins.workers.lzfu import Lzfu
from stoq_core.testing import Ran, make, run

EXAMPLE = bytes.fromhex(
    "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0"
)
"""MS-OXRTFCP 3.1."""


def scan(content: bytes) -> Ran:
    """Run the worker."""
    return run(make(Lzfu), content)


def test_the_example_of_the_specification() -> None:
    """The RTF is a child, and nothing is left over; the type is known by its mark."""
    ran = scan(EXAMPLE)
    assert ran.contents == {"body.rtf": b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"}
    assert ran.reasons == set()
    assert identify(memoryview(EXAMPLE)).label == "lzfu"


def test_html_comes_out() -> None:
    """RTF that was made of HTML gives it back; what stands behind the text is a child."""
    rtf = b"{\\rtf1\\fromhtml1{\\*\\htmltag <script>}alert(1){\\*\\htmltag </script>}}"
    stored = struct.pack("<IIII", len(rtf) + 12, len(rtf), 0x414C454D, 0) + rtf
    ran = scan(stored + b"bytes behind it")
    assert ran.contents == {
        "body.rtf": rtf,
        "body.html": b"<script>alert(1)</script>",
        "tail": b"bytes behind it",
    }


def test_damage_and_bombs_are_named() -> None:
    """A text that ends early, or claims gigabytes, is `corrupt`, and what there is is scanned."""
    assert scan(EXAMPLE[:30]).reasons == {"corrupt"}
    bomb = struct.pack("<IIII", 0, 0xFFFFFFFF, 0x75465A4C, 0) + (b"\xff" + b"\x00\x0f" * 8) * 10_000
    assert "corrupt" in scan(bomb).reasons


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Arbitrary bytes behind the mark end in a result."""
    scan(bytes(8) + b"LZFu" + data)
    scan(bytes(8) + b"LZFu" + data[:4] + b"{\\rtf1\\fromhtml1" + data)
