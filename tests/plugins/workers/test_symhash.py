"""Symhash: one digest a slice, the same as another implementation's."""

from __future__ import annotations

import yara_x
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.workers.symhash import Symhash
from stoq_core.body import Body, anonymous_file, write_all
from stoq_core.testing import make, payload, run
from tests.packages import sdist


def files() -> dict[str, bytes]:
    """Two fat Mach-Os of two slices each."""
    return {one.name: one.read_bytes() for one in sdist("hachoir==3.4.0").glob("*/tests/files/*.macho")}


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


def test_what_has_none() -> None:
    """A Java class, a stripped header and nothing at all: no result and no error."""
    java = next(sdist("hachoir==3.4.0").glob("*/tests/files/ReferenceMap.class")).read_bytes()
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
