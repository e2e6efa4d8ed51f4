"""zisofs: a file packed in blocks, as Linux undoes it while it reads a CD."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins._formats.filetype import identify
from plugins.workers.decompress import Decompress
from stoq_core.limits import RequestLimits
from stoq_core.testing import Ran, make, run

MARK = b"\x37\xe4\x53\x96\xc9\xdb\xd6\x07"
BLOCK = 1 << 15
TEXT = b"".join(b"line %d of what is packed\n" % n for n in range(4_000))


def packed(content: bytes, *, size: int | None = None) -> bytes:
    """The file as mkzftree writes it; a block of zeros has no bytes."""
    blocks = [content[at : at + BLOCK] for at in range(0, len(content), BLOCK)]
    bodies = [zlib.compress(block) if any(block) else b"" for block in blocks]
    at = 16 + 4 * (len(blocks) + 1)
    places = [at]
    for body in bodies:
        at += len(body)
        places.append(at)
    head = MARK + struct.pack("<IBBH", len(content) if size is None else size, 4, 15, 0)
    return head + struct.pack(f"<{len(places)}I", *places) + b"".join(bodies)


def unpack(content: bytes, **limits: int) -> Ran:
    """With the limits named."""
    return run(make(Decompress), content, limits=RequestLimits(**limits))


@pytest.mark.parametrize("content", [TEXT, TEXT[:100], bytes(BLOCK) + TEXT + bytes(3 * BLOCK), b""])
def test_blocks(content: bytes) -> None:
    """All of it comes out, blocks of zeros too, and every byte is accounted for."""
    raw = packed(content)
    assert identify(memoryview(raw)).label == "zisofs"
    ran = unpack(raw)
    assert [child.body.content() for child in ran.children] == [content]
    assert not ran.reasons


def test_what_stands_behind() -> None:
    """It is a child of its own."""
    assert unpack(packed(TEXT) + b"hidden behind the end").contents["tail"] == b"hidden behind the end"


def test_damage() -> None:
    """Cut short, a block of another size, a header that is none: reasons, and what could be read."""
    raw = packed(TEXT)
    cut = unpack(raw[:-10])
    assert cut.reasons == {"truncated"} | ({"corrupt"} if cut.children else set())
    assert TEXT.startswith(cut.children[0].body.content())
    assert "corrupt" in unpack(packed(TEXT, size=len(TEXT) - 1)).reasons
    assert unpack(MARK + bytes(20)).reasons == {"corrupt"}
    assert unpack(raw[:20]).reasons == {"truncated"}


def test_a_bomb() -> None:
    """Zeros without end cost what is allowed."""
    ran = unpack(packed(bytes(64 * BLOCK)), payload_bytes=BLOCK)
    assert ran.reasons == {"too_large"}
    assert ran.children[0].body.size == BLOCK


@given(st.binary(max_size=400), st.integers(0, 1 << 20))
def test_any_bytes(data: bytes, size: int) -> None:
    """Children or reasons, never an error of another kind."""
    ran = unpack(MARK + struct.pack("<I", size) + data, payload_bytes=1 << 16)
    assert ran.children or ran.reasons
