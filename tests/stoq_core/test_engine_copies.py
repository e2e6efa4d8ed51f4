"""Copies of the same bytes, passwords that arrive late, and bytes that fit nowhere (semantics 7 and 11)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from stoq_core.errors import Reason
from stoq_core.job import Dispatch, Finding, Hint
from stoq_core.limits import Deadline, RequestLimits
from stoq_core.payload import Payload, PayloadMeta, Request, RequestMeta
from stoq_core.render import flat_documents
from stoq_core.response import ScanResponse
from stoq_core.scan.engine import Engine
from stoq_core.scan.executor import Inline
from tests.kit import SCAN_ID, Source, dispatcher, scan, split, worker

SPLIT = worker(split)
SAY = worker(lambda p, _j: iter([{"bytes": p.size}]))


def makes(**children: dict[str, Any]) -> Any:
    """A worker that takes `text=meta` children out of the root."""

    def scan_it(payload: Any, job: Any) -> Any:
        if payload.depth == 0:
            for text, meta in children.items():
                yield job.child([text.rstrip("_").encode()], **meta)

    return worker(scan_it)


def test_a_copy_s_own_dispatch_to_runs() -> None:
    """7: `dispatch_to` of the second copy runs what has not run on the bytes, and nothing twice."""
    calls: list[str] = []

    def count(name: str) -> Any:
        return worker(lambda _p, _j: iter([{"n": 1}]) if calls.append(name) is None else None)

    source = Source(
        {"m": makes(x={"name": "a"}, x_={"name": "a", "dispatch_to": ["b", "c"]}), "b": count("b"),
         "c": count("c"), "always": count("always")},
        always=["m", "always"],
        by=dispatcher(lambda p, _j: iter([Dispatch("b")] if p.depth else [])),
    )  # fmt: skip
    scanned = scan(source, b"root")
    held = scanned.reports[1]
    assert [one.payload_meta.dispatch_to for one in held.occurrences] == [["b", "c"]]
    assert held.occurrences[0].workers == [{"c": {"n": 1}}]
    assert held.occurrences[0].plugins_run == [["c"]]
    assert sorted(calls) == ["always", "always", "b", "c"]


def test_a_copy_that_comes_after_the_first_is_done_is_an_occurrence() -> None:
    """7: the same bytes further down are known although the first copy's were released long before."""
    calls: list[bytes] = []
    count = worker(lambda p, _j: iter(()) if calls.append(p.content) is None else None)
    scanned = scan(Source({"c": count, "s": SPLIT}, always=["c", "s"]), b"(x)(((x)))")
    assert calls.count(b"x") == 1
    held = next(one for one in scanned.reports if one.size == 1)
    assert [one.extracted_by for one in held.occurrences] == ["s"]


@pytest.mark.parametrize("first", [{"should_scan": False}, {"should_archive": False}])
def test_a_copy_that_is_not_scanned_or_kept_does_not_stand_for_one_that_is(first: dict[str, Any]) -> None:
    """7: `should_scan = false` (or `should_archive`) of one copy does not take the other's examination."""
    kept: list[tuple[bytes, bool]] = []
    source = Source({"m": makes(x=first, x_={}), "say": SAY}, always=["m", "say"])
    engine = Engine(source, Inline(source), RequestLimits())
    request = Request(scan_id=SCAN_ID, payloads=[Payload(b"root")])
    scanned = engine.scan(
        request,
        Deadline.after_ms(60_000),
        lambda report, payload: kept.append((payload.content, report.meta.should_archive)),
    )
    assert [one.result_of("say") for one in scanned.reports][-1] == {"bytes": 1}
    assert (b"x", True) in kept


def test_a_copy_below_the_depth_does_not_stand_for_a_shallow_one() -> None:
    """8: bytes first met too deep, because of a drain, are scanned where they stand high enough."""
    deep = b"(((x" + b"p" * 40 + b")))"
    scanned = scan(
        Source({"s": SPLIT, "say": SAY}, always=["s", "say"]),
        b"(" + deep + b")(x" + b"p" * 40 + b")",
        limits=RequestLimits(depth=3, held_bytes=400, payload_bytes=390),
    )
    shallow = [one for one in scanned.reports if one.size == 41 and one.depth == 1]
    assert shallow
    assert shallow[0].result_of("say") == {"bytes": 41}


def locked(payload: Any, job: Any) -> Any:
    """`L…` opens with the password `key`, `M` tells it, `W` wants another."""
    if payload.content.startswith(b"L"):
        if "key" in job.passwords:
            yield job.child([b"inside " + payload.content[1:]])
        else:
            job.unread(Reason.ENCRYPTED_ARCHIVE, "no password fits")
    if payload.content.startswith(b"M"):
        yield Hint("password", "key")
        yield job.child([b"L from the mail"])


OPENS = worker(locked, reads_meta=True)


@pytest.mark.parametrize("threads", [1, 4])
def test_a_locked_copy_is_opened_where_its_password_stands(threads: int) -> None:
    """7: the first copy has no password beside it, the second one has: it is opened there."""
    source = Source({"o": OPENS, "s": SPLIT}, always=["o", "s"])
    scanned = scan(source, b"((Lock))((Lock)(M))", threads=threads)
    assert any(one.size == len(b"inside ock") for one in scanned.reports)


@pytest.mark.parametrize("limits", [RequestLimits(), RequestLimits(held_bytes=60, payload_bytes=50)])
def test_a_hint_reaches_the_emitter_s_children_and_later_siblings(limits: RequestLimits) -> None:
    """A hint counts from the moment it is yielded, also where memory forces children to go first."""
    scanned = scan(Source({"o": OPENS, "s": SPLIT}, always=["o", "s"]), b"(M)(Lock)", limits=limits)
    assert not [one for report in scanned.reports for one in report.unread]
    assert {one.size for one in scanned.reports} >= {len(b"inside ock"), len(b"inside  from the mail")}


def test_a_payload_waits_only_once() -> None:
    """Without a password the wait ends, the payload is examined once, and the reason stays."""
    tries: list[bytes] = []

    def never(payload: Any, job: Any) -> Any:
        if payload.content == b"Locked":
            tries.append(payload.content)
            job.unread(Reason.ENCRYPTED_ARCHIVE, "no password fits")
        yield {}

    source = Source({"o": worker(never), "s": SPLIT}, always=["o", "s"])
    scanned = scan(source, b"(Locked)(other)((deep)(er))")
    assert tries == [b"Locked"]
    assert [one.reason for report in scanned.reports for one in report.unread] == [Reason.ENCRYPTED_ARCHIVE]


def fills(payload: Any, job: Any) -> Any:
    """Children of 40 bytes, the last of them a copy of the second."""
    if payload.depth == 0:
        for n in (1, 2, 3, 2):
            yield job.child([bytes([64 + n]) * 40])


def test_what_fits_nowhere_is_reported_as_what_it_is(tmp_path: Path) -> None:
    """11: without a disk a child that does not fit is named with size and digest; with one it is scanned."""
    source = Source({"f": worker(fills), "say": SAY}, always=["f", "say"])
    limits = RequestLimits(held_bytes=110, payload_bytes=100)
    roots = [Payload(b"r" * 100, PayloadMeta())]
    scanned = scan(source, *roots, limits=limits)
    assert [one.size for one in scanned.reports] == [100, 40, 40, 40]
    assert [one.reason for one in scanned.reports[1].unread] == [Reason.TOO_MANY_BYTES]
    assert scanned.reports[1].sha256 != scanned.reports[2].sha256
    assert scanned.reports[1].workers == []
    engine = Engine(source, Inline(source), limits, scratch=tmp_path)
    spilled = engine.scan(
        Request(scan_id=SCAN_ID, payloads=[Payload(b"r" * 100, PayloadMeta())]), Deadline.after_ms(60_000)
    )
    assert not [one for report in spilled.reports for one in report.unread]
    assert [one.result_of("say") for one in spilled.reports[1:]] == [{"bytes": 40}] * 3
    assert list(tmp_path.iterdir()) == []


def test_errors_of_copies_are_in_the_flat_document() -> None:
    """Errors that only a copy's meta brings stand in the flat document of the bytes."""
    bad = worker(lambda p, _j: iter([1 / 0] if p.name == "second" else []), reads_meta=True)
    source = Source({"m": makes(x={"name": "first"}, x_={"name": "second"}), "bad": bad}, always=["m", "bad"])
    scanned = scan(source, b"root")
    response = ScanResponse(
        scan_id=SCAN_ID, time="", request_meta=RequestMeta(), results=scanned.reports, errors=scanned.errors
    )
    flat = flat_documents(response)
    assert list(flat[1]["errors"]) == ["bad"]


def test_dedup_off_examines_every_copy() -> None:
    """14: `dedup = false` is honoured: each copy is a payload with a report of its own."""
    scanned = scan(Source({"s": SPLIT, "say": SAY}, always=["s", "say"]), b"(x)(x)(x)", dedup=False)
    assert [one.result_of("say") for one in scanned.reports] == [{"bytes": 9}, *[{"bytes": 1}] * 3]
    assert not any(one.occurrences for one in scanned.reports)


def test_findings_of_a_copy_keep_its_path() -> None:
    """7: what only the copy's name brings is found there: its path is the copy's own."""
    finds = worker(lambda p, _j: iter([Finding("name", 300)] if p.name == "evil" else []), reads_meta=True)
    source = Source({"m": makes(x={"name": "good"}, x_={"name": "evil"}), "f": finds}, always=["m", "f"])
    root = Payload(b"root", PayloadMeta(extra_data={"filename": "root"}))
    scanned = scan(source, root)
    assert [one.path for one in scanned.reports[1].findings] == [("evil", "root")]


def test_a_payload_is_never_its_own_parent() -> None:
    """7: a child with the bytes of its parent is none; one with those of its grandparent is a copy."""

    def turns(payload: Any, job: Any) -> Any:
        yield job.child([payload.content], name="itself")
        yield job.child([b"b" if payload.content == b"a" else b"a"], name="other")

    source, limits = Source({"t": worker(turns)}, always=["t"]), RequestLimits(depth=4)
    for dedup in (True, False):
        scanned = scan(source, b"a", limits=limits, dedup=dedup)
        names = [one.name for one in scanned.reports]
        assert "itself" not in names
        assert names == (["other", "other"] if dedup else names)
        by_id = {one.payload_id: one for one in scanned.reports}
        for one in scanned.reports:
            assert one.extracted_from is None or by_id[one.extracted_from].sha256 != one.sha256
    assert not scanned.errors


def test_copies_differ_by_their_passwords() -> None:
    """7: the same bytes, name and meta; what reads passwords runs again where others are known."""
    asked: list[list[str]] = []

    def reads(payload: Any, job: Any) -> Any:
        if payload.content == b"same":
            asked.append(job.passwords)
        yield {}

    def tells(payload: Any, job: Any) -> Any:
        below = {b"root": (b"left", b"right"), b"left": (b"same",), b"right": (b"mail", b"same")}
        if payload.content == b"mail":
            yield Hint("password", "key")
        for content in below.get(payload.content, ()):
            yield job.child([content], name="x")

    source = Source({"r": worker(reads, reads_meta=True), "t": worker(tells)}, always=["r", "t"])
    scanned = scan(source, b"root")
    assert asked == [[], ["key"]]
    digest = hashlib.sha256(b"same").hexdigest()
    assert [len(one.occurrences) for one in scanned.reports if one.sha256 == digest] == [1]
