"""PyInstaller's programs: their archive, the modules in it, and tables that lie."""

from __future__ import annotations

import marshal
import random
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins._formats.archives.marshalled import Marshalled
from plugins._formats.filetype import identify
from plugins.workers.carve import Carve
from plugins.workers.decompress import Decompress
from stoq_core.testing import Ran, make, payload, run

CODE = b"\xe3" + bytes(20)
MAGIC = b"\xa7\r\r\n"
PYC = MAGIC + bytes(12) + CODE


def pyz(modules: dict[str, bytes], table: Any = None) -> bytes:
    """A PYZ of these modules."""
    body, rows = b"", []
    for name, code in modules.items():
        packed = zlib.compress(code)
        rows.append((name, (0, 12 + len(body), len(packed))))
        body += packed
    if table is None:
        table = rows
    return b"PYZ\0" + MAGIC + struct.pack(">I", 12 + len(body)) + body + marshal.dumps(table)


def carchive(entries: dict[tuple[str, bytes], bytes], *, old: bool = False, lie: int = 0) -> bytes:
    """An archive of entries by name and kind; `lie` is added to each claimed size."""
    body = table = b""
    for (name, kind), content in entries.items():
        packed = content if kind == b"z" else zlib.compress(content)
        raw = name.encode() + b"\0" * (16 - len(name) % 16)
        fields = (18 + len(raw), len(body), len(packed) + lie, len(content), kind != b"z", kind)
        table += struct.pack(">IIIIBc", *fields) + raw
        body += packed
    cookie = struct.pack(">IIII", len(body) + len(table) + (24 if old else 88), len(body), len(table), 311)
    return (
        body + table + b"MEI\x0c\x0b\x0a\x0b\x0e" + cookie + (b"" if old else b"libpython".ljust(64, b"\0"))
    )


def unpack(content: bytes) -> Ran:
    """Run the worker."""
    return run(make(Decompress), payload(content))


@pytest.mark.parametrize("old", [False, True])
def test_every_entry_comes_out(old: bool) -> None:
    """Scripts with the header of the interpreter that the PYZ names, data as it is."""
    modules = pyz({"evil": CODE})
    archive = carchive(
        {("main", b"s"): CODE, ("d/x.txt", b"x"): b"data", ("PYZ.pyz", b"z"): modules}, old=old
    )
    assert identify(memoryview(archive)).label == "pyinstaller"
    ran = unpack(archive)
    assert (ran.reasons, ran.contents) == (set(), {"main.pyc": PYC, "d/x.txt": b"data", "PYZ.pyz": modules})


def test_modules_of_a_pyz_are_named() -> None:
    """As `.pyc` files; a namespace has none. What no row names is a child."""
    content = pyz({"evil": CODE, "evil.inner": CODE + b"1"})
    ran = unpack(content)
    assert (ran.reasons, ran.contents) == (set(), {"evil.pyc": PYC, "evil.inner.pyc": PYC + b"1"})
    assert unpack(pyz({}, [("package", (3, 0, 0))])).contents == {}
    assert "gap" in unpack(pyz({"hidden": CODE}, [])).contents


def test_it_is_found_behind_a_program_and_before_a_signature() -> None:
    """Its mark stands at its end."""
    archive = carchive({("main", b"s"): CODE, ("PYZ.pyz", b"z"): pyz({"a": CODE})})
    lead = random.Random(1).randbytes(3_000)
    children = run(make(Carve), payload(lead + archive + lead[:500])).children
    assert [one.body.content() for one in children] == [archive]


def test_tables_that_lie() -> None:
    """Entries that are cut short or claimed over and over, a table that breaks off, no table at all."""
    assert "truncated" in unpack(carchive({("main", b"s"): CODE}, lie=5_000)).reasons
    assert unpack(carchive({("main", b"z"): CODE})[:-88] + b"\0" * 88).contents == {}
    assert "ratio" in unpack(pyz({"a": CODE}, [("a", (0, 12, 1 << 30))] * 5)).reasons
    assert unpack(pyz({"a": CODE}, "no table")).contents.keys() <= {"gap", "tail"}
    assert unpack(pyz({"a": CODE}, [("a", "row")])).reasons == {"corrupt"}
    assert unpack(pyz({"a": CODE})[:-3]).reasons == {"corrupt"}
    assert unpack(b"PYZ\0" + MAGIC + b"\0\0\0\x0c" + b"(" * 500).reasons == {"corrupt"}


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**60), 2**60)
        | st.text(max_size=20)
        | st.binary(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner),
        max_leaves=12,
    )
)
def test_values_are_read_as_they_were_written(value: Any) -> None:
    """Lists and tuples as lists, texts as their bytes."""

    def plain(one: Any) -> Any:
        if isinstance(one, (list, tuple)):
            return [plain(inner) for inner in one]
        if isinstance(one, str):
            return one.encode("utf-8", "surrogatepass")
        return int(one) if isinstance(one, bool) else one

    assert Marshalled(memoryview(marshal.dumps(value)), 0).value() == plain(value)


@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_reason(content: bytes) -> None:
    """Behind either mark."""
    assert unpack(b"PYZ\0" + MAGIC + b"\0\0\0\x0c" + content).error is None
    assert unpack(content + carchive({("a", b"s"): CODE})[-120:]).error is None
