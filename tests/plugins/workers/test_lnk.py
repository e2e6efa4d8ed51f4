"""Shortcuts: their texts, and what is appended to them."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from plugins._formats.executables.shortcut import HEADER
from plugins.workers.lnk import Lnk
from stoq_core.testing import make, run


def lnk(arguments: str = "/c start calc.exe & exit", *, wide: bool = True, extra: bytes = b"") -> bytes:
    """A shortcut with a list of ids, a path, arguments and a block of extra data."""
    flags = 1 | 2 | 1 << 5 | 0x80 * wide
    head = (HEADER + struct.pack("<I", flags)).ljust(76, b"\0")
    path = b"C:\\Windows\\System32\\cmd.exe\0"
    info = struct.pack("<7I", 28 + len(path), 28, 1, 0, 28, 0, 0) + path
    text = arguments.encode("utf-16-le" if wide else "cp1252")
    return head + b"\4\0ids\0" + info + struct.pack("<H", len(arguments)) + text + extra + bytes(4)


def test_what_it_starts() -> None:
    """Path and arguments, in either width; nothing is appended."""
    for wide in (True, False):
        ran = run(make(Lnk), lnk(wide=wide))
        assert ran.result is not None
        told = {name: text for name, text in ran.result.items() if text}
        assert told == {"target": "C:\\Windows\\System32\\cmd.exe", "arguments": "/c start calc.exe & exit"}
        assert (ran.findings, ran.contents) == ([], {"arguments.txt": b"/c start calc.exe & exit"})


def test_what_is_appended_is_a_child() -> None:
    """Behind the block that ends the extra data; short arguments are none."""
    block = struct.pack("<II", 20, 0xA0000001) + bytes(12)
    ran = run(make(Lnk), lnk("x", extra=block) + b"MSCF and more")
    assert ran.contents == {"tail": b"MSCF and more"}
    assert [one.name for one in ran.findings] == ["lnk_appended"]


def test_sizes_that_lie_hide_nothing() -> None:
    """A block longer than the file ends the structure before it."""
    ran = run(make(Lnk), lnk("x", extra=struct.pack("<II", 0xFFFF, 1) + b"hidden words"))
    assert b"hidden words" in ran.contents["tail"]


@given(st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    """Behind the header's mark: a result, and no error."""
    assert run(make(Lnk), HEADER + content).error is None
