"""InstallShield's setup programs: the files behind the program, plain or encoded by their names."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins._formats.filetype import identify
from plugins.workers.decompress import Decompress
from plugins.workers.peinfo import Peinfo
from stoq_core.limits import MiB, RequestLimits
from stoq_core.testing import Ran, make, payload, run

TEXT = b"".join(b"line %d of a text that compresses\n" % n for n in range(3_000))
NOISE = random.Random(7).randbytes(300_000)
FILES = {"setup.ini": TEXT, "data1.bin": NOISE, "x": b"", "one": b"\x01"}
SAMPLES = Path("/usr/share/clamav-testfiles")


def unpack(content: bytes, **job_arguments: Any) -> Ran:
    """Run the worker."""
    return run(make(Decompress), payload(content, "overlay"), **job_arguments)


def plain(files: dict[str, bytes]) -> bytes:
    """The list in plain text."""
    rows = (f"{n}\0Disk1\\{n}\x001.0.0.0\0{len(one)}\0".encode() + one for n, one in files.items())
    return b"".join(rows)


def encoded(files: dict[str, bytes], flags: int = 6, *, packed: bool = True, before: bytes = b"") -> bytes:
    """The mark and what follows it, byte by byte."""
    made = before + (b"InstallShield\0" + struct.pack("<H", len(files))).ljust(46, b"\0")
    for name, content in files.items():
        data = zlib.compress(content) if packed else content
        if flags:
            key = [ord(one) ^ b"\x13\x35\x86\x07"[n % 4] for n, one in enumerate(name)]
            period = 1_024 if flags & 4 else len(data) or 1
            turned = ((~one & 255) ^ key[n % period % len(key)] for n, one in enumerate(data))
            data = bytes((one << 4 | one >> 4) & 255 for one in turned)
        made += struct.pack("<260sIII40x", name.encode(), flags, 0, len(data)) + data
    return made


def test_plain() -> None:
    """By their paths; what stands behind the last is a member of its own."""
    content = plain(FILES)
    assert identify(memoryview(content)).label == "installshield"
    ran = unpack(content)
    assert ran.contents == {f"Disk1/{name}": one for name, one in FILES.items()}
    assert not ran.reasons
    assert unpack(content + b"hidden behind the end").contents["tail"] == b"hidden behind the end"


@pytest.mark.parametrize("flags", [0, 2, 4, 6])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("before", [b"", b"NB10" + bytes(12) + b"C:\\setup.pdb\0"])
def test_encoded(flags: int, packed: bool, before: bytes) -> None:
    """Whichever way they are written, and behind a debugger's record."""
    content = encoded(FILES, flags, packed=packed, before=before)
    assert identify(memoryview(content)).label == "installshield"
    ran = unpack(content)
    assert not ran.reasons, ran.errors
    assert ran.contents == {**FILES, **({"lead": before} if before else {})}


@pytest.mark.parametrize("more", [0, 1, 100, 257, 258, 259, 515])
def test_the_last_bytes_of_what_is_packed_tight(more: int) -> None:
    """What zlib still holds when all of its input is used comes out, too."""
    content = bytes(512 * 1024 + more)
    ran = unpack(encoded({"a": content}))
    assert not ran.reasons
    assert ran.contents == {"a": content}


@pytest.mark.parametrize("content", [plain(FILES), encoded(FILES)], ids=["plain", "encoded"])
def test_cut_short_and_damaged(content: bytes) -> None:
    """A reason, and what came before."""
    for end in (len(content) // 2, len(content) // 3, 60_000):
        assert unpack(content[:end]).reasons & {"truncated", "corrupt"}
    ran = unpack(encoded({"a": TEXT})[:-20])
    assert "truncated" in ran.reasons
    damaged = bytearray(encoded({"a": TEXT, "b": NOISE}))
    damaged[1_500:1_600] = bytes(100)
    ran = unpack(bytes(damaged))
    assert "corrupt" in ran.reasons
    assert ran.contents["b"] == NOISE


def test_a_bomb() -> None:
    """Ends at the limit, with its reason."""
    packed = zlib.compress(bytes(64 * MiB))
    content = encoded({"a": packed}, 0, packed=False)
    ran = unpack(content, limits=RequestLimits(payload_bytes=MiB, extracted_bytes=4 * MiB))
    assert ran.reasons & {"too_large", "too_many_bytes", "ratio"}
    assert sum(child.body.size for child in ran.children) <= 4 * MiB


@given(st.binary(max_size=700), st.integers(0, 65_535), st.booleans())
def test_any_bytes(data: bytes, count: int, marked: bool) -> None:
    """Children or reasons, never an error of another kind."""
    head = (
        (b"InstallShield\0" + struct.pack("<H", count)).ljust(46, b"\0")
        if marked
        else b"a\0b\x001.0.0.0\x005\0"
    )
    ran = unpack(head + data)
    assert ran.children or ran.reasons or not count or not marked


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("clam_IScab_ext.exe", "Disk1/clam.exe"), ("clam_IScab_int.exe", "Disk1/data2.cab"),
        ("clam_ISmsi_ext.exe", "clam.msi"), ("clam_ISmsi_int.exe", "clam.msi"),
    ],
)  # fmt: skip
def test_real_ones(name: str, inside: str) -> None:
    """ClamAV's samples, to the last byte."""
    if not SAMPLES.is_dir():
        pytest.skip("apt-get install clamav-testfiles")
    overlay = run(make(Peinfo), (SAMPLES / name).read_bytes()).contents["overlay"]
    ran = unpack(overlay)
    assert not ran.reasons, ran.errors
    assert inside in ran.contents
    assert "tail" not in ran.contents
    if inside.endswith(".msi"):
        assert ran.contents[inside].startswith(b"\xd0\xcf\x11\xe0")
