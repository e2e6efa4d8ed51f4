"""LIEF's view of PE, ELF and Mach-O: fields, bounds, silence, and bytes that are no binary."""

from __future__ import annotations

import os
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.workers.lief import Lief
from stoq_core.body import Body, anonymous_file, write_all
from stoq_core.errors import ConfigError
from stoq_core.testing import make, payload, run
from tests import samples
from tests.binaries import SECTION_RVA, imports, pe


def sample(name: str) -> bytes:
    """A file of hachoir's."""
    return samples.content("hachoir", name)


def result(content: bytes, **options: Any) -> dict[str, Any]:
    """The result of a file that is read."""
    ran = run(make(Lief, **options), content)
    assert (ran.error, ran.errors) == (None, [])
    assert ran.result is not None
    return ran.result


def elf(*, entry: int = 0x400078, flags: int = 5, segments: int = 1) -> bytes:
    """A small 64-bit ELF of so many equal segments."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 0x3E, 1, entry, 64, 0, 0, 64, 56, segments, 64, 0, 0)
    row = struct.pack("<IIQQQQQQ", 1, flags, 0, 0x400000, 0x400000, 0x1000, 0x1000, 0x1000)
    return head + row * segments + b"\x90" * 512


def test_elf() -> None:
    """Header, interpreter, sections with entropy, segments with rights, libraries, imports."""
    found = result(sample("get-versions.64bit.little.elf"))
    assert found["format"] == "elf"
    assert found["header"]["machine"] == "x86_64"
    assert found["header"]["interpreter"] == "/lib64/ld-linux-x86-64.so.2"
    assert found["libraries"] == ["libgpm.so.2", "libc.so.6"]
    assert "Gpm_GetServerVersion" in found["imports"]
    assert {one["name"]: one["flags"] for one in found["segments"]}["dynamic"] == "rw"
    assert next(one for one in found["sections"] if one["name"] == ".text")["entropy"] > 4
    assert (found["is_pie"], found["has_nx"]) == (False, True)


def test_elf_as_pyelftools_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An independent reader finds the same sections at the same places in each of its own test files."""
    monkeypatch.syspath_prepend(str(samples.source("pyelftools")))
    from elftools.elf.elffile import ELFFile  # type: ignore[import-not-found]

    compared = 0
    for file in samples.folder("pyelftools").glob("testfiles_for_readelf/*.elf"):
        found = run(make(Lief), file.read_bytes()).result
        with file.open("rb") as stream:
            theirs = [
                (one.name, one["sh_addr"], one["sh_offset"], one["sh_size"])
                for one in ELFFile(stream).iter_sections()
            ]
        if found is None or len(theirs) > 1000:
            continue
        ours = [
            (one["name"], one["virtual_address"], one["offset"], one["size"])
            for one in found.get("sections", [])
        ]
        compared += ours == theirs
    assert compared >= 40


def test_pe() -> None:
    """Imports are library and function."""
    table = imports(b"KERNEL32.dll", [b"VirtualAlloc"], SECTION_RVA)
    found = result(pe(table.ljust(512, b"\0"), directories={1: (SECTION_RVA, len(table))}))
    assert (found["format"], found["header"]["machine"]) == ("pe", "amd64")
    assert found["imports"] == ["KERNEL32.dll:VirtualAlloc"]
    assert found["libraries"] == ["KERNEL32.dll"]
    assert found["sections"][0]["virtual_address"] == SECTION_RVA


def test_fat_mach_o() -> None:
    """The first slice's fields, and all the others under `slices`."""
    found = result(sample("macos_10.5.macho"))
    assert (found["format"], found["header"]["cpu_type"]) == ("macho", "powerpc")
    assert [one["header"]["cpu_type"] for one in found["slices"]] == ["x86"]
    assert "/usr/lib/libSystem.B.dylib" in found["slices"][0]["libraries"]
    assert [one["name"] for one in found["segments"]][:2] == ["__PAGEZERO", "__TEXT"]
    newer = result(sample("macos_10.12.macho"))
    assert (newer["header"]["minos"], newer["header"]["dylinker"]) == ("10.12.0", "/usr/lib/dyld")


def test_fields_are_those_that_were_asked_for() -> None:
    """The header is always there; an unknown field stops the start."""
    found = result(sample("get-versions.64bit.little.elf"), fields=["libraries"])
    assert "libraries" in found
    assert "header" in found
    assert not {"sections", "segments", "imports", "exports"} & found.keys()
    with pytest.raises(ConfigError):
        make(Lief, fields=["everything"])


def test_findings_of_the_format() -> None:
    """Writable code, and an entry point outside of it; an ordinary program has neither."""
    assert run(make(Lief), elf()).findings == []
    assert [one.name for one in run(make(Lief), elf(flags=7)).findings] == ["binary_writable_code"]
    assert [one.name for one in run(make(Lief), elf(entry=0x1)).findings] == ["binary_entry_outside_segments"]


def test_tables_are_bounded() -> None:
    """60,000 segments are 1,000 and a word that there are more."""
    found = result(elf(segments=60_000))
    assert len(found["segments"]) == 1000
    assert found["cut"] == ["segments"]


def test_it_says_nothing_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    """The library's own log would be a line for each thing that it does not like."""
    for content in (elf()[:70], pe()[:200], b"\xcf\xfa\xed\xfe" + os.urandom(200), elf(segments=999)):
        run(make(Lief), content)
    assert capfd.readouterr().err == ""


def test_what_does_not_concern_it() -> None:
    """A Java class, a DOS program, other bytes: neither result nor error."""
    for content in (sample("ReferenceMap.class"), sample("twunk_16.exe"), b"MZ" + bytes(200), b"%PDF", b""):
        ran = run(make(Lief), content)
        assert (ran.result, ran.error, ran.errors) == (None, None, [])


def test_what_no_table_names_is_a_child() -> None:
    """Behind an ELF file and behind a Mach-O file; slices of a fat one are children."""
    for name in ("get-versions.64bit.little.elf", "macos_10.12.macho"):
        ran = run(make(Lief), sample(name) + b"appended words")
        assert ran.contents["tail"] == b"appended words"
    assert {"slice_0", "slice_1"} <= ran.contents.keys()


def test_what_it_cannot_read_is_corrupt() -> None:
    """A mark with nothing behind it that holds."""
    ran = run(make(Lief), b"\xcf\xfa\xed\xfe" + bytes(28))
    assert ran.result is not None or ran.reasons == {"corrupt"}
    assert run(make(Lief), b"\x7fELF" + b"\xff" * 16).reasons == {"corrupt"}


def test_a_large_body_is_read_where_it_lies() -> None:
    """A payload behind a descriptor gives the same result."""
    content = sample("get-versions.64bit.little.elf")
    fd = anonymous_file()
    write_all(fd, content)
    assert run(make(Lief), payload(Body.from_fd(fd))).result == result(content)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(
        [b"\x7fELF\x02\x01\x01", b"\x7fELF\x01\x02\x01", b"\xce\xfa\xed\xfe", elf()[:64], pe()[:400]]
    ),
    st.binary(max_size=400),
)
def test_any_bytes(head: bytes, content: bytes) -> None:
    """Any bytes end in a result or in `corrupt`."""
    ran = run(make(Lief), head + content)
    assert ran.error is None or ran.error.code == "corrupt"
