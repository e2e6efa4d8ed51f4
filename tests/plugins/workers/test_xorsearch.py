"""xorsearch: every operation and key, against the plain way of trying each on the whole payload."""

from __future__ import annotations

import gc
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.workers.xorsearch import Xorsearch
from stoq_core.errors import ConfigError
from stoq_core.limits import Deadline, MiB
from stoq_core.testing import Ran, make, run

SEARCH = make(Xorsearch)
WORD = b"http://evil.example/"


def rot(value: int, by: int) -> int:
    """A letter moved on by so many places."""
    letter = chr(value)
    if not (letter.isascii() and letter.isalpha()):
        return value
    first = ord("A") if letter.isupper() else ord("a")
    return (value - first + by) % 26 + first


HIDE: dict[str, tuple[Callable[[int, int], int], range]] = {
    "XOR": (lambda value, key: value ^ key, range(1, 256)),
    "ROL": (lambda value, key: (value << key | value >> (8 - key)) & 255, range(1, 8)),
    "ROT": (rot, range(1, 26)),
    "ADD": (lambda value, key: (value + key) % 256, range(1, 256)),
}


def hits(ran: Ran) -> list[tuple[str, int, str, int]]:
    """All hits: operation, key, term, offset."""
    found = (ran.result or {"hits": {}})["hits"]
    return [
        (operation, int(key, 0), one["term"], one["offset"])
        for operation, keys in found.items()
        for key, of_key in keys.items()
        for one in of_key
    ]


@pytest.mark.parametrize("operation", sorted(HIDE))
def test_every_key_is_found(operation: str) -> None:
    """Each key of each operation: the hit undoes to the word, at its offset, whatever it is called."""
    hide, keys = HIDE[operation]
    for key in keys:
        hidden = bytes(hide(one, key) for one in WORD)
        found = hits(run(SEARCH, b"\xfe\x01" + hidden + b"\x01"))
        assert [(term, offset) for _, _, term, offset in found] == [("http://", 2)], key
        told, its_key, _, _ = found[0]
        assert bytes(HIDE[told][0](one, its_key) for one in WORD[:7]) == hidden[:7]


def test_xor_is_told_before_the_others() -> None:
    """Adding 128 is XOR with 128: told once, as XOR, with the key in hex."""
    ran = run(SEARCH, bytes(one ^ 0x80 for one in WORD))
    assert ran.result == {"hits": {"XOR": {"0x80": [{"term": "http://", "offset": 0}]}}, "count": 1}
    assert [(one.name, one.score) for one in ran.findings] == [("hidden_words", 200)]


@pytest.mark.parametrize(
    "content", [WORD, WORD.upper(), b"POWERSHELL powershell PowerShell", b"", b"x" * 999]
)
def test_words_in_plain_sight_are_no_hits(content: bytes) -> None:
    """XOR with 0x20 turns letters into the other case; that hides nothing."""
    ran = run(SEARCH, content)
    assert (ran.result, ran.findings) == (None, [])


def test_terms_of_ones_own() -> None:
    """They replace the shipped ones; text beyond ASCII is looked for as UTF-8."""
    search = make(Xorsearch, terms=("geheim-wörter",))
    hidden = bytes(one ^ 3 for one in "geheim-wörter".encode())
    assert hits(run(search, b"." + hidden)) == [("XOR", 3, "geheim-wörter", 1)]
    assert hits(run(search, bytes(one ^ 3 for one in WORD))) == []


@pytest.mark.parametrize("terms", [("abc",), ("x" * 40,), ("y" * 200,), ()])
def test_terms_that_cannot_serve_stop_the_start(terms: tuple[str, ...]) -> None:
    """Too short, too long, of one letter, or none at all."""
    with pytest.raises(ConfigError, match=r"worker\.xorsearch\.terms"):
        make(Xorsearch, terms=terms)


def test_a_flood_of_hits_is_bounded() -> None:
    """Ten a key are listed, whatever the payload is full of; the time stays small."""
    content = b"".join(bytes(one ^ key for one in WORD) for key in (0x41, 0x42)) * 20_000
    found = hits(run(SEARCH, content))
    assert len(found) == 20
    every = b"".join(bytes((one + key) % 256 for one in WORD) for key in range(256)) * 20
    assert len(hits(run(SEARCH, every))) <= 1_000


def test_ordinary_programs_have_no_hits() -> None:
    """The running interpreter and random bytes."""
    random_bytes = random.Random(5).randbytes(2 * MiB)
    for content in (Path(sys.executable).resolve().read_bytes()[: 4 * MiB], random_bytes):
        assert run(SEARCH, content).result is None


def test_twenty_megabytes_are_quick() -> None:
    """All operations and keys are one pass: 20 MB in under two seconds of processor time."""
    run(SEARCH, b"warm")
    content = os.urandom(20 * MiB)
    began = time.process_time()
    run(SEARCH, content)
    assert time.process_time() - began < 2


def test_no_time_is_a_reason() -> None:
    """A deadline that has passed still ends: with hits or as `timeout`."""
    ran = run(SEARCH, bytes(MiB), deadline=Deadline.after_ms(0))
    assert ran.error is None or ran.error.code == "timeout"


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=2000), st.integers(1, 255), st.binary(max_size=200))
def test_any_bytes_end_in_emits(before: bytes, key: int, behind: bytes) -> None:
    """Any bytes are searched; a hidden word among them is found, unless it stands there plainly too."""
    content = before + bytes(one ^ key for one in b"GetProcAddress") + behind
    ran = run(SEARCH, content)
    assert ran.error is None
    assert key == 0x20 or ("XOR", key, "GetProcAddress", len(before)) in hits(ran)


def test_a_worker_that_another_thread_lets_go_of() -> None:
    """A library's object serves one thread and is let go of by it: nothing of it hangs on the worker."""
    alone = make(Xorsearch, terms=("alone in a cycle",))
    assert run(alone, b"x").error is None
    alone.itself = alone  # type: ignore[attr-defined]
    gc.collect()
    del alone
    heard: list[sys.UnraisableHookArgs] = []
    before, sys.unraisablehook = sys.unraisablehook, heard.append
    try:
        thread = threading.Thread(target=gc.collect)
        thread.start()
        thread.join()
    finally:
        sys.unraisablehook = before
    assert heard == []
