"""The yara dispatcher: workers, archiving and XOR keys from rules' meta."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins._rules.yara import ruleset
from plugins.dispatchers.yara import Yara, _period
from stoq_core.job import Archive
from stoq_core.testing import Ran, make, run


def dispatched(folder: Path, text: str, content: bytes, **options: int) -> Ran:
    """What the dispatcher yields with these rules."""
    (folder / "own.yar").write_text(text)
    ruleset.cache_clear()
    return run(make(Yara, rules=str(folder), **options), content)


def xored(content: bytes, key: bytes) -> bytes:
    """Content under a repeating key."""
    return bytes(a ^ b for a, b in zip(content, cycle(key), strict=False))


def test_a_rule_names_workers(tmp_path: Path) -> None:
    """`plugin` names several workers, repeated or by commas, each once a rule."""
    text = 'rule r { meta: plugin = "a, b,,a" plugin = "c" condition: true }'
    assert [one.plugin for one in dispatched(tmp_path, text, b"x").dispatches] == ["a", "b", "c"]
    assert dispatched(tmp_path, "rule r { condition: true }", b"y").dispatches == []


def test_every_match_reaches_the_worker(tmp_path: Path) -> None:
    """Two rules for one worker are two dispatches, each with its own rule, tags, meta and strings."""
    text = """rule one : t { meta: plugin = "w" note = 1 strings: $a = "x" condition: $a }
    rule two { meta: plugin = "w" condition: true }"""
    first, second = dispatched(tmp_path, text, b"..x").dispatches
    assert first.meta == {
        "rule": "one",
        "namespace": "own",
        "tags": ["t"],
        "meta": {"plugin": "w", "note": 1},
        "strings": [{"id": "$a", "offset": 2, "length": 1, "data": "78"}],
    }
    assert second.meta["rule"] == "two"


@pytest.mark.parametrize("save", ["false", '"false"', '"False"'])
def test_save_false_keeps_bytes_out_of_archives(tmp_path: Path, save: str) -> None:
    """`save` as a truth value or as text; without a worker, too."""
    ran = dispatched(tmp_path, f"rule r {{ meta: save = {save} condition: true }}", b"x")
    assert ran.others == [Archive(keep=False)]


@pytest.mark.parametrize("save", ["true", '"true"', "1"])
def test_other_values_of_save_change_nothing(tmp_path: Path, save: str) -> None:
    """Only false is false."""
    assert dispatched(tmp_path, f"rule r {{ meta: save = {save} condition: true }}", b"x").others == []


PLAIN = b"This program cannot be run in DOS mode"
HIDDEN = """rule r { meta: plugin = "w" xor_plaintext_for_string_s = "needle needle"
    strings: $s = "needle needle" xor condition: $s }"""


@pytest.mark.parametrize("key", [b"\x41", b"\x10\x20\x30", b"longer key"])
def test_the_key_comes_from_the_plaintext(tmp_path: Path, key: bytes) -> None:
    """A match of what its rule knows the plaintext of gives the key and the offset, whatever is reported."""
    hidden = xored(PLAIN, key)
    text = f"""rule r {{ meta: plugin = "xordecode" xor_plaintext_for_string_s = "{PLAIN.decode()}"
        strings: $s = {{{hidden.hex()}}} condition: $s }}"""
    ran = dispatched(tmp_path, text, b"..." + hidden, strings_limit=0, data_bytes=0)
    (found,) = (dispatch for dispatch in ran.dispatches if dispatch.meta["rule"] == "r")
    assert (found.plugin, found.meta["xorkey"], found.meta["offset"]) == ("xordecode", list(key), 3)


def test_each_distinct_key_is_a_dispatch(tmp_path: Path) -> None:
    """Two copies under two keys are two dispatches; a third under the first key is none."""
    hidden = b"needle needle"
    content = xored(hidden, b"\x07") + xored(hidden, b"\x09") + xored(hidden, b"\x07")
    found = dispatched(tmp_path, HIDDEN, content).dispatches
    assert [(one.meta["xorkey"], one.meta["offset"]) for one in found] == [([7], 0), ([9], 13)]


def test_a_flood_of_keys_is_bounded(tmp_path: Path) -> None:
    """A payload with a match under every key gives a bounded number of dispatches."""
    content = b"".join(xored(b"needle needle", bytes([key])) for key in range(256))
    assert len(dispatched(tmp_path, HIDDEN, content).dispatches) == 16


@pytest.mark.parametrize(
    "meta",
    [
        'xor_plaintext_for_string_z = "abc"',
        'xor_plaintext_for_string_s = ""',
        "xor_plaintext_for_string_s = 5",
    ],
)
def test_a_plaintext_that_fits_nothing_still_dispatches(tmp_path: Path, meta: str) -> None:
    """A wrong name, an empty text or a number gives no key; the worker is named all the same."""
    text = f'rule r {{ meta: plugin = "w" {meta} strings: $s = "x" condition: $s }}'
    (found,) = dispatched(tmp_path, text, b"x").dispatches
    assert "xorkey" not in found.meta


@given(st.binary(min_size=1, max_size=9), st.integers(2, 40))
def test_a_repeated_key_is_found_and_is_the_shortest(key: bytes, size: int) -> None:
    """The period repeats to the whole stream, and no shorter one does."""
    stream = bytes(one for one, _ in zip(cycle(key), range(len(key) * size), strict=False))
    found = _period(stream)
    assert xored(stream, found) == bytes(len(stream))
    assert all(any(xored(stream, stream[:shorter])) for shorter in range(1, len(found)))


def test_the_digest_is_the_rulesets(tmp_path: Path) -> None:
    """Results name the ruleset that the dispatcher runs."""
    (tmp_path / "own.yar").write_text("rule r { condition: true }")
    digest = make(Yara, rules=str(tmp_path)).ruleset_digest
    assert len(digest) == 16
    assert set(digest) <= set("0123456789abcdef")


@given(st.binary(max_size=3000))
def test_any_bytes_end_in_dispatches(content: bytes) -> None:
    """The shipped routing rules take any bytes."""
    assert run(make(Yara), content).error is None
