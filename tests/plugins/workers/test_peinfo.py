"""PE files: what each part says, signatures checked and broken, hostile tables within bounds."""

from __future__ import annotations

import hashlib
import os
import struct
import time
from typing import Any

import pefile
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins._formats.executables.pe.account import holds_data
from plugins.workers.peinfo import Peinfo
from stoq_core.body import Body, anonymous_file, write_all
from stoq_core.testing import Ran, make, payload, run
from tests import samples
from tests.binaries import BASE, EXECUTE, READ, SECTION_OFFSET, SECTION_RVA, WRITE, imports, pe

AT = SECTION_RVA


def info(content: bytes, **options: Any) -> dict[str, Any]:
    """The merged result."""
    ran = run(make(Peinfo, **options), content)
    assert ran.error is None
    assert ran.errors == []
    assert ran.result is not None
    return ran.result


def findings(content: bytes) -> set[str]:
    """The names of the findings."""
    return {one.name for one in run(make(Peinfo), content).findings}


def signed() -> bytes:
    """A library that Microsoft signed."""
    folder = samples.wheel("msvc-runtime==14.44.35112", "win_amd64", "3.11")
    return next(iter(sorted(folder.rglob("vcruntime140_1.dll")))).read_bytes()


def test_headers_and_booleans_both_ways() -> None:
    """Every `is_` field is there, true or false; machine, subsystem, versions, entry and base."""
    found = info(pe())
    assert [found[f"is_{one}"] for one in ("exe", "dll", "driver", "dotnet", "packed", "suspicious")] == [
        True, False, False, False, False, False,
    ]  # fmt: skip
    assert found["is_valid"] is True
    assert (found["machine"], found["subsystem"]) == ("amd64", "windows_cui")
    assert (found["entrypoint"], found["entrypoint_section"], found["image_base"]) == (AT, ".text", BASE)
    dll = info(pe(characteristics=0x2022))
    assert (dll["is_exe"], dll["is_dll"]) == (False, True)
    assert info(pe(raw=(SECTION_OFFSET, 99_999)))["is_valid"] is False


def test_compile_time_is_utc_in_every_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same file has the same time wherever it is scanned."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        found = info(pe(stamp=1_366_469_410))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert (found["compile_time"], found["compile_time_epoch"]) == ("2013-04-20T14:50:10Z", 1_366_469_410)
    assert info(pe(stamp=0xFFFFFFFF))["compile_time"] == "2106-02-07T06:28:15Z"


def test_sections_have_digests_and_entropy() -> None:
    """Of the bytes in the file, as hashlib has them."""
    content = bytes(range(256)) * 4
    (one,) = info(pe(content))["sections"]
    assert one["md5"] == hashlib.md5(content).hexdigest()
    assert one["sha1"] == hashlib.sha1(content).hexdigest()
    assert one["sha256"] == hashlib.sha256(content).hexdigest()
    assert (one["name"], one["entropy"], one["flags"], one["raw_offset"]) == (
        ".text",
        8.0,
        "rx",
        SECTION_OFFSET,
    )


def test_imports_and_imphash() -> None:
    """By library; the imphash is pefile's own."""
    table = imports(b"KERNEL32.dll", [b"VirtualAlloc", b"CreateThread"], AT)
    content = pe(table.ljust(512, b"\0"), directories={1: (AT, len(table))})
    found = info(content)
    assert found["imports"] == {"KERNEL32.dll": ["VirtualAlloc", "CreateThread"]}
    assert found["imphash"] == hashlib.md5(b"kernel32.virtualalloc,kernel32.createthread").hexdigest()


@pytest.mark.parametrize("wide", [True, False])
def test_tls_callbacks(wide: bool) -> None:
    """The callbacks of 64-bit and of 32-bit files, relative to the base."""
    base, width = (BASE, "<Q") if wide else (0x400000, "<I")
    pointer = struct.calcsize(width)
    table = b"".join(struct.pack(width, base + AT + one) for one in (0, 0, 0, 256)) + bytes(8)
    callbacks = struct.pack(width, base + 0x1234) + struct.pack(width, base + 0x5678) + bytes(pointer)
    content = pe(table.ljust(256, b"\0") + callbacks.ljust(256, b"\0"), wide=wide, directories={9: (AT, 40)})
    assert info(content)["tls_callbacks"] == [0x1234, 0x5678]
    assert "tls_callbacks" not in info(pe(wide=wide))


def test_debug_directory() -> None:
    """The PDB's path, its GUID in Microsoft's order and its age; a directory of 4 GiB is not walked."""
    guid = bytes.fromhex("33221100554477668899aabbccddeeff")
    view = b"RSDS" + guid + struct.pack("<I", 3) + b"C:\\work\\evil.pdb\0"
    row = struct.pack("<IIHHIIII", 0, 1_000_000_000, 0, 0, 2, len(view), AT + 64, SECTION_OFFSET + 64)
    content = (row.ljust(64, b"\0") + view).ljust(512, b"\0")
    (one,) = info(pe(content, directories={6: (AT, 28)}))["debug_info"]
    assert (one["pdb"], one["age"], one["time"]) == ("C:\\work\\evil.pdb", 3, "2001-09-09T01:46:40Z")
    assert one["guid"] == "00112233-4455-6677-8899-aabbccddeeff"
    assert len(info(pe(content, directories={6: (AT, 0xFFFFFFFF)}))["debug_info"]) <= 64


def test_overlay_is_a_child_unless_told_not_to() -> None:
    """What is appended is described and handed on; certificates are not part of it."""
    ran = run(make(Peinfo), pe() + b"appended to it " * 9)
    assert ran.contents == {"overlay": b"appended to it " * 9}
    assert ran.result is not None
    assert ran.result["overlay"]["offset"] == SECTION_OFFSET + 512
    assert run(make(Peinfo, extract_overlay=False), pe() + b"appended to it " * 9).children == []
    assert "overlay" not in info(signed())


def test_real_resources_and_version() -> None:
    """Resources of a real file: listed with digests, children only when asked for; its version strings."""
    file = samples.content("hachoir", "eula.exe")
    found = info(file)
    assert {one["type"] for one in found["resources"]} >= {"RT_VERSION", "RT_ICON"}
    assert found["version_info"]["CompanyName"] == "Dell Inc"
    ran = run(make(Peinfo, extract_resources=True), file)
    by_offset = {one.meta.extra_data["offset"]: one.body.sha256 for one in ran.children}
    listed = {one["offset"]: one["sha256"] for one in found["resources"]}
    assert {offset: listed[offset] for offset in by_offset if offset in listed} == {
        offset: digest for offset, digest in by_offset.items() if offset in listed
    }
    assert len(by_offset) >= 5


def test_rich_header() -> None:
    """As pefile reads it."""
    file = signed()
    found = info(file)["rich_header"]
    assert found["md5"] == pefile.PE(data=file).get_rich_header_hash()
    assert sum(one["count"] for one in found["entries"]) > 10


def test_a_signature_that_fits() -> None:
    """Signer, certificates with their times, and the PKCS#7 as a child; nothing to notice."""
    ran = run(make(Peinfo), signed())
    assert ran.result is not None
    signature = ran.result["signatures"][0]
    assert signature["verified"] is True
    assert signature["countersigned"] is True
    assert "Microsoft" in signature["signers"][0]
    assert all(one["not_before"] < one["not_after"] for one in signature["certificates"])
    assert [one.meta.extra_data["filename"] for one in ran.children] == ["certificate_0.p7b"]
    assert ran.children[0].body.content()[:2] == b"\x30\x82"
    assert ran.findings == []


def test_a_file_that_was_changed_after_it_was_signed() -> None:
    """One bit is enough."""
    changed = bytearray(signed())
    changed[0x400] ^= 1
    assert findings(bytes(changed)) == {"pe_signature_broken"}


def test_bytes_behind_a_signature() -> None:
    """Bytes that are put behind the PKCS#7, where no digest covers them, are noticed and measured."""
    file = bytearray(signed())
    image = pefile.PE(data=bytes(file), fast_load=True)
    entry = image.OPTIONAL_HEADER.DATA_DIRECTORY[4]
    hidden = b"a downloader's address " * 4 + bytes(4)
    struct.pack_into("<I", file, entry.VirtualAddress, entry.Size + len(hidden))
    struct.pack_into("<I", file, entry.get_file_offset() + 4, entry.Size + len(hidden))
    ran = run(make(Peinfo), bytes(file + hidden))
    assert ran.result is not None
    assert ran.result["certificates"][0]["hidden_bytes"] >= len(hidden)
    assert "pe_hidden_behind_signature" in {one.name for one in ran.findings}
    assert ran.contents["behind_certificate_0"].strip(b"\0") == hidden.strip(b"\0")


def test_an_old_signature_that_the_library_cannot_judge_is_no_finding() -> None:
    """Signed in 1997, by certificates that are not read any more: `verified` is false, and that is all."""
    file = samples.content("hachoir", "verdan32.exe")
    assert info(file)["signatures"][0]["verified"] is False
    assert findings(file) == set()


def test_findings_of_the_format() -> None:
    """Writable code, an entry point that is nowhere, random code beside no imports, a packer's name."""
    assert findings(pe(flags=READ | WRITE | EXECUTE)) == {"pe_writable_code"}
    assert findings(pe(entry=0x9999_0000)) == {"pe_entry_outside_sections"}
    assert findings(pe(os.urandom(4096))) == {"pe_packed"}
    assert findings(pe(name=b"UPX1")) == {"pe_packed"}
    assert info(pe(name=b"UPX1"))["is_suspicious"] is True


def test_packed_files_are_told() -> None:
    """ClamAV's files: aspack, petite, upack, UPX and yoda's crypter are packed, the plain one is not."""
    folder = samples.folder("clamav")
    for name in ("clam-aspack", "clam-petite", "clam-upack", "clam-upx", "clam-yc"):
        assert info((folder / f"{name}.exe").read_bytes())["is_packed"] is True, name
    assert info((folder / "clam.exe").read_bytes())["is_packed"] is False


def test_sections_that_overlap_are_not_measured_again_and_again() -> None:
    """96 sections that each claim all of 8 MB cost what a few cost, and say that they were left."""
    content = pe(os.urandom(8_000_000), sections=2)
    began = time.process_time()
    assert all("sha256" in one for one in info(content)["sections"])
    plain_s = time.process_time() - began
    head = bytearray(content)
    struct.pack_into("<H", head, 64 + 6, 16)
    rows = 64 + 24 + 240
    row = bytes(head[rows : rows + 40])
    for number in range(16):  # each a byte shorter, so that no two are the same range
        head[rows + 40 * number : rows + 40 * (number + 1)] = (
            row[:16] + struct.pack("<I", 8_000_000 - number) + row[20:]
        )
    began = time.process_time()
    table = info(bytes(head))["sections"]
    assert time.process_time() - began < 10 * plain_s + 1
    assert len([one for one in table if one.get("unmeasured")]) == 14


def test_what_is_no_pe_does_not_concern_it() -> None:
    """DOS and NE programs, and `MZ` alone, have neither result nor error."""
    ne = samples.content("hachoir", "twunk_16.exe")
    for content in (ne, b"MZ" + bytes(100), b"MZ", b"", b"%PDF-1.4"):
        ran = run(make(Peinfo), content)
        assert (ran.result, ran.error, ran.errors) == (None, None, [])


def test_a_cut_header_is_corrupt_and_a_cut_file_is_read() -> None:
    """Without its optional header a file is `corrupt`; cut later, what there is is reported."""
    ran = run(make(Peinfo), pe()[:90])
    assert ran.error is not None
    assert (ran.error.code, ran.reasons) == ("corrupt", {"corrupt"})
    assert info(signed()[:9000])["is_valid"] is False


def test_lists_end_before_the_result_is_too_large() -> None:
    """More names than a result may hold are cut and named, and the result still arrives."""
    names = [b"n%05d_" % number + b"x" * 200 for number in range(6000)]
    table = imports(b"a.dll", names, AT)
    found = info(pe(table, directories={1: (AT, len(table))}))
    assert found["cut"] == ["imports"]
    assert 1000 < len(found["imports"]["a.dll"]) < 6000


def test_a_large_body_is_read_where_it_lies() -> None:
    """A payload behind a descriptor gives the same result, and is not closed by the library."""
    content = signed()
    fd = anonymous_file()
    write_all(fd, content)
    body = Body.from_fd(fd)
    assert run(make(Peinfo), payload(body)).result == info(content)
    assert body.content() == content


def _survives(ran: Ran) -> None:
    assert ran.error is None or ran.error.code == "corrupt"
    assert {one.code for one in ran.errors} <= {"corrupt"}


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=600), st.integers(0, 900), st.integers(0, 255))
def test_any_bytes(content: bytes, at: int, value: int) -> None:
    """Any bytes behind a PE signature, and any change of a header, end in emits or in `corrupt`."""
    _survives(run(make(Peinfo), b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + content))
    table = imports(b"a.dll", [b"b"], AT)
    changed = bytearray(pe(table.ljust(512, b"\0"), directories={1: (AT, 99), 2: (AT, 99), 9: (AT, 40)}))
    changed[at % len(changed)] = value
    _survives(run(make(Peinfo), bytes(changed)))


def _resource_tree(width: int) -> bytes:
    """Three levels whose every entry leads to the same next level: width cubed leaves."""

    def level(target: int) -> bytes:
        rows = b"".join(struct.pack("<II", number, target) for number in range(width))
        return struct.pack("<IIHHHH", 0, 0, 0, 0, 0, width) + rows

    step = 16 + 8 * width
    leaf = struct.pack("<IIII", AT, 256, 0, 0)
    return level(0x8000_0000 | step) + level(0x8000_0000 | 2 * step) + level(3 * step) + leaf


def _export_table(count: int) -> bytes:
    """Names that are all the same name."""
    head = struct.pack("<IIHHIIIIIII", 0, 0, 0, 0, AT, 1, count, count, AT + 40, AT + 40, AT + 40)
    return head + struct.pack("<I", AT + 44) * count


@pytest.mark.parametrize(
    ("number", "table"),
    [
        (0, _export_table(60_000)),
        (1, struct.pack("<IIIII", AT + 80_000, 0, 0, AT + 80_000, AT + 80_000) * 4_000 + b"\x01" * 4_000),
        (2, _resource_tree(3_000)),
        (6, b"\x02" * 280_000),
        (13, struct.pack("<8I", 1, AT, AT, AT, AT, 0, 0, 0) * 4_000),
    ],
    ids=["exports", "imports", "resources", "debug", "delay"],
)
def test_tables_that_multiply_end_soon(number: int, table: bytes) -> None:
    """Entries that all lead to the same place are bounded in number and in time."""
    began = time.process_time()
    ran = run(make(Peinfo), pe(table, directories={number: (AT, len(table))}))
    assert time.process_time() - began < 5
    assert ran.error is None
    assert ran.result is not None
    assert len(ran.result.get("resources", ())) <= 1_000
    assert len(ran.result.get("debug_info", ())) <= 64


def test_what_no_table_names_is_a_child() -> None:
    """Between headers and sections, and behind a DOS program's image; sections are searched as they stand."""
    file = bytearray(pe(raw=(SECTION_OFFSET + 512, 512)) + bytes(512))
    file[SECTION_OFFSET : SECTION_OFFSET + 512] = b"between ".ljust(512, b"\0")
    ran = run(make(Peinfo), bytes(file))
    assert [one.meta.extra_data["filename"] for one in ran.children] == ["gap"]
    dos = bytearray(b"MZ" + struct.pack("<HH", 64, 1) + bytes(58))
    ran = run(make(Peinfo), bytes(dos) + b"appended words")
    assert ran.contents == {"tail": b"appended words"}
    assert run(make(Peinfo), b"MZ" + bytes(100)).children == []


def test_resources_that_hold_data_are_children() -> None:
    """Raw data and types of the program's own; icons and the like are searched as they stand."""
    assert holds_data("RT_RCDATA", 100)
    assert holds_data("CABINET", 100)
    assert not holds_data("RT_ICON", 100)
    assert not holds_data("RT_RCDATA", 16)
    ran = run(make(Peinfo), samples.content("hachoir", "verdan32.exe"))
    assert {"resource_RT_RCDATA_CABINET", "resource_RT_RCDATA_TITLE"} <= ran.contents.keys()
