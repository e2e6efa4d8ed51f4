"""What is hidden: a marker as text, and in each format that is looked for anywhere."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import struct
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import py7zr

from tests import binaries, office_files
from tests.pdf_files import stream
from tests.plugins.workers import archive_makers as makers

MARKER = b"HIDE-7f3b91c2d6-MARKER"
TEXT = b"x = '" + MARKER + b"'; // " + b"words of a script that go on for a while " * 6
RULE = f'rule hidden_marker {{ meta: score = 1000 strings: $m = "{MARKER.decode()}" condition: $m }}'

Pack = Callable[[bytes], bytes]


def zipped(content: bytes) -> bytes:
    """Deflated."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a.txt", content)
    return out.getvalue()


def seven(content: bytes) -> bytes:
    """LZMA."""
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w", filters=[{"id": py7zr.FILTER_LZMA2, "preset": 1}]) as made:
        made.writestr(content, "a.txt")
    return out.getvalue()


def tarred(content: bytes) -> bytes:
    """A tar of the content packed, for bare it would stand in plain sight."""
    out = io.BytesIO()
    packed = gzip.compress(content)
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as made:
        info = tarfile.TarInfo("a.gz")
        info.size = len(packed)
        made.addfile(info, io.BytesIO(packed))
    return out.getvalue()


def ar(content: bytes) -> bytes:
    """One member, packed."""
    packed = gzip.compress(content)
    return b"!<arch>\n" + b"a.gz/".ljust(48) + b"%-10d`\n" % len(packed) + packed + b"\n" * (len(packed) & 1)


def rar4(content: bytes) -> bytes:
    """Stored (RAR 4 technical note); the content is packed."""
    packed, name = gzip.compress(content), b"a.gz"

    def block(kind: int, flags: int, fields: bytes) -> bytes:
        body = struct.pack("<BHH", kind, flags, 7 + len(fields)) + fields
        return struct.pack("<H", zlib.crc32(body) & 0xFFFF) + body

    fields = struct.pack(
        "<IIBIIBBHI", len(packed), len(packed), 3, zlib.crc32(packed), 0, 20, 0x30, len(name), 0o644
    )
    return (
        b"Rar!\x1a\7\0"
        + block(0x73, 0, bytes(6))
        + block(0x74, 0x8000, fields + name)
        + packed
        + block(0x7B, 0x4000, b"")
    )


def rar5(content: bytes) -> bytes:
    """Stored (RAR 5.0 archive format); the content is packed."""
    packed, name = gzip.compress(content), b"a.gz"

    def number(value: int) -> bytes:
        out = b""
        while value > 0x7F:
            out, value = out + bytes((value & 0x7F | 0x80,)), value >> 7
        return out + bytes((value,))

    def block(*fields: bytes) -> bytes:
        body = b"".join(fields)
        sized = number(len(body)) + body
        return struct.pack("<I", zlib.crc32(sized)) + sized

    file = block(
        b"\2", b"\2", number(len(packed)), b"\4", number(len(packed)), number(0o644),
        struct.pack("<I", zlib.crc32(packed)), b"\0", b"\1", number(len(name)), name,
    )  # fmt: skip
    return b"Rar!\x1a\7\1\0" + block(b"\1", b"\0", b"\0") + file + packed + block(b"\5", b"\0", b"\0")


def by_program(*words: str) -> Pack:
    """What a program makes of a file; an empty one where it is not installed."""

    def pack(content: bytes) -> bytes:
        if shutil.which(words[0]) is None:
            return b""
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "in").mkdir()
            (Path(folder) / "in" / "a.gz").write_bytes(gzip.compress(content))
            subprocess.run(words, cwd=folder, check=True, capture_output=True)
            return next(Path(folder).glob("out*")).read_bytes()

    return pack


def ole(content: bytes) -> bytes:
    """A compound file whose stream holds it packed, some way in."""
    return office_files.compound({"Data": bytes(68) + gzip.compress(content) + bytes(4096)})


def pdf(content: bytes) -> bytes:
    """One stream, deflated."""
    return b"%PDF-1.7\n" + stream(zlib.compress(content)) + b"\nstartxref\n0\n%%EOF\n"


def program(content: bytes) -> bytes:
    """A Windows program that holds it packed."""
    return binaries.pe((bytes(100) + gzip.compress(content)).ljust(1024, b"\xc3"))


CARGO: dict[str, Pack] = {
    "text": bytes,
    "gzip": gzip.compress,
    "7z": seven,
    "zip": zipped,
    "zlib": zlib.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda content: lzma.compress(content, lzma.FORMAT_ALONE),
    "lz4": lambda content: lz4.frame.compress(gzip.compress(content)),  # else its words stand in sight
    "tar": tarred,
    "cpio": lambda content: makers.cpio({"a.gz": gzip.compress(content)}),
    "ar": ar,
    "cab": lambda content: makers.cab({"a.txt": content}, mszip=True),
    "arj": lambda content: makers.arj({"a.gz": gzip.compress(content)}),
    "lzh": lambda content: makers.lzh({"a.gz": gzip.compress(content)}, method=b"-lh0-"),
    "xar": lambda content: makers.xar({"a.txt": content}),
    "rar4": rar4,
    "rar5": rar5,
    "zstd": by_program("zstd", "-q", "in/a.gz", "-o", "out"),
    "squashfs": by_program("mksquashfs", "in", "out", "-quiet", "-no-progress"),
    "iso": by_program("genisoimage", "-quiet", "-R", "-o", "out", "in"),
    "wim": by_program("7z", "a", "-twim", "-bso0", "out", "in"),
    "ole": ole,
    "pdf": pdf,
    "pe": program,
}
"""By name; what stands stored in an archive is packed before, so that nobody sees it from outside."""

USUAL = ("text", "gzip", "7z")
"""What every place is tried with."""
