"""Nothing in a hostile name moves, hides or turns what stands around it, and no escape is ambiguous."""

from __future__ import annotations

import ast
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoq_core.visible import visible, visible_json

HIDDEN = [
    *map(
        chr, (0, 0x0A, 0x1B, 0x7F, 0x9B, 0xA0, 0xAD, 0x034F, 0x180E, 0x200B, 0x200D, 0x2028, 0x202E, 0x2066)
    ),
    *map(chr, (0x2800, 0x3164, 0xDC80, 0xE000, 0xFE0F, 0xFEFF, 0xE0001, 0xE0100)),
]


@pytest.mark.parametrize("hidden", HIDDEN, ids=ascii)
def test_what_is_escaped(hidden: str) -> None:
    """Controls, C1, directions, nothing wide or blank, private use, lone surrogates."""
    shown = visible(f"exe{hidden}txt.")
    assert (
        shown == f"exe\\u{ord(hidden):04x}txt." if ord(hidden) < 0x10000 else f"exe\\U{ord(hidden):08x}txt."
    )
    assert shown.isascii()
    assert shown.isprintable()


def test_what_stays() -> None:
    """Letters of all scripts, marks on them, pictures; a backslash is doubled."""
    assert visible("Ünïcode 文件 ملف 👍 e\u0301") == "Ünïcode 文件 ملف 👍 e\u0301"
    assert visible("C:\\x") == "C:\\\\x"
    assert visible("\\u202e") == "\\\\u202e"


@given(st.text())
def test_escapes_are_unambiguous(text: str) -> None:
    """They lead back to the text, as Python reads them, and are printable in between."""
    shown = visible(text)
    assert all(one.isprintable() for one in shown)
    assert ast.literal_eval('"' + shown.replace('"', '\\"') + '"') == text


@given(
    st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_json_stays_the_same_json(value: object) -> None:
    """Whatever is written with escapes is read as it was."""
    written = json.dumps(value, ensure_ascii=False)
    shown = visible_json(written)
    assert json.loads(shown) == json.loads(written)
    assert all(one.isprintable() for one in shown)
