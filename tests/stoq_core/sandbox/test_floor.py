"""A child that says it is done is believed only if all that was due has ended (CLEAN, *The floor*)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from handlers import bootstrap
from stoq_core.limits import Deadline
from stoq_core.payload import Request
from stoq_core.pipeline import Pipeline, payload_of
from stoq_core.response import ScanResponse
from tests.stoq_core.sandbox.stage import settings

LIES = ("nothing", "open", "half", "few", "unstarted", "failed")
ALWAYS = ["hash", "identify", "later", "search"]


@pytest.fixture(scope="module", params=["process", "inline"])
def pipeline(request: pytest.FixtureRequest) -> Iterator[Pipeline]:
    """The whole of it, over plugins of which one lies."""
    wanted = {"scan__only": ALWAYS, "scan__dispatchers": ["liar"], "sandbox__mode": request.param}
    made = bootstrap.pipeline(settings(**wanted))
    yield made
    made.close()


def scan(pipeline: Pipeline, content: bytes) -> ScanResponse:
    """One request."""
    asked = Request(scan_id="11111111-1111-4111-8111-111111111111", payloads=[payload_of(content, "root")])
    return pipeline.scan(asked, Deadline.after_ms(60_000))


def test_the_honest_one_is_clean(pipeline: Pipeline) -> None:
    """Identified, searched, all ended, by whatever way it is run."""
    response = scan(pipeline, b"text [with [more]]")
    assert [report.verdict for report in response.results] == ["clean"] * 3
    assert response.verdict is not None
    assert response.verdict.verdict == "clean"


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("above", [0, 2])
def test_a_child_that_lies_makes_itself_and_all_above_incomplete(
    pipeline: Pipeline, lie: str, above: int
) -> None:
    """DONE at once, half of the plugins, steps that never began: never clean, nor is the request."""
    if pipeline.config.sandbox.mode == "inline":
        pytest.skip("in one process there is nobody else to lie")
    response = scan(pipeline, b"[" * above + f"LIE {lie} ".encode() + b"]" * above)
    assert len(response.results) == above + 1
    liar = response.results[-1]
    assert liar.verdict == "incomplete"
    assert liar.unread
    assert response.verdict is not None
    assert response.verdict.verdict == "incomplete"


@pytest.mark.parametrize(
    ("kind", "reason"), [("container", "no_worker"), ("encoding", "no_worker"), ("unknown", "unknown_type")]
)
def test_what_holds_others_must_have_been_opened(pipeline: Pipeline, kind: str, reason: str) -> None:
    """A container or an encoding that nothing opens, and dense bytes of no known type, are not clean."""
    response = scan(pipeline, f"IS {kind} ".encode())
    assert {one.reason.value for one in response.results[0].unread} == {reason}
    assert response.results[0].verdict == "incomplete"
