"""A worker may do anything: the others' results are there, and the document is valid."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import pytest

from stoq_core.account import Claim
from stoq_core.errors import Reason, Unread
from stoq_core.job import Child, Dispatch, Finding
from stoq_core.limits import Deadline, RequestLimits
from stoq_core.payload import RequestMeta
from stoq_core.render import encode
from stoq_core.response import ScanResponse
from stoq_core.scan.examine import Task, examine
from stoq_core.scan.journal import Listener
from stoq_core.testing import FakeClock, payload
from tests.kit import SCAN_ID, Source, Steps, dispatcher, journal_of, scan, split, worker

GOOD = worker(lambda p, _j: iter([{"bytes": p.size}]))


def raises(_payload: Any, _job: Any) -> Any:
    """Raise at once."""
    raise RuntimeError("no")


def loops(_payload: Any, _job: Any) -> Any:
    """Loop for ever, swallowing every ordinary exception."""
    yield {"first": 1}
    while True:
        try:
            while True:
                pass
        except Exception:  # noqa: BLE001 - the careless plugin that this test is about
            continue


def breeds(_payload: Any, job: Any) -> Any:
    """Ten thousand children."""
    for n in range(10_000):
        yield job.child([b"%d" % n], should_scan=False)


def nests(_payload: Any, _job: Any) -> Any:
    """A result a thousand levels deep."""
    made: dict[str, Any] = {}
    for _ in range(1000):
        made = {"in": made}
    yield made


def recurses(payload: Any, job: Any) -> Any:
    """Call itself for ever."""
    return recurses(payload, job)


LOOP_MS = 300
BAD: dict[str, tuple[Any, str]] = {
    "raises": (raises, "plugin_failed"),
    "loops": (loops, "timeout"),
    "breeds": (breeds, "too_many_payloads"),
    "nests": (nests, "result_too_large"),
    "returns": (lambda _p, _j: {"a": 1}, "plugin_failed"),
    "yields_int": (lambda _p, _j: iter([5]), "plugin_failed"),
    "exits": (lambda _p, _j: sys.exit(3), "plugin_failed"),
    "bad_child": (lambda _p, _j: iter([Child(body=5)]), "plugin_failed"),
    "bad_finding": (lambda _p, _j: iter([Finding(1, "x")]), "plugin_failed"),  # type: ignore[arg-type]
    "recurses": (recurses, "plugin_failed"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_worker_harms_nobody_else(name: str) -> None:
    """It is named with its reason; the others' results are all there."""
    scan_it, reason = BAD[name]
    source = Source({"a": GOOD, name: worker(scan_it), "z": GOOD}, always=["a", name, "z"])
    scanned = scan(
        source, b"xyz", limits=RequestLimits(worker_wall_ms=LOOP_MS if name == "loops" else 30_000)
    )
    report = scanned.reports[0]
    assert report.result_of("a") == report.result_of("z") == {"bytes": 3}
    reasons = {one.reason.value for one in report.unread if one.plugin == name}
    assert reason in reasons or name == "nests"  # whose result alone is left out
    assert [one for one in scanned.errors if one.plugin == name]


def surrogate(_payload: Any, job: Any) -> Any:
    """Odd text and numbers in everything that is reported."""
    job.error("odd\ud800", "message\ud800\0", observed=2**80, allowed=-(2**90))
    job.unread(Reason.CORRUPT, "why\ud800")
    yield Finding("name\ud800", 10**30, "detail\0\ud800", ("T1\ud800",))
    yield Dispatch("nobody\ud800", {"k\ud800": 2**70})
    yield job.child([b"c"], name="file\ud800\0", should_scan=False)
    raise ValueError("raised\ud800")


def test_odd_text_and_numbers_anywhere_are_valid_json() -> None:
    """Names, messages, details and numbers of every kind of report can be stored anywhere."""
    scanned = scan(Source({"odd": worker(surrogate), "z": GOOD}, always=["odd", "z"]), b"x")
    response = ScanResponse(
        scan_id=SCAN_ID, time="", request_meta=RequestMeta(), results=scanned.reports, errors=scanned.errors
    )
    text = encode(response).decode()
    assert "\\u0000" not in text.replace("\\\\u0000", "")
    made = json.loads(text)
    assert (made["errors"]["odd"][0]["observed"], made["errors"]["odd"][0]["allowed"]) == (2**53, -(2**53))
    assert [one["code"] for one in made["errors"]["odd"]] == ["odd\\ud800", "plugin_failed"]
    assert made["results"][0]["workers"] == [{"z": {"bytes": 1}}]


def test_reports_are_bounded_and_no_reason_is_lost() -> None:
    """Ten thousand errors become a hundred and a word about the rest; each reason stays."""

    def complains(_payload: Any, job: Any) -> Any:
        for _ in range(10_000):
            job.error("bad", "again")
            job.unread(Reason.CORRUPT, "again")
        job.unread(Reason.TRUNCATED, "once")
        yield {}

    scanned = scan(Source({"c": worker(complains)}, always=["c"]), b"x")
    codes = [one.code for one in scanned.errors]
    assert (codes.count("bad"), codes.count("more_errors")) == (100, 1)
    reasons = [one.reason for one in scanned.reports[0].unread]
    assert reasons == [Reason.CORRUPT, Reason.TRUNCATED]
    assert scanned.reports[0].unread[0].count == 100


def test_very_many_errors_of_a_request_are_bounded() -> None:
    """A tree of thousands of broken parts has a document that a person can open."""

    def breaks(payload: Any, job: Any) -> Any:
        if payload.depth == 0:
            for n in range(400):
                yield job.child([b"%d" % n])
        for _ in range(100):
            job.error("bad", "x" * 50)
            job.unread(Reason.CORRUPT, "x" * 50)

    scanned = scan(Source({"b": worker(breaks)}, always=["b"]), b"x")
    assert len(scanned.reports) == 401
    assert len(scanned.errors) <= 10_001
    assert sum(len(one.unread) for one in scanned.reports) <= 10_401
    assert all(one.unread for one in scanned.reports)


def test_findings_and_dispatches_count_as_results() -> None:
    """A worker that yields findings without end runs into its own result limit."""

    def finds(_payload: Any, _job: Any) -> Any:
        for n in range(19_000):
            yield Finding(f"f{n}", 1, "d" * 4_000)

    scanned = scan(Source({"f": worker(finds), "z": GOOD}, always=["f", "z"]), b"x")
    assert 0 < len(scanned.reports[0].findings) < 300
    assert Reason.RESULT_TOO_LARGE in {one.reason for one in scanned.reports[0].unread}
    assert scanned.reports[0].result_of("z") == {"bytes": 1}


def task(content: bytes = b"xyz", **fields: Any) -> Task:
    """One examination with room for ten children."""
    fields.setdefault("deadline", Deadline.after_ms(60_000))
    fields.setdefault("limits", RequestLimits())
    return Task(payload=payload(content), bytes_left=1_000, children_left=10, **fields)


def test_time_in_which_a_worker_is_paused_is_not_its_own() -> None:
    """While what it yielded is examined (a drain) its clock stands: no timeout, no cut child."""

    def breeds_slowly(_payload: Any, job: Any) -> Any:
        for n in range(4):
            yield job.child([b"a", b"%d" % n])

    source = Source({"b": worker(breeds_slowly)}, always=["b"])

    class Slow(Steps):
        """Takes its time with each."""

        def emit(self, plugin: str, emit: Any) -> None:
            """Kept, after a while."""
            super().emit(plugin, emit)
            time.sleep(0.06)

    slow = Slow()
    examine(task(limits=RequestLimits(worker_wall_ms=150)), source, slow)
    assert [one.truncated for one in slow.emits if isinstance(one, Child)] == [None] * 4
    assert not [one for one in slow.emits if isinstance(one, Unread)]


@pytest.mark.parametrize("dispatchers", [{}, {"by": dispatcher(lambda _p, _j: iter([Dispatch("a")]))}])
def test_no_time_at_all_is_never_clean(dispatchers: dict[str, Any]) -> None:
    """A deadline that comes before the first round is a reason, also where nothing is in `always`."""
    clock = FakeClock()
    source = Source({"a": GOOD}, **dispatchers)
    journal = examine(task(deadline=Deadline(clock.now - 1, clock)), source, Listener())
    assert [one.reason for one in journal.unread] == [Reason.DEADLINE]


def test_odd_values_are_valid_json() -> None:
    """Huge integers, lone surrogates and NaN come out as valid JSON."""
    odd = worker(lambda _p, _j: iter([{"i": 10**6000, "s": "\ud800\0", "f": float("nan"), 5: {1, 2}}]))
    result = scan(Source({"odd": odd}, always=["odd"]), b"x").reports[0].result_of("odd")
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_examination_goes_on_from_its_journal() -> None:
    """Cut anywhere, it goes on from the journal and ends in the same state."""
    source = Source({"a": GOOD, "b": GOOD, "c": GOOD}, always=["a", "b", "c"])
    task = Task(
        payload=payload(b"xyz"),
        limits=RequestLimits(),
        deadline=Deadline.after_ms(60_000),
        bytes_left=100,
        children_left=10,
    )
    steps = Steps()
    whole = examine(task, source, steps)
    assert len(steps.all) == 1 + 3 * len(source.always) == 10
    for cut in range(len(steps.all) + 1):
        rest = Steps()
        ended = examine(task, source, rest, journal_of(steps.all[:cut]))
        assert ended.finished == whole.finished == {"a", "b", "c"}
        assert ended.rounds == whole.rounds
        running = steps.all[cut - 1][1] if cut and steps.all[cut - 1][0] in ("start", "emit") else None
        assert ended.failed == ({running} if running else set())
        ends = [one[1] for one in (*steps.all[:cut], *rest.all) if one[0] == "end"]
        assert sorted(ends) == ["a", "b", "c"]


def test_a_started_worker_is_not_run_again() -> None:
    """The one that was running when its process died is finished as failed, the others run."""
    source = Source({"a": GOOD, "b": GOOD}, always=["a", "b"])
    task = Task(
        payload=payload(b"x"),
        limits=RequestLimits(),
        deadline=Deadline.after_ms(60_000),
        bytes_left=1,
        children_left=1,
    )
    steps, rest = Steps(), Steps()
    examine(task, source, steps)
    cut = steps.all.index(("start", "a")) + 1
    ended = examine(task, source, rest, journal_of(steps.all[:cut]))
    assert rest.all[0] == ("end", "a", 0.0, True)
    assert ("start", "a") not in rest.all
    assert (ended.failed, ended.finished) == ({"a"}, {"a", "b"})


def test_a_last_worker_is_shown_the_accounts_of_those_before_it() -> None:
    """It runs behind the others whatever its name; an opener that failed has no account."""
    seen: list[Any] = []

    def opens(_payload: Any, job: Any) -> Any:
        job.account.child(0, 2)
        job.account.searched(2, 1)
        yield {}

    def fails(_payload: Any, job: Any) -> Any:
        job.account.child(0, 3)
        raise ValueError

    def looks(_payload: Any, job: Any) -> Any:
        seen.extend(list(account.spans()) for account in job.accounts)
        yield {}

    source = Source(
        {"a": worker(looks, last=True), "b": worker(opens), "c": worker(fails)}, always=["a", "b", "c"]
    )
    scan(source, b"xyz")
    assert seen == [[(0, 2, Claim.CHILD), (2, 3, Claim.SEARCHED)]]


@pytest.mark.parametrize(
    ("limits", "values"),
    [
        (RequestLimits(result_bytes=10), {"text": "eleven char"}),
        (RequestLimits(result_nodes=3), {"list": [1, 2, 3]}),
        (RequestLimits(result_depth=2), {"a": {"b": {"c": 1}}}),
    ],
)
def test_a_result_over_a_limit_is_named(limits: RequestLimits, values: dict[str, Any]) -> None:
    """Bytes, nodes and levels: what is over is left out and said once; what just fits is kept.

    The bytes were examined all the same, and what the worker yields afterwards is taken.
    """

    def says_more(payload: Any, job: Any) -> Any:
        yield values
        if payload.depth == 0:
            yield job.child([b"later"])

    says = worker(says_more)
    twice = scan(Source({"a": worker(lambda _p, _j: iter([values] * 5))}, always=["a"]), b"x", limits=limits)
    assert len(twice.errors) == 1
    over = scan(Source({"a": says}, always=["a"]), b"x", limits=limits)
    assert over.reports[0].result_of("a") is None
    assert [(one.plugin, one.code) for one in over.errors] == [("a", "result_too_large")] * 2
    assert not over.reports[0].unread
    fits = RequestLimits(result_bytes=15, result_nodes=4, result_depth=3)
    kept = scan(Source({"a": says}, always=["a"]), b"x", limits=fits)
    assert kept.reports[0].result_of("a") == values
    assert len(over.reports) == len(kept.reports) == 2
    assert not kept.reports[0].unread


def test_all_results_together_have_a_limit() -> None:
    """`request_result_bytes` over all payloads: those past it have no results, and say so."""
    says = worker(lambda _p, _j: iter([{"text": "x" * 50}]))
    source = Source({"a": says, "s": worker(split)}, always=["a", "s"])
    scanned = scan(source, b"(1)(2)(3)", limits=RequestLimits(request_result_bytes=150))
    kept = [one.result_of("a") is not None for one in scanned.reports]
    assert sorted(kept) == [False, False, True, True]
    without = [one.payload_id for one in scanned.reports if one.result_of("a") is None]
    assert [(one.code, one.payload_id) for one in scanned.errors] == [
        ("result_too_large", one) for one in without
    ]
    assert not any(one.unread for one in scanned.reports)
