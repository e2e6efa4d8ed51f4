"""swfcarve: a real movie in all three packings, inside other bytes, damaged, and marks that lead nowhere."""

from __future__ import annotations

import lzma
import os
import time
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.workers.swfcarve import Swfcarve
from stoq_core.limits import KiB, MiB, RequestLimits
from stoq_core.testing import Ran, make, run
from tests import samples

FRAME = bytes([0x78, 0, 5, 0x5F, 0, 0, 0x0F, 0xA0, 0, 0, 0x0C, 1, 0])
TAGS = b"\x43\x02\xff\xff\xff" + b"\xbf\x00\x2c\x01\x00\x00" + bytes(300) + b"\x40\x00\x00\x00"
BODY = FRAME + TAGS + bytes(range(256)) * 8


def movie(signature: bytes, body: bytes = BODY, version: int = 9, claimed: int | None = None) -> bytes:
    """A movie of that packing."""
    length = (8 + len(body) if claimed is None else claimed).to_bytes(4, "little")
    head = signature + bytes([version]) + length
    if signature == b"FWS":
        return head + body
    if signature == b"CWS":
        return head + zlib.compress(body, 9)
    alone = lzma.compress(body, format=lzma.FORMAT_ALONE)
    return head + (len(alone) - 13).to_bytes(4, "little") + alone[:5] + alone[13:]


PLAIN = movie(b"FWS")
SIGNATURES = (b"FWS", b"CWS", b"ZWS")


def carve(content: bytes, limits: RequestLimits | None = None) -> Ran:
    """Run the worker."""
    return run(make(Swfcarve), content, limits=limits)


def contents(ran: Ran) -> list[bytes]:
    """The children's bytes."""
    return [one.body.content() for one in ran.children]


@pytest.mark.parametrize("signature", SIGNATURES)
def test_a_movie_inside_other_bytes(signature: bytes) -> None:
    """It comes out plain, the header rewritten, with offset and version; what follows is not part of it."""
    ran = carve(b"%PDF junk " + movie(signature) + b" behind")
    assert contents(ran) == [PLAIN]
    assert ran.children[0].meta.extra_data == {"offset": 10, "version": 9}
    assert ran.result == {
        "count": 1,
        "movies": [{"offset": 10, "version": 9, "signature": signature.decode(), "size": len(PLAIN)}],
    }
    assert not ran.reasons


def test_all_of_several_movies() -> None:
    """One after the other, in order."""
    ran = carve(b"".join(b"--" + movie(one) for one in SIGNATURES) * 2)
    assert contents(ran) == [PLAIN] * 6


def test_a_real_movie() -> None:
    """Hachoir's sample: counted and not yielded again; packed in both ways it comes out as it was."""
    real = samples.content("hachoir", "claque-beignet.swf")
    ran = carve(real)
    assert ran.result == {
        "count": 1,
        "movies": [{"offset": 0, "version": 5, "signature": "FWS", "size": 288_769}],
    }
    assert (contents(ran), ran.reasons) == ([real[8:]], set())  # its body, as it stands
    for signature in (b"CWS", b"ZWS"):
        packed = movie(signature, real[8:], 5)
        assert contents(carve(packed)) == [real]
        assert contents(carve(real + packed)) == [real, real]


@pytest.mark.parametrize("signature", [b"CWS", b"ZWS"])
@pytest.mark.parametrize("claimed", [0, 21, 0xFFFFFFFF])
def test_the_length_is_not_believed(signature: bytes, claimed: int) -> None:
    """Whatever the header says, the child has all that there is, under its real length."""
    assert contents(carve(movie(signature, claimed=claimed))) == [PLAIN]


@pytest.mark.parametrize("signature", [b"CWS", b"ZWS"])
def test_a_truncated_movie(signature: bytes) -> None:
    """What could be inflated is scanned; the reason is named."""
    body = FRAME + TAGS + os.urandom(4000)
    ran = carve(movie(signature, body)[:3000])
    assert ran.reasons == {"truncated"}
    assert [one.code for one in ran.errors] == ["truncated"]
    assert body.startswith(contents(ran)[0][8:])
    assert 1000 < len(contents(ran)[0]) < 4000


def test_a_corrupt_movie() -> None:
    """Bytes that break the stream end the movie there."""
    packed = movie(b"CWS", FRAME + TAGS + os.urandom(200 * KiB))
    ran = carve(packed[:100_000] + b"\xff" * 1000 + packed[101_000:])
    assert ran.reasons == {"corrupt"}
    assert len(contents(ran)) == 1


def test_a_plain_movie_that_is_cut() -> None:
    """At the start of a payload it is truncated; in the middle of other bytes what is there is all."""
    cut = movie(b"FWS", claimed=9_999)
    assert carve(cut).reasons == {"truncated"}
    ran = carve(b"x" + cut)
    assert (contents(ran), ran.reasons) == ([movie(b"FWS")], set())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"FWS",
        b"FWS\x09",
        b"CWS\x09\0\0\0\0",
        b"ZWS\x0d" + bytes(14),
        b"the letters FWS and CWS in prose, and CWS\x09 too",
        b"FWS\x09\xff\xff\0\0" + b"\xff" * 40,
        b"CWS\x09\xff\xff\0\0" + zlib.compress(b"\0" * 500),
        b"CWS\x09\xff\xff\0\0x\x9c" + b"\xff" * 40,
        b"x" + movie(b"CWS")[:22],
    ],
)
def test_marks_that_lead_nowhere(content: bytes) -> None:
    """Three letters are no movie: no child, no error, no reason."""
    ran = carve(content)
    assert (ran.result, ran.children, ran.errors, ran.reasons) == (None, [], [], set())


@pytest.mark.parametrize("signature", [b"CWS", b"ZWS"])
def test_a_bomb_is_bounded(signature: bytes) -> None:
    """It ends at the limit and says so, without being held in memory."""
    bomb = movie(signature, FRAME + bytes(70 * MiB))
    ran = carve(bomb, RequestLimits(payload_bytes=MiB))
    assert [one.body.size for one in ran.children] == [MiB]
    assert ran.reasons == {"too_large"}
    assert carve(bomb).reasons == {"ratio"}


def test_a_hundred_bombs_take_bounded_work() -> None:
    """Movies that inflate to far more than the payload: the rest is not tried, and that is said."""
    one = movie(b"CWS", FRAME + bytes(3 * MiB))
    began = time.process_time()
    ran = carve(one * 200)
    assert time.process_time() - began < 5
    assert "option_limit" in ran.reasons
    assert len(ran.children) < 60


@pytest.mark.parametrize(
    "mark",
    [b"CWS\x09AAAAx\x9c", b"ZWS\x0dAAAA\0\0\0\0\x5d\0\0\x80\0", b"FWS\x09\xff\xff\xff\0\x08" + bytes(6)],
)
def test_many_marks_take_bounded_time(mark: bytes) -> None:
    """A hundred thousand marks in a row are tried in linear time."""
    began = time.process_time()
    ran = carve(mark * 100_000)
    assert time.process_time() - began < 5
    assert not ran.children


def test_a_dictionary_of_gigabytes_is_refused() -> None:
    """An LZMA header that asks for 4 GiB of memory gets none."""
    packed = movie(b"ZWS")
    ran = carve(packed[:13] + b"\xff\xff\xff\xff" + packed[17:])
    assert not ran.children


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([*map(movie, SIGNATURES), b"CWS\x09", b""]), st.data())
def test_any_bytes_end_in_emits(good: bytes, data: st.DataObject) -> None:
    """Mutated movies and arbitrary bytes: children within the limits, each with a header that holds."""
    content = bytearray(good + data.draw(st.binary(max_size=200)))
    for _ in range(data.draw(st.integers(0, 6)) if content else 0):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    ran = carve(bytes(content), RequestLimits(payload_bytes=MiB))
    assert ran.error is None
    for one in contents(ran):
        if bytes(content[8:]).endswith(one):  # the body of a plain one
            continue
        assert one[:3] == b"FWS"
        assert len(one) == MiB or int.from_bytes(one[4:8], "little") == len(one)
