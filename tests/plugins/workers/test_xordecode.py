"""xordecode: keys of every shape, aligned to the match."""

from __future__ import annotations

import os
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.local.samples import eicar
from plugins._formats.executables.mz import is_executable
from plugins.workers.xordecode import Xordecode
from stoq_core.errors import ConfigError
from stoq_core.limits import RequestLimits
from stoq_core.testing import make, run
from tests import samples

PLAIN = b"some text that somebody wanted to hide" * 3


def xored(content: bytes, key: bytes) -> bytes:
    """Content under a repeating key that begins at the first byte."""
    return bytes(a ^ b for a, b in zip(content, cycle(key), strict=False))


def decoded(content: bytes, *meta: dict[str, Any], **options: str) -> list[bytes]:
    """The children's bytes."""
    ran = run(make(Xordecode, **options), content, dispatch_meta=meta)
    return [one.body.content() for one in ran.children]


@pytest.mark.parametrize(
    ("given_key", "key"),
    [
        (0x41, b"\x41"),
        (0xDEADBEEF, b"\xde\xad\xbe\xef"),
        ([1, 2, 3], b"\x01\x02\x03"),
        ((7, 7), b"\x07"),
        (b"word", b"word"),
        ("41", b"\x41"),
        ("0x4142", b"AB"),
        ("de:ad be-ef", b"\xde\xad\xbe\xef"),
        ("776f7264", b"word"),
    ],
)
def test_a_key_may_be_a_number_a_list_bytes_or_hex(given_key: object, key: bytes) -> None:
    """Each gives the plain text; the result and the child's meta name the key in hex."""
    ran = run(make(Xordecode), xored(PLAIN, key), dispatch_meta=[{"xorkey": given_key}])
    assert [one.body.content() for one in ran.children] == [PLAIN]
    assert ran.result is not None
    assert bytes.fromhex(ran.result["key"]) in (key, key * 2)
    assert ran.children[0].meta.extra_data["xorkey"] == ran.result["key"]


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=20).filter(any), st.integers(0, 200), st.integers(0, 3))
def test_the_key_begins_at_the_match(key: bytes, offset: int, blocks: int) -> None:
    """A key that was found at an offset decodes what stands before and behind it, over chunk borders."""
    content = (PLAIN * 7 + bytes(range(256))) * (1 + 30 * blocks)
    shift = -offset % len(key)
    hidden = xored(content, key[shift:] + key[:shift])
    assert decoded(hidden, {"xorkey": list(key), "offset": offset}) == [content]


def test_the_keys_of_yaras_xor_strings_serve() -> None:
    """A match of a pattern with the modifier xor brings its key; zero is no key; equal keys are one."""
    strings = [{"id": "$a", "offset": 3, "xor_key": 0x41}, {"offset": 9, "xor_key": 0x41}, {"xor_key": 0}]
    assert decoded(xored(PLAIN, b"\x41"), {"strings": strings}) == [PLAIN]


def test_every_dispatch_is_decoded_and_rotations_are_one() -> None:
    """Two keys are two children; one key seen at two places of its period is one; at most sixteen."""
    key = b"\x01\x02\x03"
    metas = [{"xorkey": key, "offset": 0}, {"xorkey": b"\x02\x03\x01", "offset": 1}, {"xorkey": 9}]
    assert decoded(xored(PLAIN, key), *metas) == [PLAIN, xored(xored(PLAIN, key), b"\x09")]
    assert len(decoded(PLAIN, *({"xorkey": one} for one in range(1, 60)))) == 16


@pytest.mark.parametrize("bad", [-1, True, 0, [0, 0], [300], [], "", "zz", "0x4", {}, 1.5, 1 << 70, "00"])
def test_what_is_no_key_is_an_error(bad: object) -> None:
    """It is named and nothing is decoded; the payload stays examined as it stands."""
    ran = run(make(Xordecode), PLAIN, dispatch_meta=[{"xorkey": bad}])
    assert not ran.children
    assert {one.code for one in ran.errors} == {"bad_key", "no_key"}
    assert not ran.reasons


def test_a_configured_key_serves_where_no_dispatch_brings_one() -> None:
    """A dispatch's key goes first; a configured key that is none stops the start."""
    hidden = xored(PLAIN, b"\x41")
    assert decoded(hidden, key="0x41") == [PLAIN]
    assert decoded(hidden, {"xorkey": 1}, key="0x41") == [xored(hidden, b"\x01")]
    assert [one.code for one in run(make(Xordecode), hidden).errors] == ["no_key"]
    with pytest.raises(ConfigError, match=r"worker\.xordecode\.key"):
        make(Xordecode, key="xyz")


def test_a_hidden_executable_is_a_finding() -> None:
    """A real PE under a key, the match in its stub: found, with where it begins; other bytes are not."""
    pe = samples.content("clamav", "clam-upx.exe")
    stub = pe.find(b"This program")
    assert is_executable(memoryview(pe))
    content = b"#" * 77 + pe
    at = 77 + max(stub, 0x40)
    hidden = xored(content, b"\x5a\x11")
    key = b"\x5a\x11" if at % 2 == 0 else b"\x11\x5a"
    ran = run(make(Xordecode), hidden, dispatch_meta=[{"xorkey": list(key), "offset": at}])
    assert ran.children[0].body.content() == content
    assert [(one.name, one.score) for one in ran.findings] == [("xor_hidden_executable", 500)]
    assert "at offset 77" in ran.findings[0].detail
    other = run(make(Xordecode), xored(eicar() * 20, b"\x41"), dispatch_meta=[{"xorkey": 65, "offset": 100}])
    assert other.findings == []


def test_limits_hold() -> None:
    """A child ends where the request's bytes end and says so; the rest of the keys gets none."""
    limits = RequestLimits(extracted_bytes=100)
    ran = run(make(Xordecode), os.urandom(500), dispatch_meta=[{"xorkey": 1}, {"xorkey": 2}], limits=limits)
    assert [one.body.size for one in ran.children] == [100]
    assert ran.reasons == {"too_many_bytes"}


META = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=9) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=800), META, META, META)
def test_any_bytes_and_any_meta_end_in_emits(content: bytes, key: Any, offset: Any, strings: Any) -> None:
    """Whatever a dispatch holds, children are as long as the payload, or there is an error."""
    ran = run(
        make(Xordecode), content, dispatch_meta=[{"xorkey": key, "offset": offset}, {"strings": strings}]
    )
    assert ran.error is None
    assert {one.body.size for one in ran.children} <= {len(content)}
    assert ran.children or ran.errors


def test_an_executable_needs_more_than_its_mark() -> None:
    """`MZ` alone, a header that leads nowhere, or one cut short is none."""
    header = b"MZ" + bytes(58) + (64).to_bytes(4, "little")
    good = header + b"PE\0\0"
    assert is_executable(memoryview(b"##" + good), 2)
    for bad in (
        b"",
        b"MZ",
        header,
        header + b"PE",
        b"MZ" + bytes(62),
        header.replace(b"@", b"\xff") + b"PE\0\0",
    ):
        assert not is_executable(memoryview(bad))
    assert not is_executable(memoryview(Path(__file__).read_bytes()))
