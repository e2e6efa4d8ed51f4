"""A worker may do anything: the others' results are there, and the document is valid."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from stoq_core.errors import Reason
from stoq_core.examine import Task, examine
from stoq_core.job import Child, Finding
from stoq_core.limits import Deadline, RequestLimits
from stoq_core.testing import payload
from tests.kit import Source, scan, worker

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
    assert reason in {one.reason.value for one in report.unread if one.plugin == name}
    assert [one for one in scanned.errors if one.plugin == name]


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
    whole = list(examine(task, source))
    for cut in range(len(whole) + 1):
        rest = list(examine(task, source, whole[:cut]))
        names = {type(one).__name__ + str(getattr(one, "plugin", "")) for one in whole[:cut] + rest}
        assert {"Finisheda", "Finishedb", "Finishedc"} <= names


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
    whole = list(examine(task, source))
    cut = next(at for at, one in enumerate(whole) if getattr(one, "plugin", "") == "a") + 1
    rest = list(examine(task, source, whole[:cut]))
    assert rest[0] == type(rest[0])("a", failed=True)  # type: ignore[call-arg,arg-type]
    assert Reason.CRASHED  # the parent names the reason when it kills
