"""Java classes: a real one, every tag of the constant pool, hostile lengths, polyglots."""

from __future__ import annotations

import struct
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.workers.javaclass import Javaclass
from stoq_core.testing import Ran, make, run
from tests import samples
from tests.binaries import java_class, utf8

EMPTY = struct.pack(">HHHHHHH", 0x21, 0, 0, 0, 0, 0, 0)
"""Access flags, this, super, and no interface, field, method or attribute."""


def read(content: bytes, **options: Any) -> Ran:
    """Run the worker."""
    return run(make(Javaclass, **options), content)


def result(content: bytes, **options: Any) -> dict[str, Any]:
    """Its result, for a class that is whole."""
    ran = read(content, **options)
    assert (ran.error, ran.errors) == (None, [])
    assert ran.result is not None
    return ran.result


def test_a_real_class() -> None:
    """Name, super class, members with their types, what it needs, its strings and its source."""
    file = samples.content("hachoir", "ReferenceMap.class")
    found = result(file)
    assert (found["class_name"], found["super_class"]) == (
        "org.apache.commons.collections.ReferenceMap",
        "java.util.AbstractMap",
    )
    assert (found["major"], found["minor"], found["java"], found["source_file"]) == (
        45,
        3,
        "1.1",
        "ReferenceMap.java",
    )
    assert {"name": "loadFactor:float", "flags": ["private"]} in found["fields"]
    assert {"name": "<init>(int, int, boolean):void", "flags": ["public"]} in found["methods"]
    assert "java.util.AbstractMap.<init>():void" in found["required"]
    assert "java.lang.ref.ReferenceQueue" in found["required"]
    assert "org.apache.commons.collections.ReferenceMap.purge():void" in found["provided"]
    assert {"id": "string", "data": "null keys not allowed"} in found["constants"]
    assert "trailing_bytes" not in found


def test_every_tag_up_to_java_23() -> None:
    """All seventeen tags are read, the two-number ones counted twice, and the names behind them found."""
    pool = [
        utf8(b"com/evil/Main"),  # 1
        b"\x07\0\x01",  # 2 class
        utf8(b"http://example.test/stage2"),  # 3
        b"\x08\0\x03",  # 4 string
        b"\x03" + struct.pack(">i", -1_234_567),  # 5
        b"\x04" + struct.pack(">f", 1.5),  # 6
        b"\x05" + struct.pack(">q", 1 << 40),  # 7 and 8
        b"\x06" + struct.pack(">d", 2.5),  # 9 and 10
        utf8(b"exec"),  # 11
        utf8(b"([Ljava/lang/String;J[[B)Ljava/lang/Process;"),  # 12
        b"\x0c\0\x0b\0\x0c",  # 13 name and type
        utf8(b"java/lang/Runtime"),  # 14
        b"\x07\0\x0e",  # 15
        b"\x0a\0\x0f\0\x0d",  # 16 method
        b"\x09\0\x0f\0\x0d",  # 17 field
        b"\x0b\0\x0f\0\x0d",  # 18 interface method
        b"\x0f\x06\0\x10",  # 19 method handle
        b"\x10\0\x0c",  # 20 method type
        b"\x11\0\0\0\x0d",  # 21 dynamic
        b"\x12\0\0\0\x0d",  # 22 invoke dynamic
        b"\x13\0\x01",  # 23 module
        b"\x14\0\x01",  # 24 package
    ]
    found = result(java_class(pool, struct.pack(">HHHHHHH", 0x21, 2, 15, 0, 0, 0, 0)))
    assert (found["class_name"], found["super_class"], found["java"]) == (
        "com.evil.Main",
        "java.lang.Runtime",
        "23",
    )
    assert found["flags"] == ["public", "super"]
    assert {(one["id"], one["data"]) for one in found["constants"]} == {
        ("string", "http://example.test/stage2"), ("int", "-1234567"), ("long", "1099511627776"),
    }  # fmt: skip
    assert "java.lang.Runtime.exec(java.lang.String[], long, byte[][]):java.lang.Process" in found["required"]
    short = {one["id"] for one in result(java_class(pool, EMPTY), min_constant_chars=0)["constants"]}
    assert short == {"string", "int", "float", "long", "double"}


def test_modified_utf8() -> None:
    """NUL as two bytes, characters beyond the first plane as two surrogates (JVMS 4.4.7); junk is text."""
    text = "a\0b\N{GRINNING FACE}".encode("utf-16-be", "surrogatepass")
    units = struct.unpack(f">{len(text) // 2}H", text)
    packed = b"".join(b"\xc0\x80" if not one else chr(one).encode("utf-8", "surrogatepass") for one in units)
    found = result(
        java_class([utf8(packed), b"\x08\0\x01", utf8(b"\xff\xfe\xed\xa0")], EMPTY), min_constant_chars=0
    )
    assert found["constants"] == [{"id": "string", "data": "a\\u0000b\N{GRINNING FACE}"}]


def test_a_fat_mach_o_does_not_concern_it() -> None:
    """It begins with the same four bytes."""
    for file in samples.folder("hachoir").glob("*.macho"):
        ran = read(file.read_bytes())
        assert (ran.result, ran.error) == (None, None)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (java_class([utf8(b"abc")], count=65_535), "truncated"),
        (java_class([b"\x01\xff\xffabc"]), "truncated"),
        (java_class([b"\x02\0\0"]), "corrupt"),
        (java_class([b"\x63"]), "corrupt"),
        (java_class([], struct.pack(">HHHH", 1, 0, 0, 65_535)), "truncated"),
        (java_class([], struct.pack(">HHHHH", 1, 0, 0, 0, 65_535) + bytes(64)), "truncated"),
        (java_class([], EMPTY[:-2] + b"\0\x01\0\0\xff\xff\xff\xff"), "truncated"),
    ],
)
def test_lengths_are_not_believed(content: bytes, code: str) -> None:
    """A count or length beyond the end is `truncated`, an unknown tag `corrupt`; the version still stands."""
    ran = read(content)
    assert ran.error is not None
    assert (ran.error.code, ran.reasons) == (code, {code})
    assert ran.result is not None
    assert ran.result["java"] == "23"


def test_numbers_that_lead_in_circles() -> None:
    """A class that is its own name, a name beyond the pool, a string of a number: empty, not endless."""
    pool = [b"\x07\0\x01", b"\x08\0\x02", b"\x0a\xff\xff\0\x03", b"\x0c\0\x04\0\x04", b"\x07\xff\xff"]
    found = result(java_class(pool, struct.pack(">HHHHHHH", 0, 1, 5, 0, 0, 0, 0)), min_constant_chars=0)
    assert "class_name" not in found


def test_one_long_name_for_all_constants() -> None:
    """65,000 references to one name of 65,535 characters: time and result stay small."""
    pool = [
        utf8(b"x" * 65_535),
        b"\x07\0\x01",
        b"\x0c\0\x01\0\x01",
        *[b"\x0a\0\x02\0\x03"] * 60_000,
        *[b"\x08\0\x01"] * 5_000,
    ]
    began = time.process_time()
    found = result(java_class(pool, EMPTY))
    assert time.process_time() - began < 5
    assert "required" in found["cut"] or "constants" in found["cut"]
    assert sum(len(one["data"]) for one in found["constants"]) < 1_000_000


def test_what_follows_the_class_is_a_child() -> None:
    """A polyglot's other half is handed on with its offset."""
    content = java_class([utf8(b"A")], EMPTY)
    ran = read(content + b"PK\x03\x04 and so on, a jar")
    assert ran.contents == {"trailing": b"PK\x03\x04 and so on, a jar"}
    assert ran.children[0].meta.extra_data["offset"] == len(content)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(range(22)), max_size=12), st.binary(max_size=200))
def test_any_bytes(tags: list[int], rest: bytes) -> None:
    """Any pool and any bytes behind it end in a result, or in `corrupt` or `truncated`."""
    pool = [bytes([tag]) + rest[at : at + 4] for at, tag in enumerate(tags)]
    ran = read(java_class(pool, rest))
    assert ran.error is None or ran.error.code in ("corrupt", "truncated")
    assert ran.result is not None
