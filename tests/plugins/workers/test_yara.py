"""The yara worker: matches, findings, limits, and one scan for worker and dispatcher."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins._rules import yara
from plugins.dispatchers.yara import Yara as Dispatcher
from plugins.workers.entropy import Entropy
from plugins.workers.yara import Yara
from stoq_core.body import Body, BodyWriter, anonymous_file
from stoq_core.errors import RulesError
from stoq_core.limits import Deadline, MiB
from stoq_core.testing import make, payload, run

SLOW = """rule slow { condition:
    for any i in (0..filesize) : (for any j in (0..filesize) : (uint8(i) + uint8(j) == 900)) }"""


def rules(folder: Path, text: str, name: str = "own.yar") -> str:
    """A rule file, as the option names it."""
    (folder / name).write_text(text)
    return str(folder / name)


def body_with_descriptor(content: bytes) -> Body:
    """A large payload's body, which lies behind a descriptor."""
    fd = anonymous_file()
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(content)
    return Body.from_fd(fd)


def test_a_match_is_described_in_full(tmp_path: Path) -> None:
    """Rule, namespace, tags, meta of each type, and each string's id, offset, length, data and key."""
    text = r"""rule a : one two {
        meta: s = "x" n = 7 b = true f = 1.5 raw = "\xff\x00" twice = "p" twice = "q" twice = 3
        strings: $x = "secret" xor(1-255) $y = "plain"
        condition: any of them }"""
    content = b"..plain." + bytes(one ^ 0x21 for one in b"secret")
    found = run(make(Yara, rules=rules(tmp_path, text)), content).result
    assert found == {
        "matches": [
            {
                "rule": "a",
                "namespace": "own",
                "tags": ["one", "two"],
                "meta": {"s": "x", "n": 7, "b": True, "f": 1.5, "raw": "ff00", "twice": ["p", "q", 3]},
                "strings": [
                    {"id": "$x", "offset": 8, "length": 6, "data": "524442534455", "xor_key": 0x21},
                    {"id": "$y", "offset": 2, "length": 5, "data": b"plain".hex(), "xor_key": None},
                ],
                "view": None,
            }
        ]
    }


@pytest.mark.parametrize(
    ("meta", "findings"),
    [
        (
            'score = 700 description = "why" attack = "T1059.005, T1204 ,"',
            [(700, "why", ("T1059.005", "T1204"))],
        ),
        ('score = "450"', [(450, "", ())]),
        ("score = true", []),
        ("score = 0", []),
        ("score = -5", []),
        ('score = "high"', []),
        ('description = "unscored"', []),
    ],
)
def test_a_score_makes_a_finding(tmp_path: Path, meta: str, findings: list[object]) -> None:
    """`score` above zero is a finding with detail and techniques; other values are meta and no more."""
    text = f"rule r {{ meta: {meta} condition: true }}"
    ran = run(make(Yara, rules=rules(tmp_path, text)), b"x")
    assert [(one.score, one.detail, one.attack) for one in ran.findings] == findings
    assert ran.result is not None


def test_routing_rules_are_not_in_the_result(tmp_path: Path) -> None:
    """What only routes is the dispatcher's; private rules are nobody's."""
    text = "rule r { meta: score = 5 condition: true }"
    assert run(make(Yara, rules=rules(tmp_path, text, "routing.yar")), b"x").result is None
    private = "private rule p { condition: true } rule r { condition: p }"
    found = run(make(Yara, rules=rules(tmp_path, private)), b"x").result
    assert found is not None
    assert [one["rule"] for one in found["matches"]] == ["r"]


def test_no_match_yields_nothing(tmp_path: Path) -> None:
    """A payload without matches has no result, and an empty one is scanned like any other."""
    path = rules(tmp_path, "rule empty { condition: filesize == 0 }")
    assert run(make(Yara, rules=path), b"x").result is None
    assert run(make(Yara, rules=path), b"").result is not None


def test_limits_on_strings_and_data(tmp_path: Path) -> None:
    """`strings_limit` counts matches a string, `data_bytes` bytes a match; 0 is honoured for both."""
    path = rules(tmp_path, 'rule r { strings: $a = "abcd" $b = "bc" condition: all of them }')
    content = b"abcd" * 50

    def strings(**options: int) -> list[dict[str, object]]:
        found = run(make(Yara, rules=path, **options), content).result
        assert found is not None
        return list(found["matches"][0]["strings"])

    assert len(strings()) == 20
    assert [one["offset"] for one in strings(strings_limit=2)] == [0, 4, 1, 5]
    assert strings(strings_limit=0) == []
    assert {one["data"] for one in strings(data_bytes=3)} == {b"abc".hex(), b"bc".hex()}
    assert {one["data"] for one in strings(data_bytes=0)} == {""}


def test_a_payload_that_is_all_matches_stays_small(tmp_path: Path) -> None:
    """20 MB of matches end in a short result: the flood is bounded inside the library."""
    path = rules(tmp_path, 'rule r { strings: $a = "AA" $b = /A{2,9}/ condition: #a > 5000 and $b }')
    found = run(make(Yara, rules=path), b"A" * (20 * MiB)).result
    assert found is not None
    assert len(found["matches"][0]["strings"]) == 20


def test_a_large_body_is_mapped_where_it_lies(tmp_path: Path) -> None:
    """A payload behind a descriptor gives what the same bytes in memory give."""
    path = rules(tmp_path, 'rule r { strings: $a = "needle" condition: $a and filesize > 4MB }')
    content = bytes(5 * MiB) + b"needle"
    by_map = run(make(Yara, rules=path), payload(body_with_descriptor(content)))
    yara._LAST.wanted = None
    assert by_map.result == run(make(Yara, rules=path), content).result
    assert by_map.result is not None


def test_a_timeout_is_a_reason_and_is_not_paid_twice(tmp_path: Path) -> None:
    """Slow rules end as `timeout`; the second plugin to ask is told at once; the next payload works."""
    path = rules(tmp_path, SLOW + 'rule quick { strings: $a = "q" condition: $a }')
    slow = payload(b"A" * MiB)
    worker, dispatcher = make(Yara, rules=path, timeout_ms=500), make(Dispatcher, rules=path, timeout_ms=500)
    first = run(dispatcher, slow)
    second = run(worker, slow, deadline=Deadline.after_ms(400))
    for ran in (first, second):
        assert ran.error is not None
        assert (ran.error.code, ran.reasons) == ("timeout", {"timeout"})
    assert str(second.error) == str(first.error)
    assert run(worker, b"q").result is not None


def test_worker_and_dispatcher_share_one_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second plugin gets the first one's scan, cut to its own options; other rules scan anew."""
    scanned = []
    real = yara._scan
    monkeypatch.setattr(yara, "_scan", lambda *a: scanned.append(a[1].digest) or real(*a))
    path = rules(tmp_path, 'rule r { meta: plugin = "w" strings: $a = "a" condition: $a }')
    other = rules(tmp_path, "rule o { condition: true }", "other.yar")
    one = payload(b"aaaa")
    assert len(run(make(Dispatcher, rules=path, strings_limit=1), one).dispatches[0].meta["strings"]) == 1
    found = run(make(Yara, rules=path, strings_limit=3), one).result
    assert found is not None
    assert len(found["matches"][0]["strings"]) == 3
    run(make(Yara, rules=other), one)
    assert scanned == [yara.ruleset(path).digest, yara.ruleset(other).digest]


def test_threads_do_not_mix_their_answers(tmp_path: Path) -> None:
    """Each thread has a scanner and a last payload of its own."""
    path = rules(
        tmp_path, 'rule a { strings: $a = "AAA" condition: $a } rule b { strings: $b = "BBB" condition: $b }'
    )
    worker, wrong = make(Yara, rules=path), []

    def work(content: bytes, rule: str) -> None:
        for at in range(200):
            found = run(worker, content + bytes([at])).result
            if found is None or [one["rule"] for one in found["matches"]] != [rule]:
                wrong.append((content, found))

    threads = [threading.Thread(target=work, args=pair) for pair in ((b"AAA", "a"), (b"BBB", "b"))]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []


def test_warm_loads_the_rules_and_scans_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan before the fork would leave children without a timeout."""
    monkeypatch.setattr(yara, "_scan", lambda *_: pytest.fail("scanned"))
    path = rules(tmp_path, "rule r { condition: true }")
    before = yara.ruleset.cache_info().misses
    make(Yara, rules=path).warm()
    make(Dispatcher, rules=path).warm()
    assert yara.ruleset.cache_info().misses == before + 1
    assert threading.active_count() == len(threading.enumerate())


def test_rules_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    """A wrong path is a deployment's error, found by `warm`."""
    with pytest.raises(RulesError, match="no such file"):
        make(Yara, rules=str(tmp_path / "none.yar")).warm()


SHIPPED_TESTED = make(Yara)
HEADS = st.sampled_from(
    [b"", b"MZ", b"\x7fELF", b"PK\x03\x04", b"%PDF-1.7\n", b"{\\rtf1", b"<?php ", b"L\0\0\0\x01\x14\x02\0"]
)


@settings(max_examples=100, deadline=None)
@given(HEADS, st.binary(max_size=4000))
def test_any_bytes_end_in_emits(head: bytes, rest: bytes) -> None:
    """The shipped rules take any bytes; matches lie within the payload."""
    content = head + rest
    ran = run(SHIPPED_TESTED, content)
    assert ran.error is None
    for match in (ran.result or {"matches": []})["matches"]:
        assert all(
            0 <= one["offset"] <= one["offset"] + one["length"] <= len(content) for one in match["strings"]
        )


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="there is no /proc/self/maps here")
@pytest.mark.parametrize("plugin", [Yara, Entropy])
def test_a_large_payload_does_not_stay_mapped(plugin: type[Any]) -> None:
    """The library keeps the last file that it scanned: a released payload must not stay in memory so."""
    writer = BodyWriter()
    for _ in range(60):  # from about 50 MiB on it maps the file
        writer.write(bytes(MiB))
    body = writer.finish()
    assert body.fd is not None
    assert run(make(plugin), payload(body)).error is None
    body.release()
    assert "/memfd:stoq" not in Path("/proc/self/maps").read_text()
