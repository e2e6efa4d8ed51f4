"""b64decode: whole payloads and embedded runs, and what only looks like base64."""

from __future__ import annotations

import base64
import os
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.workers.b64decode import B64decode
from stoq_core.limits import MiB, RequestLimits
from stoq_core.testing import Ran, make, run
from tests import samples

DATA = random.Random(7).randbytes(3_000)
LONG = base64.b64encode(DATA)
URLSAFE = base64.urlsafe_b64encode(DATA)
LINES = base64.encodebytes(DATA)
PEM = base64.b64encode(DATA[:300])


def contents(ran: Ran) -> list[bytes]:
    """The children's bytes."""
    return [one.body.content() for one in ran.children]


@pytest.mark.parametrize(
    "content",
    [LONG, LONG + b"\n", b"\n " + LINES, LONG.rstrip(b"="), URLSAFE, LINES.replace(b"\n", b"\r\n")],
)
def test_a_payload_that_is_base64_is_decoded(content: bytes) -> None:
    """With lines, without padding, url-safe, and with white space around it."""
    ran = run(make(B64decode), content)
    assert contents(ran) == [DATA]
    assert ran.result is not None
    assert ran.result["runs"][0]["offset"] == 0


@pytest.mark.parametrize("size", [1, 2, 3, 4, 10, 100])
def test_a_small_payload_that_is_base64_is_decoded_too(size: int) -> None:
    """`min_bytes` counts inside other bytes alone."""
    assert contents(run(make(B64decode), base64.b64encode(DATA[:size]))) in ([DATA[:size]], [])
    assert contents(run(make(B64decode), b"aGVsbG8=")) == [b"hello"]


@pytest.mark.parametrize(
    ("content", "offset"),
    [
        (b'x = "' + LONG + b'";', 5),
        (b"data:application/zip;base64," + LONG + b"'>", 28),
        (b"Content-Transfer-Encoding: base64\r\n\r\n" + LINES.replace(b"\n", b"\r\n") + b"--b1--\r\n", 37),
        (b"powershell -enc " + LONG, 16),
        (b"{'a': b'\\n" + LONG + b"\\n'}", 10),
        (b"\0\xff" + LONG + b"\0\xff", 2),
        (b"token=" + URLSAFE + b"&x=1", 6),
        (b"<chunk>\n    " + LINES.strip().replace(b"\n", b"\n    ") + b"\n</chunk>", 12),
    ],
)
def test_a_run_inside_other_bytes_is_decoded(content: bytes, offset: int) -> None:
    """In scripts, data URLs, mail, command lines, escapes, binaries and markup."""
    ran = run(make(B64decode), content)
    assert contents(ran) == [DATA]
    assert ran.children[0].meta.extra_data["offset"] == offset


def test_mail_without_padding_ends_before_its_boundary() -> None:
    """A boundary that begins with letters of the url-safe alphabet does not belong to the run."""
    body = base64.encodebytes(DATA[: len(DATA) // 3 * 3])
    ran = run(make(B64decode), b"x: y\n\n" + body + b"--aB3xaB3xaB3xaB3xaB3x--\n")
    assert contents(ran) == [DATA[: len(DATA) // 3 * 3]]


def test_pem_is_read_without_its_lines() -> None:
    """Both marks stay out; several certificates are several runs."""
    body = b"\n".join(PEM[at : at + 64] for at in range(0, len(PEM), 64))
    one = b"-----BEGIN CERTIFICATE-----\n" + body + b"\n-----END CERTIFICATE-----\n"
    assert contents(run(make(B64decode), one * 2)) == [DATA[:300]] * 2


def test_text_in_utf16_is_read() -> None:
    """Registry files and shortcuts hold base64 with a zero behind each letter."""
    ran = run(make(B64decode), b"\x01\x02" + LONG.decode().encode("utf-16-le") + b"\x01\x02")
    assert contents(ran) == [DATA]
    assert ran.result is not None
    assert ran.result["runs"] == [{"offset": 2, "size": 2 * len(LONG), "alphabet": "standard", "wide": True}]


@pytest.mark.parametrize(
    "content",
    [
        DATA.hex().encode(),
        b"x" + DATA.hex().upper().encode() + b" ",
        b"usr/share/some/long/path/of/words/in/lower/case/that/goes/on/" * 2 + b" ",
        b"The quick brown fox jumps over the lazy dog " * 40,
        b"THISISASHOUTEDLINEWITHOUTANYSPACES" * 9 + b"!",
        b"A" * 4000,
        b"aB3x" * 13 + b" aB3x",  # 39 bytes: under min_bytes
        b"!" + LONG[:101] + b"!",  # a length that no base64 has
        b"--- " + b"aB3x+" * 30 + b"_-" * 90,
        b"",
        b"=",
        b"====",
        b"abc",
    ],
)
def test_what_only_looks_like_base64_is_left(content: bytes) -> None:
    """Hex, words, paths, one letter, short runs, impossible lengths."""
    ran = run(make(B64decode), content)
    assert contents(ran) == [] or content.startswith(b"--- ")
    assert not ran.reasons


def test_both_alphabets_in_one_run_are_taken_apart() -> None:
    """Standard base64 that touches dashes is decoded without them."""
    assert contents(run(make(B64decode), b"__" + LONG.rstrip(b"=")[:400] + b"---, ")) == [DATA[:300]]


def test_min_bytes_and_max_runs() -> None:
    """Both are honoured; what max_runs leaves out is said."""
    run_of = base64.b64encode(DATA[:30]) + b"! "
    assert contents(run(make(B64decode), run_of)) == []
    assert contents(run(make(B64decode, min_bytes=30), run_of)) == [DATA[:30]]
    ran = run(make(B64decode, min_bytes=30, max_runs=2), run_of * 5)
    assert len(ran.children) == 2
    assert ran.reasons == {"option_limit"}


def test_an_executable_is_a_finding() -> None:
    """A real PE as base64 inside a script is found; a payload that is its base64 alone is not."""
    pe = samples.content("clamav", "clam-upx.exe")
    hidden = run(make(B64decode), b"$x = '" + base64.b64encode(pe) + b"'")
    assert contents(hidden) == [pe]
    assert [(one.name, one.score) for one in hidden.findings] == [("base64_hidden_executable", 250)]
    assert run(make(B64decode), base64.b64encode(pe)).findings == []


def test_a_real_message() -> None:
    """Mail with an executable as base64, as ClamAV's own tests have it, gives that file."""
    for name in ("clam.mail", "clam.exe.mbox.base64"):
        assert samples.content("clamav", "clam.exe") in contents(
            run(make(B64decode), samples.content("clamav", name))
        ), name


@pytest.mark.parametrize(
    "content",
    [b"A" * MiB, b"aB3x/_-+" * 131_072, b"aB3xaB3xaB3xaB3x\n" * 60_000, b"aB3xaB3xaB3xaB3x \t" * 50_000,
     b"xB3d" * 20 + b"=" * MiB, b"aB3x" * 262_144 + b"!", (b"x" * 17 + b"\n" + b"y" * 16 + b"\n") * 30_000],
)  # fmt: skip
def test_hostile_text_takes_linear_time(content: bytes) -> None:
    """Twice the size takes about twice the time, and a megabyte far less than a second."""
    began = time.process_time()
    run(make(B64decode), content)
    assert time.process_time() - began < 1.0


def test_limits_hold() -> None:
    """Decoded bytes are counted while they are written."""
    ran = run(
        make(B64decode),
        b"!" + base64.b64encode(bytes(range(256)) * 4000),
        limits=RequestLimits(payload_bytes=1000),
    )
    assert [one.body.size for one in ran.children] == [1000]
    assert ran.reasons == {"too_large"}


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=300),
    st.binary(max_size=300),
    st.sampled_from([b"", b"=", b"\n", b"\0", b"-", b"AbC9" * 40]),
)
def test_any_bytes_end_in_emits(before: bytes, data: bytes, glue: bytes) -> None:
    """No bytes are refused; what was encoded and stands alone between other bytes is found again."""
    encoded = base64.b64encode(data)
    ran = run(make(B64decode, min_bytes=12), before + glue + encoded + glue)
    assert ran.error is None
    for one in ran.children:
        assert one.meta.extra_data["offset"] <= len(before) + len(glue) + len(encoded)


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=200, max_size=2000), st.sampled_from([base64.b64encode, base64.encodebytes]))
def test_what_was_encoded_is_found(data: bytes, encode: object) -> None:
    """Round trip, between quotes, whenever the text is not one that hex or words could be."""
    encoded = encode(data).strip()  # type: ignore[operator]
    joined = encoded.replace(b"\n", b"")
    if (
        joined.lower() != joined
        and joined.upper() != joined
        and set(joined) - set(b"0123456789abcdefABCDEF=")
    ):
        assert contents(run(make(B64decode), b'"' + encoded + b'"')) == [data]


def test_twenty_megabytes_are_quick() -> None:
    """20 MB of it in well under two seconds of processor time."""
    encoded = base64.b64encode(os.urandom(15 * MiB))
    began = time.process_time()
    assert len(run(make(B64decode), encoded).children) == 1
    assert time.process_time() - began < 2
