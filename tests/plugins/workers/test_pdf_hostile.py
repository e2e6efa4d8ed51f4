"""PDF made to break its reader: bombs, limits, traps that are quadratic for others, and any bytes."""

from __future__ import annotations

import time
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.workers.pdf import Pdf
from stoq_core.limits import Deadline, RequestLimits
from stoq_core.testing import FakeClock, make
from tests import fuzz, samples
from tests.pdf_files import FLATE, HEAD, LAUNCH, OPENS, SCRIPT, packed, result, scan, stream


@pytest.mark.parametrize("how", [1, 2, 3])
def test_bombs(how: int) -> None:
    """Flate in Flate in Flate ends at the limits and says so, whichever filter would swallow it."""
    data = bytes(90 << 20)
    for _ in range(how):
        data = zlib.compress(data, 9)
    for last in (b"", b"/AHx"):
        ran = scan(HEAD + stream(data, b"/Filter[" + b"/Fl" * how + last + b"]"))
        assert "ratio" in ran.reasons
        assert sum(one.body.size for one in ran.children) <= max(64 << 20, 250 * (len(data) + 200))


def test_object_stream_bombs() -> None:
    """Object streams are read up to their limits, many of them up to one for all."""
    bomb = stream(zlib.compress(bytes(30 << 20), 9), b"/Type/ObjStm/Filter/Fl")
    assert {"too_large", "ratio"} <= scan(HEAD + bomb * 10).reasons


def test_limits_leave_a_result() -> None:
    """Past the request's children and past the time a reason is left, and what was found so far."""
    many = b"".join(b"%d 0 obj<</JS(f%d)>>endobj\n" % (n, n) for n in range(20)) + stream(FLATE)
    few = scan(HEAD + many, limits=RequestLimits(payloads=5))
    assert len(few.children) == 5
    assert few.reasons == {"too_many_payloads"}
    assert result(few)["objects"] == 21
    late = scan(HEAD + many * 30, deadline=Deadline(0.0, FakeClock()))
    assert late.reasons == {"timeout"}
    assert late.result is not None
    for endless in (b"1 0 obj" + b"[" * 100_000, b"1 0 obj" + b"(" * 100_000):
        assert scan(HEAD + endless, deadline=Deadline(0.0, FakeClock())).reasons == {"timeout"}


TRAPS = [
    b"<<", b"(", b"obj stream ", b"[", b"1 0 obj (", b"1 0 obj <", b"1 0 obj %", b"1 0 obj [<<", b"1 0 obj ( endobj ",
    b"/#41", b"\\", b"1 0 R ", b"1 ", b"trailer<<", b"endstream ", b">>", b"1 0 obj<</Type/ObjStm>>stream\n",
    b"1 0 obj<</Filter/AHx>>stream\n", b"1 0 obj<</Filter/LZW>>stream\n", b"1 0 obj<</EF<</F 1 0 R>>>>",
]  # fmt: skip


@pytest.mark.parametrize("trap", TRAPS)
def test_quadratic_traps(trap: bytes) -> None:
    """Four times as much of what opens and never ends costs about four times as much, not sixteen."""
    for tail in (b"", b")" * 100_000, b"endstream"):
        small, large = (_cost(HEAD + trap * (size // len(trap)) + tail) for size in (250_000, 1_000_000))
        assert large < 8 * small + 1


def _cost(content: bytes) -> float:
    """Processor seconds of a scan."""
    began = time.process_time()
    scan(content)
    return time.process_time() - began


def test_more_strings_than_are_kept() -> None:
    """Of an encrypted document's strings no more are decrypted than the limit, and that is said."""
    sample = samples.content("pypdf", "encryption/r4-owner-password.pdf")
    ran = scan(sample + b"".join(b"%d 0 obj<</A(%032d)>>endobj\n" % (n, n) for n in range(900, 200_990)))
    assert "option_limit" in ran.reasons


def test_overlapping_places() -> None:
    """An object stream whose places all lead into one endless object is not read a million times."""

    def overlapping(places: int, sign: bytes) -> bytes:
        table = b" ".join(b"%d %d" % (n, n) for n in range(places))
        body = zlib.compress(table + sign * 10 * places)
        return HEAD + stream(body, b"/Type/ObjStm/N %d/First %d/Filter/Fl" % (places, len(table)))

    for sign in (b"(", b"<<", b"[", b"%"):
        small, large = (_cost(overlapping(places, sign)) for places in (12_500, 50_000))
        assert large < 8 * small + 1


PIECES = [
    b"1 0 obj", b"<<", b">>", b"[", b"]", b"(", b")", b"/JS", b"/Filter/Fl", b"stream\n", b"endstream", b"endobj",
    b"/Type/ObjStm/N 2/First 8", b"trailer", b"/Encrypt", b"/EF", b" 1 0 R ", b"/XFA", b"<41", b"/Length 9",
    FLATE, b"/DecodeParms<</Predictor 12/Columns 3>>", b"/Filter/LZW", b"/A85", b"/RL", b"-1 ", b"#4", b"\\",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=20), st.sampled_from(PIECES)), max_size=40))
def test_any_bytes(parts: list[bytes]) -> None:
    """Arbitrary bytes behind the mark end in a result, within the limits."""
    ran = scan(HEAD + b"".join(parts))
    assert ran.result is not None
    assert sum(one.body.size for one in ran.children) <= 10 << 20


def test_mutations_of_real_files() -> None:
    """Real documents, cut, flipped and spliced, end in emits or an error."""
    names = (
        "crazyones.pdf", "attachment.pdf", "encryption/r4-aes-user-password.pdf", "encryption/r6-empty-password.pdf",
        "imagemagick-lzw.pdf", "form.pdf", "issue-297.pdf",
    )  # fmt: skip
    made = (
        HEAD
        + OPENS
        + packed(SCRIPT, LAUNCH)
        + stream(FLATE, b"/Filter/Fl/DecodeParms<</Predictor 15/Columns 7>>")
    )
    fuzz.survive(make(Pdf), [made, *(samples.content("pypdf", one) for one in names)], examples=150)
