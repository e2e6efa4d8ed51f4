"""Decorators: which payload a finding is on, who may lower a score, and what a failure leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stoq_core.config import Config
from stoq_core.errors import Reason, Unread
from stoq_core.job import Finding, On
from stoq_core.limits import Deadline
from stoq_core.options import Options
from stoq_core.payload import Request
from stoq_core.pipeline import Broker, Pipeline, payload_of
from stoq_core.plugin import Decorator
from stoq_core.response import ScanResponse
from stoq_core.scan.executor import Inline
from tests.kit import SCAN_ID, Source, split, worker


def decorated(
    *makers: Callable[[ScanResponse], Any], may_lower: bool = False, unread: bool = False
) -> ScanResponse:
    """Scan `(a(b)c)`, whose root has a finding of 500, with these decorators."""

    def scan(payload: Any, job: Any) -> Iterator[Any]:
        if payload.depth == 0:
            yield Finding("rooted", 500)
            if unread:
                job.unread(Reason.TIMEOUT)
        yield from split(payload, job)

    made = {}
    for at, maker in enumerate(makers):
        body = {"decorate": lambda _self, response, maker=maker: maker(response), "may_lower": may_lower}
        made[f"d{at}"] = type("Made", (Decorator,), body)(Options(), f"d{at}")
    source: Any = Source({"split": worker(scan)}, always=["split"])
    pipeline = Pipeline(Config(), source, Inline(source), Broker(decorators=made))
    request = Request(scan_id=SCAN_ID, payloads=[payload_of(b"(a(b)c)", "root")])
    return pipeline.scan(request, Deadline.after_ms(10_000))


def test_a_finding_may_be_on_any_payload() -> None:
    """`On` names it; its path leads to the root; a bare finding is the first root's."""
    response = decorated(lambda r: [On(r.results[2].payload_id, Finding("here", 400)), Finding("bare", 1)])
    assert [[one.finding.name for one in each.findings] for each in response.results] == [
        ["rooted", "bare"], [], ["here"],
    ]  # fmt: skip
    assert [each.score for each in response.results] == [501, 0, 400]
    assert response.results[2].findings[0].path == (
        response.results[2].name,
        response.results[1].name,
        "root",
    )


def test_a_payload_that_is_not_there_is_an_error() -> None:
    """It does not land on another one; what was found before stays."""
    response = decorated(lambda _: [Finding("first", 1), On("nobody", Finding("x", 5))])
    assert [(one.plugin, one.code) for one in response.errors] == [("decorator:d0", "unknown_payload")]
    assert [one.finding.name for one in response.results[0].findings] == ["rooted", "first"]


def test_only_one_that_may_lowers_a_score() -> None:
    """A negative score of any other decorator is an error, and the score stays."""
    for emit in (Finding("less", -500), On("", Finding("less", -500))):
        refused = decorated(lambda _, emit=emit: [emit])
        assert [one.code for one in refused.errors] == ["negative_score"]
        assert refused.results[0].score == 500
    lowered = decorated(lambda _: [Finding("less", -500)], may_lower=True)
    assert (lowered.errors, lowered.results[0].score) == ([], 0)


def test_a_lower_score_does_not_make_a_result_complete() -> None:
    """Suspicious and incomplete becomes incomplete, never clean."""
    before = decorated(unread=True)
    assert before.verdict is not None
    assert before.verdict.verdict == "suspicious"
    after = decorated(lambda _: [Finding("less", -9_999)], may_lower=True, unread=True)
    assert after.verdict is not None
    assert (after.verdict.verdict, after.verdict.complete) == ("incomplete", False)


def test_each_sees_the_verdict_so_far() -> None:
    """With the findings of those before it, each counted once."""
    seen: list[tuple[str, int]] = []

    def look(response: ScanResponse) -> list[Finding]:
        assert response.verdict is not None
        seen.append((response.verdict.verdict, response.verdict.score))
        return [Finding(f"more{len(seen)}", 500)]

    response = decorated(look, look)
    assert seen == [("suspicious", 500), ("suspicious", 999)]
    assert response.verdict is not None
    assert response.verdict.score == 999
    assert len(response.results[0].findings) == 3


@pytest.mark.parametrize("emit", [5, "text", On("x", 5), On(5, Finding("x", 1))])  # type: ignore[arg-type]
def test_what_is_no_emit_is_an_error(emit: Any) -> None:
    """It is named, and the request goes on."""
    response = decorated(lambda _: [emit], lambda _: [{"fine": True}])
    assert [(one.plugin, one.code) for one in response.errors] == [("decorator:d0", "wrong_type")]
    assert response.decorators == {"d1": {"fine": True}}


def test_a_worker_cannot_speak_of_other_payloads() -> None:
    """`On` is a decorator's alone."""
    source: Any = Source({"w": worker(lambda *_: iter([On("x", Finding("x", 5))]))}, always=["w"])
    pipeline = Pipeline(Config(), source, Inline(source), Broker())
    request = Request(scan_id=SCAN_ID, payloads=[payload_of(b"x")])
    response = pipeline.scan(request, Deadline.after_ms(10_000))
    assert [(one.plugin, one.code) for one in response.errors] == [("w", "wrong_type")]
    assert response.results[0].findings == []
    assert isinstance(response.results[0].unread[0], Unread)
