"""What is as dense as chance is told from code, text and tables, wherever in a payload it stands."""

from __future__ import annotations

import bz2
import lzma
import random
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins._formats.filetype import identify
from plugins._text.density import MIN_BYTES, is_dense

PLAIN = Path(sys.executable).resolve().read_bytes()[:2_000_000]


@pytest.mark.parametrize("size", [96, 200, 1_000, 3_000, 100_000])
def test_random_bytes_are_dense(size: int) -> None:
    """Of any size from a hundred bytes on."""
    assert all(is_dense(memoryview(random.Random(seed).randbytes(size))) for seed in range(50))


@pytest.mark.parametrize("pack", [zlib.compress, lzma.compress, bz2.compress])
def test_packed_bytes_are_dense(pack: object) -> None:
    """A program that is packed, without its header."""
    assert callable(pack)
    assert is_dense(memoryview(pack(PLAIN)[64:]))


def test_programs_and_texts_are_not() -> None:
    """A table of numbers, Python, zeros."""
    numbers = b"".join(n.to_bytes(4, "little") for n in range(50_000))
    for plain in (numbers, Path(__file__).read_bytes() * 9, bytes(5_000)):
        assert not is_dense(memoryview(plain))


def test_a_dense_part_is_found() -> None:
    """Zeros around it hide nothing."""
    part = random.Random(5).randbytes(6_000)
    assert is_dense(memoryview(bytes(100_000) + part + bytes(100_000)))


def test_few_bytes_are_never() -> None:
    """Below the least size nothing can be said."""
    assert not is_dense(memoryview(random.Random(1).randbytes(MIN_BYTES - 1)))


@given(st.binary(max_size=3_000))
def test_any_bytes(content: bytes) -> None:
    """Never an error; and an encoding without a mark is not seen in chance."""
    is_dense(memoryview(content))
    assert identify(memoryview(content)).label


def test_chance_is_no_encoding() -> None:
    """Random bytes decode as nothing from the first to the last."""
    for seed in range(300):
        content = random.Random(seed).randbytes(64 + seed)
        assert identify(memoryview(b"\x13\x37" + content)).label == "unknown"
