"""decode: every encoding in every script, split, nested; what only looks encoded; limits and hostile text."""

from __future__ import annotations

import base64
import contextlib
import gzip
import random
import sys
import zlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plugins.workers.decode import Decode
from stoq_core.testing import Ran, make, run
from tests.binaries import pe
from tests.encoded import ENCODINGS, SCRIPTS, SPLITS, b64, pieces

MARKER = b"The sentence that is hidden here: nobody sees it, 58c1e0."
TEXT = MARKER + b" And more of it follows, so that it is no short one.\n"
EIGHT_BIT = frozenset(("base64 of UTF-16", "%u escapes", "\\u escapes"))


def contents(ran: Ran) -> list[bytes]:
    """The children's bytes."""
    return [child.body.content() for child in ran.children]


def unpacked(content: bytes, depth: int = 4) -> bytes:
    """All that comes out of a payload, and out of what comes out."""
    for wbits in (15, 31, -15):  # zlib, gzip, deflate: the worker `decompress` opens them
        with contextlib.suppress(zlib.error):
            return unpacked(zlib.decompress(content, wbits), depth)
    if not depth:
        return content
    return content + b"".join(unpacked(inner, depth - 1) for inner in contents(run(make(Decode), content)))


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_each_encoding_is_read_in_each_script(encoding: str, script: str) -> None:
    """Whatever language is around it, and where nothing is."""
    content = SCRIPTS[script].replace(b"%b", ENCODINGS[encoding](TEXT))
    assert any(MARKER in child for child in map(unpacked, contents(run(make(Decode), content))))


@pytest.mark.parametrize("split", SPLITS)
def test_split_literals_are_read_as_one(split: str) -> None:
    """Joined by operators, by lines, in arrays, added to a variable; a file comes out whole."""
    packed = gzip.compress(random.Random(3).randbytes(60) + TEXT)
    size, between = SPLITS[split]
    content = b"var a = " + pieces(b64(packed), size, between) + b";\n"
    assert MARKER in unpacked(content)


@given(
    outer=st.sampled_from(sorted(ENCODINGS)),
    inner=st.sampled_from(sorted(set(ENCODINGS) - {"yenc"})),
    script=st.sampled_from(sorted(SCRIPTS)),
)
@settings(max_examples=60, deadline=None)
@example("hex", "base64 reversed", "JavaScript")
def test_encodings_are_read_inside_each_other(outer: str, inner: str, script: str) -> None:
    """Any two, with a script between them."""
    within = b"x = '" + ENCODINGS[inner](TEXT) + b"'\n"
    content = SCRIPTS[script].replace(b"%b", ENCODINGS[outer](within))
    assert MARKER in unpacked(content)


@pytest.mark.parametrize(
    "charset", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "utf-8-sig", "cp037", "utf-7"]
)
def test_a_text_in_another_charset_is_read(charset: str) -> None:
    """With and without its mark, and what is encoded in it."""
    text = "<script>" + TEXT.decode() + "</script> x = '" + b64(MARKER).decode() + "'\n"
    found = unpacked(text.encode(charset))
    assert found.count(MARKER) >= 2


def test_sixteen_bytes_are_enough() -> None:
    """A command line is short; fifteen bytes are no text."""
    assert contents(run(make(Decode), b"x '" + b64(b"iex(irm http://x)") + b"'")) == [b"iex(irm http://x)"]
    assert contents(run(make(Decode), b"x '" + b64(b"fifteen letters") + b"'")) == []


@pytest.mark.parametrize(
    "encoding", ["base64", "hex", "decimal list", "\\x escapes", "base64 reversed", "hex under XOR"]
)
def test_a_program_written_as_text_is_a_finding(encoding: str) -> None:
    """`encoded_executable`, and the program is a child."""
    program = pe(b"\x90" * 600)
    ran = run(make(Decode), b"a = '" + ENCODINGS[encoding](program) + b"'")
    assert [finding.name for finding in ran.findings] == ["encoded_executable"]
    assert contents(ran)[0].startswith(program[:512])


def test_the_last_of_many_runs_is_found() -> None:
    """There is no count behind which nothing is looked at."""
    rng = random.Random(1)
    runs = b"".join(b"'%b';\n" % b64(b"PK\3\4" + rng.randbytes(44)) for _ in range(1_500))
    assert MARKER in contents(run(make(Decode), runs + b"'%b'" % b64(MARKER)))[-1]


def test_many_short_texts_become_one_child() -> None:
    """The first ones stand alone; nested encodings in the others are still found."""
    words = [b"this is the text number %d" % number for number in range(500)]
    content = b"\n".join(b"call(%d, '%b')" % (at, b64(word)) for at, word in enumerate(words))
    ran = run(make(Decode), content)
    assert len(ran.children) <= 10
    assert all(word in b"\n".join(contents(ran)) for word in words)


@pytest.mark.parametrize(
    "content",
    [
        b"The quick brown fox jumps over the lazy dog. " * 40,
        b"usr/share/some/long/path/of/words/in/lower/case/that/goes/on/" * 2,
        b"import authorizeRequestOnClaimChallenge2 from '@azure/msal-node/lib/Client5Configuration'\n" * 9,
        b'"integrity": "sha512-' + b64(random.Random(5).randbytes(64)) + b'"\n',
        random.Random(6).randbytes(32).hex().encode(),
        b"A" * 4_000,
        b"-" * 4_000,
        b"0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20\n" * 9,
        bytes(random.Random(7).randbytes(500)),
        b"",
        b"=",
        b"-----BEGIN CERTIFICATE-----\n"
        + base64.encodebytes(b"\x30\x82\x01\xf0" + random.Random(8).randbytes(500))
        + b"-----END CERTIFICATE-----\n",
    ],
)
def test_what_only_looks_encoded_is_left(content: bytes) -> None:
    """Prose, paths, names, checksums, tables, rules of dashes, certificates."""
    ran = run(make(Decode), content)
    assert contents(ran) == []
    assert ran.result is None
    assert not ran.reasons


@given(st.binary(max_size=400) | st.text(max_size=400).map(str.encode))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_survived(content: bytes) -> None:
    """Arbitrary bytes, plain and under each of a few encodings cut anywhere."""
    run(make(Decode), content)
    for name in ("base64", "hex", "\\x escapes", "decimal list", "uuencode", "Git's patch"):
        encoded = ENCODINGS[name](content)
        run(make(Decode), encoded[: len(encoded) * 2 // 3])


SHAPES: dict[str, bytes] = {
    "hex": b"4d5a90", "a@": b"a@", "base64": b"aB3xZ9", "base64 runs": b"'aB3xaB3xaB3xaB3xaB3xaB3xaB3xaB3x';\n",
    "nested quotes": b"\"'", "literals": b"'a'+", "open literals": b"'a", "numbers": b"1,", "almost lists": b"1," * 14 + b"999,",
    "lines": b"aaaa\n", "replacements": b"replace('a','b')", "open replacements": b"replace(", "formats": b"'{0}' -f 'a',",
    "arrays": b"join('a',", "variables": b"set a=%a%%a%\n", "open variables": b"%a", "codes": b"Chr(65)&", "open codes": b"chr(1",
    "entities": b"&#65;", "escapes": b"\\x41", "carets": b"a^", "blocks": b"begin 644 a\nM", "scripts": b"#@~^AAAAAA==a^#~@",
    "dumps": b"00000000: 4141 4141 4141 4141 4141 4141\n", "rules": b"-----BEGIN ", "slashes": b"aaaaaaaaaaaaaaaaaaaaaaaB1/",
}  # fmt: skip


def calls(content: bytes) -> int:
    """Python functions and library calls that reading takes."""
    counted = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    worker = make(Decode)
    sys.setprofile(count)
    try:
        run(worker, content)
    finally:
        sys.setprofile(None)
    return counted


@pytest.mark.parametrize("shape", SHAPES)
def test_four_times_the_text_is_at_most_five_times_the_work(shape: str) -> None:
    """What makes careless expressions quadratic: counted in calls, not in seconds."""
    small, large = (SHAPES[shape] * (size // len(SHAPES[shape])) for size in (20_000, 80_000))
    run(make(Decode), small)
    assert calls(large) <= 5 * calls(small) + 1_000
