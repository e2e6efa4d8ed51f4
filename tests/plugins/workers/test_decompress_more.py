"""Disks, firmware and streams beyond the everyday archives: opened, cut short, damaged, and never a crash."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins._formats.archives.lzo import unlzo
from plugins._formats.archives.readers import FORMATS
from plugins._formats.filetype import identify
from plugins.workers.decompress import Decompress
from stoq_core.testing import Ran, make, payload, run
from tests.format_files import ARCHIVES, CARGO, arc, deflate, jffs2, qcow2, uimage, vmdk


def opened(content: bytes, name: str = "file") -> Ran:
    """Run the worker."""
    return run(make(Decompress), payload(content, name))


def inner(ran: Ran) -> list[bytes]:
    """The children's bytes, those that are packed again unpacked."""
    made = []
    for child in ran.children:
        content = child.body.content()
        made.append(content)
        if content[:2] == b"\x1f\x8b":
            made.append(zlib.decompressobj(31).decompress(content))
    return made


@pytest.mark.parametrize("kind", ARCHIVES)
def test_cargo_comes_out(kind: str) -> None:
    """Each format is told by its bytes and gives what it holds, without a reason."""
    content = ARCHIVES[kind](CARGO)
    label = kind.partition("-")[0]
    assert identify(memoryview(content)).label == label
    ran = opened(content)
    assert not ran.reasons
    assert any(CARGO in made for made in inner(ran))


@pytest.mark.parametrize("kind", ARCHIVES)
def test_marks_pass_their_own_check(kind: str) -> None:
    """What a reader declares of its files for carving holds for a file of the format, also behind other bytes."""
    content = ARCHIVES[kind](CARGO)
    declared = FORMATS[kind.partition("-")[0]]
    view = memoryview(b"7 bytes" + content)
    for start, whole in ((0, memoryview(content)), (7, view)):
        hits = [m for m in declared.marks if whole[start + m.offset :][: len(m.data)] == m.data]
        assert hits or not declared.marks
        assert all(declared.check(whole, start) for _ in hits)


@pytest.mark.parametrize("kind", [kind for kind in ARCHIVES if kind != "jmod"])  # its zip says so itself
def test_cut_short(kind: str) -> None:
    """Half a file is told of, unless the half that is missing held nothing."""
    content = ARCHIVES[kind](CARGO)
    ran = opened(content[: len(content) // 2])
    assert ran.reasons or any(CARGO in made for made in inner(ran)) or not ran.children


@pytest.mark.parametrize(
    "kind", ["lzip", "pbzx", "zlib", "snappy", "lzop", "sz", "androidsparse", "uimage", "asar"]
)
def test_what_stands_behind_is_a_child(kind: str) -> None:
    """The account makes a child of bytes behind the end."""
    behind = b"something behind the end of it all"
    ran = opened(ARCHIVES[kind](CARGO) + behind)
    assert any(behind in child.body.content() for child in ran.children)


def test_a_file_system_without_its_last_word() -> None:
    """FAT is told by its numbers, and opened, where the boot sector does not end with 55 AA."""
    boot = bytearray(512)
    boot[:3] = b"\xeb\x3c\x90"
    struct.pack_into("<8sHBHBHHBHHH", boot, 3, b"MSDOS5.0", 512, 1, 1, 1, 16, 64, 0xF8, 1, 32, 2)
    boot[38] = 0x29
    table = b"\xf8\xff\xff\xff\xff\x0f" + bytes(506)
    entry = b"F       TXT\x20" + bytes(14) + struct.pack("<HI", 2, len(CARGO[:500]))
    content = bytes(boot) + table + entry.ljust(512, b"\0") + CARGO[:500].ljust(512, b"\0")
    content = content.ljust(64 * 512, b"\0")
    assert identify(memoryview(content)).label == "fat"
    assert any(CARGO[:500] in child.body.content() for child in opened(content).children)


def test_arc_by_a_program() -> None:
    """An old archive that unar reads gives its members, and what stands behind them by itself."""
    behind = b"something behind the end of it all"
    contents = [child.body.content() for child in opened(arc(CARGO) + behind).children]
    assert contents == [CARGO, behind]


def test_deflate_behind_sizes() -> None:
    """A bare stream behind a size and before a checksum is found where text comes out of it."""
    content = struct.pack("<Q", len(CARGO)) + deflate(CARGO) + bytes(8)
    assert identify(memoryview(content)).label == "deflate"
    assert any(child.body.content() == CARGO for child in opened(content).children)


def test_git_object() -> None:
    """A loose object is given without its header, so that what it holds is known for what it is."""
    ran = opened(zlib.compress(b"blob %d\0" % len(CARGO) + CARGO))
    assert [child.body.content() for child in ran.children] == [CARGO]


def test_lzo_literals_and_copies() -> None:
    """A run of letters, a short copy from eight back, a copy that repeats itself, the end."""
    letters = b"0123456789abcdef"
    block = bytes((17 + 16,)) + letters + b"\x5c\x00" + b"\x24\x00\x00" + b"\x11\x00\x00"
    copied = letters + letters[8:11]
    assert unlzo(block, 1_000) == copied + copied[-1:] * 6


def test_older_pieces_of_a_log_are_members() -> None:
    """A file system that keeps what was written before keeps it for the scan, too."""
    first, second = jffs2(b"first " * 20), jffs2(b"second" * 20)
    newer = bytearray(second)
    at = newer.index(struct.pack("<HH", 0x1985, 0xE002)) + 16
    newer[at : at + 4] = struct.pack("<I", 2)
    contents = [child.body.content() for child in opened(first + bytes(newer)).children]
    assert b"first " * 20 in contents
    assert b"second" * 20 in contents


def test_damaged_cluster_leaves_the_others() -> None:
    """A cluster that does not inflate is zeros, with a reason; the disk is still given."""
    content = bytearray(vmdk(CARGO, packed=True))
    at = 4096 + 12 + 10
    content[at : at + 8] = b"\xff" * 8
    ran = opened(bytes(content))
    assert "corrupt" in ran.reasons
    assert any(child.meta.extra_data["filename"] == "disk.img" for child in ran.children)


def test_encrypted_disk() -> None:
    """A QCOW2 under a key is said to be one."""
    content = bytearray(qcow2(CARGO))
    content[32:36] = struct.pack(">I", 1)
    assert "encrypted_archive" in opened(bytes(content)).reasons


def test_disk_over_another_file() -> None:
    """A disk that is a difference over a parent is not all there is."""
    content = bytearray(qcow2(CARGO))
    content[8:20] = struct.pack(">QI", 104, 8)
    ran = opened(bytes(content))
    assert "unsupported_method" in ran.reasons
    assert any(CARGO in made for made in inner(ran))


def test_clusters_used_again_and_again() -> None:
    """Tables that name one cluster thousands of times are a bomb, and refused."""
    content = bytearray(qcow2(CARGO))
    content[131072:196608] = struct.pack(">Q", 3 << 16) * 8192
    content[24:32] = struct.pack(">Q", 8192 << 16)
    assert "ratio" in opened(bytes(content)).reasons


def test_uimage_of_several() -> None:
    """A multi-file image gives each of its parts."""
    parts = [b"kernel" * 30, CARGO]
    body = struct.pack(">III", len(parts[0]), len(parts[1]), 0) + parts[0] + CARGO
    head = bytearray(uimage(b"")[:64])
    head[12:16], head[30] = struct.pack(">I", len(body)), 4
    contents = [child.body.content() for child in opened(bytes(head) + body).children]
    assert contents == parts


@given(st.sampled_from(sorted(ARCHIVES)), st.integers(0, 4_000), st.binary(min_size=1, max_size=8))
@settings(max_examples=300)
def test_any_bytes_changed(kind: str, at: int, data: bytes) -> None:
    """Hostile headers, tables and lengths end in reasons or children, never in an exception."""
    content = bytearray(ARCHIVES[kind](CARGO))
    at %= min(len(content), 4_000)
    content[at : at + len(data)] = data
    ran = opened(bytes(content))
    assert ran.error is None or ran.error.reason is not None
