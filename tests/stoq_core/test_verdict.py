"""Scores and reasons become a verdict."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stoq_core.errors import Reason, Unread
from stoq_core.job import Finding
from stoq_core.payload import PayloadMeta, RequestMeta
from stoq_core.response import FoundIn, PayloadReport, ScanResponse
from stoq_core.verdict import MALICIOUS, SUSPICIOUS, judge, judge_payload, score_of, word

FOUND = st.lists(st.tuples(st.sampled_from("abc"), st.integers(-50, 2_000)), max_size=8)


def found(name: str, score: int) -> FoundIn:
    """A finding of some plugin's."""
    return FoundIn(plugin="p", payload_id="0", finding=Finding(name, score))


def report(payload_id: str, *findings: FoundIn, reasons: tuple[Reason, ...] = ()) -> PayloadReport:
    """A payload's report with these."""
    unread = [Unread(reason=reason, payload_id=payload_id) for reason in reasons]
    return PayloadReport(
        payload_id=payload_id, size=1, sha256="", meta=PayloadMeta(), findings=[*findings], unread=unread
    )


@given(FOUND)
def test_of_one_finding_the_highest_score_counts(pairs: list[tuple[str, int]]) -> None:
    """Each name once, with its highest score, in whatever order they come; the score is the sum.

    It is malicious only where one finding is so alone.
    """
    best = {name: max(score for other, score in pairs if other == name) for name, _ in pairs}
    total = sum(best.values())
    if max(best.values(), default=0) < MALICIOUS:
        total = min(total, MALICIOUS - 1)
    assert score_of(found(*pair) for pair in pairs) == total
    assert score_of(found(*pair) for pair in reversed(pairs)) == total


def test_the_words_by_their_bounds() -> None:
    """Malicious from 1000, suspicious from 300, else incomplete or clean."""
    expected = {MALICIOUS: "malicious", MALICIOUS - 1: "suspicious", SUSPICIOUS: "suspicious"}
    for score, name in expected.items():
        assert word(score, complete=True) == word(score, complete=False) == name
    assert (word(SUSPICIOUS - 1, complete=True), word(SUSPICIOUS - 1, complete=False)) == (
        "clean",
        "incomplete",
    )


def test_the_request_has_the_highest_payload_s_score_and_every_reason() -> None:
    """Not the sum over payloads; findings by score, the highest first."""
    reports = [
        report("0", found("a", 200)),
        report("1", found("b", 250), found("c", 40), reasons=(Reason.CORRUPT,)),
    ]
    response = ScanResponse(scan_id="", time="", request_meta=RequestMeta(), results=reports)
    verdict = judge(response, (), [Unread(reason=Reason.TIMEOUT)])
    assert (verdict.score, verdict.verdict, verdict.complete) == (290, "incomplete", False)
    assert [one.finding.name for one in verdict.findings] == ["b", "a", "c"]
    assert [one.reason for one in verdict.unread] == [Reason.TIMEOUT, Reason.CORRUPT]
    assert [one.verdict for one in reports] == ["clean", "incomplete"]


def test_accepted_reasons_are_listed_and_do_not_count() -> None:
    """All of them must be accepted; one that is not makes it incomplete, for the payload and the request."""
    accepted = frozenset({"corrupt", "too_deep"})
    for reasons, expected in (
        ((Reason.CORRUPT,), "clean"),
        ((Reason.CORRUPT, Reason.TOO_DEEP), "clean"),
        ((Reason.CORRUPT, Reason.TIMEOUT), "incomplete"),
    ):
        one = report("0", reasons=reasons)
        judge_payload(one, accepted)
        response = ScanResponse(scan_id="", time="", request_meta=RequestMeta(), results=[one])
        verdict = judge(response, (), (), accepted)
        assert one.verdict == verdict.verdict == expected
        assert len(verdict.unread) == len(reasons)
        assert verdict.complete == (expected == "clean")
