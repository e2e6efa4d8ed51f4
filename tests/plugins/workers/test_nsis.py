"""NSIS installers: every block of their data comes out, by any of the ways in which it is packed."""

from __future__ import annotations

import hashlib
import lzma
import random
import shutil
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import bootstrap
from plugins._formats.filetype import identify
from plugins.workers.decompress import Decompress
from plugins.workers.peinfo import Peinfo
from stoq_core.limits import Deadline, MiB, RequestLimits
from stoq_core.payload import Request
from stoq_core.pipeline import payload_of
from stoq_core.testing import Ran, make, payload, run

TEXT = b"".join(b"line %d of a text that compresses\n" % n for n in range(3_000))
NOISE = random.Random(7).randbytes(150_000)
MARK = b"\xef\xbe\xad\xdeNullsoftInst"
PACKED = 1 << 31
SCRIPT = bytes(300)


def unpack(content: bytes, **job_arguments: Any) -> Ran:
    """Run the worker."""
    return run(make(Decompress), payload(content, "overlay"), **job_arguments)


def stored_once(content: bytes) -> bytes:
    """Deflate's stored blocks as NSIS writes them, between two that zlib wrote."""
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    made = pack.compress(TEXT) + pack.flush(zlib.Z_FULL_FLUSH)
    assert made.endswith(b"\0\0\xff\xff")  # an empty stored block: its complement goes, too
    made = made[:-2]
    for at in range(0, len(content), 60_000):
        part = content[at : at + 60_000]
        made += b"\0" + struct.pack("<H", len(part)) + part
    pack = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=(TEXT + content)[-32_768:])
    return made + pack.compress(content[-20_000:]) + pack.flush()


def lzma_raw(content: bytes) -> bytes:
    """LZMA as NSIS writes it: properties, and no end mark."""
    made = lzma.compress(content, lzma.FORMAT_ALONE)
    return made[:5] + made[13:]


def deflate(content: bytes) -> bytes:
    """Raw deflate."""
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    return pack.compress(content) + pack.flush()


PACK = {"deflate": deflate, "lzma": lzma_raw, "lzma-filter": lambda content: b"\0" + lzma_raw(content)}


def installer(*blocks: bytes, method: str = "deflate", solid: bool = True, script: bytes = SCRIPT) -> bytes:
    """The data of an installer whose script names nothing."""
    pack = PACK[method]
    if solid:
        data = pack(b"".join(struct.pack("<I", len(one)) + one for one in (script, *blocks)))
    else:
        packed = [pack(one) for one in (script, *blocks)]
        data = b"".join(struct.pack("<I", len(one) | PACKED) + one for one in packed)
    return struct.pack("<I16sII", 0, MARK, len(script), 28 + len(data) + 4) + data + b"\0\0\0\0"


@pytest.mark.parametrize("solid", [True, False])
@pytest.mark.parametrize("method", PACK)
def test_built_ones(method: str, solid: bool) -> None:
    """The script and each block, named by its place; the type is told by the mark."""
    content = installer(TEXT, b"", NOISE, method=method, solid=solid)
    assert identify(memoryview(content)).label == "nsis"
    ran = unpack(content)
    assert not ran.reasons, ran.errors
    assert [child.body.content() for child in ran.children] == [SCRIPT, TEXT, b"", NOISE]
    assert next(iter(ran.contents)) == "script"


def test_stored_blocks_without_a_complement() -> None:
    """NSIS's deflate has the length of a stored block once: any number of them, and zlib's own between."""
    packed = stored_once(NOISE)
    data = struct.pack("<I", len(deflate(SCRIPT)) | PACKED) + deflate(SCRIPT)
    data += struct.pack("<I", len(packed) | PACKED) + packed
    content = struct.pack("<I16sII", 4, MARK, len(SCRIPT), 28 + len(data)) + data
    ran = unpack(content)
    assert not ran.reasons, ran.errors
    assert ran.children[1].body.content() == TEXT + NOISE + NOISE[-20_000:]


def test_what_stands_behind() -> None:
    """A member of its own, for nothing reads it."""
    ran = unpack(installer(TEXT) + b"hidden behind the end")
    assert ran.contents["tail"] == b"hidden behind the end"
    assert not ran.reasons


@pytest.mark.parametrize("solid", [True, False])
@pytest.mark.parametrize("method", PACK)
def test_cut_short_and_damaged(method: str, solid: bool) -> None:
    """A reason, and what came before it; never a silent end."""
    content = installer(TEXT, NOISE, TEXT, method=method, solid=solid)
    for end in (20, 40, 200, len(content) // 2, len(content) - 5):
        assert unpack(content[:end]).reasons & {"truncated", "corrupt"}, end
    broken = bytearray(content)
    broken[len(content) // 2 : len(content) // 2 + 3_000] = bytes(3_000)
    ran = unpack(bytes(broken))
    whole = [child.body.content() for child in ran.children] == [SCRIPT, TEXT, NOISE, TEXT]
    assert ran.reasons or not whole  # LZMA has no checksum: what it makes of zeros cannot be told


def test_a_bomb() -> None:
    """Ends at the limit, with its reason."""
    content = installer(bytes(64 * MiB), method="lzma", solid=False)
    ran = unpack(content, limits=RequestLimits(payload_bytes=MiB, extracted_bytes=4 * MiB))
    assert ran.reasons & {"too_large", "too_many_bytes", "ratio"}
    assert sum(child.body.size for child in ran.children) <= 4 * MiB


@given(st.binary(max_size=400), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 7))
def test_any_bytes(data: bytes, script: int, size: int, flags: int) -> None:
    """Children or reasons; and a script of any bytes names what it likes without an error."""
    unpack(struct.pack("<I16sII", flags, MARK, script, size) + data)
    ran = unpack(installer(TEXT, script=data.ljust(80, b"\1")))
    assert not ran.reasons
    assert ran.children[1].body.content() == TEXT


@pytest.fixture(params=["zlib", "bzip2", "lzma", "/SOLID zlib", "/SOLID bzip2", "/SOLID lzma"])
def made_by_nsis(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, bytes]:
    """How its data is packed, and a program that NSIS made."""
    if shutil.which("makensis") is None:
        pytest.skip("makensis writes these: apt-get install nsis")
    (tmp_path / "a.txt").write_bytes(TEXT)
    (tmp_path / "b.bin").write_bytes(NOISE)
    (tmp_path / "x.nsi").write_text(
        f"Unicode true\nSetCompressor {request.param}\nName T\nOutFile out.exe\nPage instfiles\nSection\n"
        "SetOutPath $INSTDIR\nFile a.txt\nSetOutPath $INSTDIR\\sub\nFile b.bin\n"
        "ExecWait 'cmd.exe /c start evil.example'\nSectionEnd\n"
    )
    subprocess.run(["makensis", "-V1", "x.nsi"], cwd=tmp_path, check=True)
    return request.param, (tmp_path / "out.exe").read_bytes()


def test_real_ones(made_by_nsis: tuple[str, bytes]) -> None:
    """The overlay is the installer's data; files by name, and the script with its commands."""
    how, content = made_by_nsis
    overlay = run(make(Peinfo), content).contents["overlay"]
    ran = unpack(overlay)
    assert not ran.reasons, ran.errors
    if "bzip2" in how:
        if shutil.which("7z") is None:
            pytest.skip("7-Zip reads NSIS's bzip2: apt-get install p7zip-full")
        assert ran.contents == {"a.txt": TEXT, "sub/b.bin": NOISE}
        return
    assert ran.contents["$INSTDIR/a.txt"] == TEXT
    assert ran.contents["$INSTDIR/sub/b.bin"] == NOISE
    assert "cmd.exe /c start evil.example".encode("utf-16-le") in ran.contents["script"]


def test_a_scan_sees_what_an_installer_brings(made_by_nsis: tuple[str, bytes]) -> None:
    """From the program through its overlay to its files; one that nothing here opens is never clean."""
    _, content = made_by_nsis
    one = bootstrap.pipeline(bootstrap.configured({}, [("sandbox.mode", "inline")]))
    response = one.scan(
        Request(scan_id="11111111-1111-4111-8111-111111111111", payloads=[payload_of(content, "setup.exe")]),
        Deadline.after_ms(60_000),
    )
    closed = "bzip2" in made_by_nsis[0] and shutil.which("7z") is None
    digests = {hashlib.sha256(one).hexdigest() for one in (TEXT, NOISE)}
    assert closed or digests <= {report.sha256 for report in response.results}
    reasons = {one.reason.value for report in response.results for one in report.unread}
    assert reasons == {"unknown_type", *(["plugin_missing"] if closed else [])}  # the noise
    inner = next(report for report in response.results if report.name == "overlay")
    assert inner.result_of("mimetype")["mimetype"] == "application/x-nsis"
