"""Symhash: one digest a slice, the same as another implementation's."""

from __future__ import annotations

import hashlib
import struct

import yara_x
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.workers.symhash import Symhash
from stoq_core.body import Body, anonymous_file, write_all
from stoq_core.testing import make, payload, run
from tests import samples


def files() -> dict[str, bytes]:
    """Two fat Mach-Os of two slices each."""
    return {one.name: one.read_bytes() for one in samples.folder("hachoir").glob("*.macho")}


def by_yara(content: bytes) -> str:
    """What yara-x says of the first slice."""
    said: list[str] = []
    scanner = yara_x.Scanner(
        yara_x.compile('import "macho" import "console" rule a { condition: console.log(macho.symhash()) }')
    )
    scanner.console_log(said.append)
    scanner.scan(content)
    return said[0]


def test_each_slice_has_its_own() -> None:
    """By processor; the digests of the slices alone are those of the slices within the fat file."""
    found = {name: run(make(Symhash), content).result for name, content in files().items()}
    assert found == {
        "macos_10.12.macho": {
            "symhash": {
                "X86": "e4cce50a95ec8387770df669df413dd2",
                "X86_64": "e4cce50a95ec8387770df669df413dd2",
            }
        },
        "macos_10.5.macho": {
            "symhash": {
                "POWERPC": "73500e1fc0bc2fd97deaad4a8f18b10d",
                "X86": "9a2cba492e8df547934ef8f3658a4202",
            }
        },
    }
    content = files()["macos_10.5.macho"]
    assert run(make(Symhash), content[49152:]).result == {
        "symhash": {"X86": "9a2cba492e8df547934ef8f3658a4202"}
    }


def test_as_yara_x_has_it() -> None:
    """An independent implementation gives the same digest for the first slice and for each alone."""
    for content in files().values():
        for start in (0, int.from_bytes(content[16:20], "big"), int.from_bytes(content[36:40], "big")):
            found = run(make(Symhash), content[start:]).result
            assert found is not None
            assert next(iter(found["symhash"].values())) == by_yara(content[start:])


def by_hand(slice_: bytes) -> str:
    """The digest of a big-endian 32-bit slice, its symbols walked here (<mach-o/nlist.h>)."""
    at, names = 28, []
    for _ in range(int.from_bytes(slice_[16:20], "big")):
        command, size, symbols, count, strings = struct.unpack_from(">IIIII", slice_, at)
        if command == 2:  # LC_SYMTAB
            for name_at, kind in (
                struct.unpack_from(">IB", slice_, symbols + 12 * one) for one in range(count)
            ):
                if kind & 0xE0 == 0 and kind & 1 and not kind & 0xE:
                    names.append(slice_[strings + name_at :].partition(b"\0")[0])
        at += size
    return hashlib.md5(b",".join(sorted(names))).hexdigest()


def test_names_that_are_no_text() -> None:
    """A symbol whose bytes are no UTF-8 counts with those bytes beside the others."""
    content = files()["macos_10.5.macho"][4096:49152]
    changed = content.replace(b"class_name_NSNumber\0", b"class_name_\xff\xfeNumber\0")
    for one in (content, changed):
        assert run(make(Symhash), one).result == {"symhash": {"POWERPC": by_hand(one)}}
    assert by_hand(content) != by_hand(changed)


def test_what_has_none() -> None:
    """A Java class, a stripped header and nothing at all: no result and no error."""
    java = samples.content("hachoir", "ReferenceMap.class")
    for content in (java, b"\xcf\xfa\xed\xfe" + bytes(28), b"\xca\xfe\xba\xbe", b""):
        ran = run(make(Symhash), content)
        assert (ran.result, ran.error) == (None, None)


def test_a_large_body_is_read_where_it_lies() -> None:
    """A payload behind a descriptor gives the same result."""
    content = files()["macos_10.5.macho"]
    fd = anonymous_file()
    write_all(fd, content)
    assert run(make(Symhash), payload(Body.from_fd(fd))).result == run(make(Symhash), content).result


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([b"\xca\xfe\xba\xbe\0\0\0\2", b"\xce\xfa\xed\xfe", b"\xfe\xed\xfa\xcf"]),
    st.binary(max_size=300),
)
def test_any_bytes(magic: bytes, content: bytes) -> None:
    """Any bytes end in a result or in nothing."""
    assert run(make(Symhash), magic + content).error is None
