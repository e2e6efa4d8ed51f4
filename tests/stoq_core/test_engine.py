"""The scan semantics of ARCHITECTURE.md, each under its number."""

from __future__ import annotations

import gc
from typing import Any

import msgspec
import pytest

from stoq_core.errors import Reason
from stoq_core.job import Dispatch, Finding, Hint
from stoq_core.limits import Deadline, RequestLimits
from stoq_core.payload import Payload, PayloadMeta
from stoq_core.testing import FakeClock
from tests.kit import Source, dispatcher, scan, split, worker

SPLIT = worker(split)
SAY = worker(lambda p, _j: iter([{"bytes": p.size}]))


def ran(scanned: Any, at: int = 0) -> list[list[str]]:
    """The rounds of one report."""
    return scanned.reports[at].workers_run


def test_first_round_is_always_dispatched_started_and_own() -> None:
    """1: always, the dispatchers, `start` on roots only, and the payload's own `dispatch_to`."""
    source = Source(
        {"a": SAY, "b": SAY, "c": SAY, "d": SAY, "split": SPLIT},
        always=["a", "split"],
        by=dispatcher(lambda _p, _j: iter([Dispatch("b")])),
    )
    scanned = scan(source, Payload(b"(x)", PayloadMeta(dispatch_to=["d"])), start=["c"])
    assert ran(scanned) == [["a", "b", "c", "d", "split"]]
    assert ran(scanned, 1) == [["a", "b", "split"]]


def test_should_scan_false_is_reported_as_not_scanned() -> None:
    """1: no dispatcher and no worker runs; the payload is reported with its reason."""
    scanned = scan(Source({"a": SAY}, always=["a"]), Payload(b"x", PayloadMeta(should_scan=False)))
    assert ran(scanned) == []
    assert [one.reason for one in scanned.reports[0].unread] == [Reason.NOT_SCANNED]


def test_requirements_run_first_and_give_results() -> None:
    """2: what a worker requires is pulled in and has its result ready."""
    needs = worker(lambda _p, j: iter([{"saw": j.result_of("z")["bytes"]}]), requires=("z",))
    scanned = scan(Source({"a": needs, "z": SAY}, always=["a"]), b"xyz")
    assert scanned.reports[0].result_of("a") == {"saw": 3}


@pytest.mark.parametrize(
    ("required", "code"),
    [("nowhere", "plugin_missing"), ("a", "requires_cycle"), ("bad", "requires_failed")],
)
def test_broken_requirement_is_one_error(required: str, code: str) -> None:
    """2: a requirement that is unknown, cyclic or fails gives one error and the dependent stays out."""
    bad = worker(lambda _p, _j: iter([1 / 0]))
    scanned = scan(
        Source({"a": worker(split, requires=(required,)), "bad": bad, "ok": SAY}, always=["a", "ok"]), b"x"
    )
    assert [one.code for one in scanned.errors if one.plugin == "a"] == [code]
    assert scanned.reports[0].result_of("ok") == {"bytes": 1}


def test_a_broken_chain_is_named_once_from_end_to_end() -> None:
    """2: a requires b requires c requires nothing known: one error of a's that names all of them."""
    needs = {name: worker(split, requires=(then,)) for name, then in (("a", "b"), ("b", "c"), ("c", "gone"))}
    twice = dispatcher(lambda _p, _j: iter([Dispatch("a"), Dispatch("a")]), reads_results=True)
    scanned = scan(Source({**needs, "ok": SAY}, always=["a", "ok"], by=twice), b"(x)")
    for payload_id in (one.payload_id for one in scanned.reports):
        found = [one for one in scanned.errors if one.payload_id == payload_id]
        assert [one.plugin for one in found] == ["a"]
        assert "a requires b requires c requires gone" in found[0].message
    assert ran(scanned) == [["ok"]]
    assert [one.reason for one in scanned.reports[0].unread] == [Reason.PLUGIN_MISSING]


def test_a_chain_of_requirements_runs_from_its_end() -> None:
    """2: a requires b requires c: c, b, a, each with the results of those before; depth is bounded."""
    order: list[str] = []

    def note(name: str, then: str | None) -> Any:
        def scan_it(_payload: Any, job: Any) -> Any:
            order.append(name)
            yield {"saw": job.result_of(then) is not None if then else None}

        return worker(scan_it, requires=(then,) if then else ())

    chain = {"a": note("a", "b"), "b": note("b", "c"), "c": note("c", None)}
    scanned = scan(Source(chain, always=["a"]), b"x")
    assert order == ["c", "b", "a"]
    assert scanned.reports[0].result_of("a") == scanned.reports[0].result_of("b") == {"saw": True}
    short = scan(Source(chain, always=["a"]), b"x", limits=RequestLimits(requires_depth=2))
    assert [one.code for one in short.errors] == ["requires_cycle"]
    assert ran(short) == []


def test_dispatchers_that_read_results_are_asked_again() -> None:
    """3: after a round `reads_results` dispatchers and workers' own dispatches make the next one."""
    asks = worker(lambda _p, _j: iter([{"is": "zip"}, Dispatch("b", {"key": 1})]))
    reads = dispatcher(lambda _p, j: iter([Dispatch("c")] if j.result_of("a") else []), reads_results=True)
    shows = worker(lambda _p, j: iter([{"meta": j.dispatch_meta}]))
    scanned = scan(Source({"a": asks, "b": shows, "c": SAY}, always=["a"], by=reads), b"x")
    assert ran(scanned) == [["a"], ["b", "c"]]
    assert scanned.reports[0].result_of("b") == {"meta": [{"key": 1}]}


def test_broker_workers_run_last_with_the_sandbox_results() -> None:
    """3: a broker worker runs after all rounds, sees its requirement's result, and dispatches nothing."""
    net = worker(
        lambda _p, j: iter([{"saw": j.result_of("hash")}, Dispatch("late")]),
        runs="broker",
        requires=("hash",),
    )
    scanned = scan(Source({"hash": SAY, "late": SAY, "net": net}, always=["net"]), b"x")
    assert ran(scanned) == [["hash"], ["net"]]
    assert scanned.reports[0].result_of("net") == {"saw": {"bytes": 1}}
    assert "wrong_type" in {one.code for one in scanned.errors}


def test_an_unknown_worker_is_one_error() -> None:
    """4: an unknown name is reported once, however often it is asked for."""
    twice = dispatcher(lambda _p, _j: iter([Dispatch("nope"), Dispatch("nope")]), reads_results=True)
    scanned = scan(Source({"a": SAY}, always=["a"], by=twice), b"x")
    assert [one.code for one in scanned.errors] == ["plugin_missing"]


def test_a_failing_worker_keeps_what_it_yielded() -> None:
    """5: it is in plugins_run, its error is reported, earlier emits stay, all others run."""

    def fails(_payload: Any, _job: Any) -> Any:
        yield {"first": 1}
        raise ValueError("boom")

    scanned = scan(Source({"a": worker(fails), "b": SAY}, always=["a", "b"]), b"x")
    assert ran(scanned) == [["a", "b"]]
    assert scanned.reports[0].workers == [{"a": {"first": 1}, "b": {"bytes": 1}}]
    assert [one.code for one in scanned.errors] == ["plugin_failed"]


def test_copies_are_occurrences() -> None:
    """7: the second copy is one of the first one's occurrences and is not examined again."""
    calls: list[bytes] = []
    count = worker(lambda p, _j: iter([{"n": len(calls)}]) if calls.append(p.content) is None else None)
    scanned = scan(Source({"c": count, "s": SPLIT}, always=["c", "s"]), b"(x)(x)(y)")
    assert [one.size for one in scanned.reports] == [9, 1, 1]
    assert calls.count(b"x") == 1
    assert len(scanned.reports[1].occurrences) == 1
    assert len(scan(Source({"s": SPLIT}, always=["s"]), b"(x)(x)", dedup=False).reports) == 3


def test_meta_readers_run_again_for_another_name() -> None:
    """7: a worker that reads the meta runs again where the name differs; its result is the copy's."""
    name = worker(lambda p, _j: iter([{"name": p.name}]), reads_meta=True)
    scanned = scan(Source({"n": name, "o": SAY, "s": SPLIT}, always=["n", "o", "s"]), b"(x)(x)")
    held = scanned.reports[1]
    assert held.result_of("n") == {"name": "part1"}
    assert [one.workers for one in held.occurrences] == [[{"n": {"name": "part4"}}]]


def test_a_payload_is_never_its_own_parent() -> None:
    """7: a worker that yields its own input does not make a loop."""
    self_made = worker(lambda p, j: iter([j.child([p.content])]))
    assert len(scan(Source({"a": self_made}, always=["a"]), b"x").reports) == 1


def test_depth_is_ancestry() -> None:
    """8: a child below limits.depth is reported with too_deep and not scanned."""
    scanned = scan(Source({"s": SPLIT}, always=["s"]), b"(((x)))", limits=RequestLimits(depth=2))
    assert [one.depth for one in scanned.reports] == [0, 1, 2, 3]
    assert scanned.reports[3].workers_run == []
    assert [one.reason for one in scanned.reports[3].unread] == [Reason.TOO_DEEP]


NESTED = b"((a)(b)((c)(d)(a)))((e)((f)(b)))(g)" + b"(" + b"(h)(i)" * 40 + b")"


def flat(scanned: Any) -> bytes:
    """The reports as JSON."""
    return msgspec.json.encode([scanned.reports, scanned.errors, scanned.unread])


@pytest.mark.parametrize(
    "limits",
    [
        RequestLimits(),
        RequestLimits(extracted_bytes=300),
        RequestLimits(payloads=7),
        RequestLimits(held_bytes=200, payload_bytes=500),
        RequestLimits(depth=2),
    ],
)
def test_threads_do_not_change_the_document(limits: RequestLimits) -> None:
    """9: one thread and four give the same reports, at every limit."""
    source = Source({"n": SAY, "s": SPLIT}, always=["n", "s"])
    one = flat(scan(source, NESTED, b"(z)(a)", limits=limits))
    assert all(flat(scan(source, NESTED, b"(z)(a)", limits=limits, threads=4)) == one for _ in range(5))


def test_ids_follow_from_the_scan_id() -> None:
    """10: the same scan id gives the same payload ids, and no two are equal."""
    source = Source({"s": SPLIT}, always=["s"])
    first, second = scan(source, NESTED), scan(source, NESTED)
    ids = [one.payload_id for one in first.reports]
    assert ids == [one.payload_id for one in second.reports]
    assert len(set(ids)) == len(ids)


def test_held_bytes_are_bounded() -> None:
    """11: past held_bytes the emitting worker pauses while what waits is examined."""
    order: list[bytes] = []
    note = worker(lambda p, _j: iter(()) if order.append(p.content[:1]) is None else None)

    def many(payload: Any, job: Any) -> Any:
        if payload.size < 10:
            return
        for n in range(8):
            order.append(b"+")
            yield job.child([bytes([65 + n]) * 9])

    source = Source({"m": worker(many), "n": note}, always=["m", "n"])
    scan(source, b"x" * 20, limits=RequestLimits(held_bytes=60, payload_bytes=30))
    assert order.index(b"A") < 8, order


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (RequestLimits(payloads=10), Reason.TOO_MANY_PAYLOADS),
        (RequestLimits(extracted_bytes=100), Reason.TOO_MANY_BYTES),
        (RequestLimits(payload_bytes=50), Reason.TOO_LARGE),
        (RequestLimits(ratio=2, ratio_free_bytes=60), Reason.RATIO),
    ],
)
def test_limits_are_named(limits: RequestLimits, reason: Reason) -> None:
    """Reaching a limit keeps what was found so far and adds its reason."""

    def bomb(payload: Any, job: Any) -> Any:
        if payload.depth == 0:
            for n in range(100):
                yield job.child([b"%03d" % n] * 30)

    scanned = scan(Source({"b": worker(bomb)}, always=["b"]), b"x", limits=limits)
    reasons = {one.reason for report in scanned.reports for one in report.unread}
    assert reason in reasons
    assert len(scanned.reports) > 1


def test_passwords_from_a_sibling_reach_an_encrypted_payload() -> None:
    """An encrypted payload waits once for its siblings and is examined again with their hints."""

    def opens(payload: Any, job: Any) -> Any:
        if payload.content.startswith(b"L"):
            if "key" in job.passwords:
                yield job.child([b"inside"])
            else:
                job.unread(Reason.ENCRYPTED_ARCHIVE, "no password fits")
        if payload.content.startswith(b"M"):
            yield Hint("password", "key")

    source = Source({"o": worker(opens), "s": SPLIT}, always=["o", "s"])
    for threads in (1, 4):
        scanned = scan(source, b"(Locked)(Mail)", threads=threads)
        assert [one.size for one in scanned.reports] == [14, 6, 4, 6]
        assert not [one for report in scanned.reports for one in report.unread]


def test_the_deadline_names_what_is_left() -> None:
    """5, 9: a request whose deadline comes half-way keeps the tree so far and names the rest."""
    clock = FakeClock()

    def slow(payload: Any, job: Any) -> Any:
        yield from split(payload, job)
        clock.advance(2)

    source = Source({"s": worker(slow)}, always=["s"])
    scanned = scan(source, b"(a)(b)(c)", deadline=Deadline(clock.now + 3, clock))
    unread = [one.reason for report in scanned.reports for one in report.unread]
    assert unread.count(Reason.DEADLINE) == 2
    assert len(scanned.reports) == 4


def test_findings_walk_to_the_root_by_name() -> None:
    """A finding's path names every payload from its own up to the root."""
    finds = worker(lambda p, _j: iter([Finding("bad", 1000)] if p.content == b"x" else []))
    root = Payload(b"((x))", PayloadMeta(extra_data={"filename": "root.bin"}))
    scanned = scan(Source({"f": finds, "s": SPLIT}, always=["f", "s"]), root)
    found = [one for report in scanned.reports for one in report.findings]
    assert [one.path for one in found] == [("part1", "part1", "root.bin")]


def test_a_request_leaves_no_garbage() -> None:
    """Its tree has no cycles once it is answered, so its memory is free at once, copies and all."""
    source = Source({"split": worker(split)}, always=["split"])
    content = b"".join(b"(%d(%d))(same(same))" % (n, n) for n in range(200))
    scan(source, content)
    gc.collect()
    gc.disable()
    try:
        assert len(scan(source, content).reports) == 403
        assert gc.collect() < 50
    finally:
        gc.enable()
