"""Findings and reasons become a verdict; the core's own judgement, no plugin can switch it off."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from .errors import Unread
from .response import FoundIn, PayloadReport, ScanResponse, Verdict

MALICIOUS = 1000
SUSPICIOUS = 300


def word(score: int, *, complete: bool) -> str:
    """The verdict of a score; malicious, suspicious, incomplete, clean in that order."""
    if score >= MALICIOUS:
        return "malicious"
    if score >= SUSPICIOUS:
        return "suspicious"
    return "clean" if complete else "incomplete"


def score_of(findings: Iterable[FoundIn]) -> int:
    """The sum over the distinct finding names; of one name the highest counts.

    It reaches `MALICIOUS` only where one finding does so alone: many doubts are no certainty.
    """
    best: dict[str, int] = {}
    for one in findings:
        name = one.finding.name
        best[name] = max(best.get(name, one.finding.score), one.finding.score)
    total = sum(best.values())
    decisive = max(best.values(), default=0) >= MALICIOUS
    return total if decisive else min(total, MALICIOUS - 1)


def judge_payload(report: PayloadReport, accepted: AbstractSet[str] = frozenset()) -> None:
    """Fill in the payload's own score and verdict; `accepted` reasons do not count."""
    report.score = score_of(report.findings)
    report.verdict = word(report.score, complete=_whole(report.unread, accepted))


def _whole(unread: list[Unread], accepted: AbstractSet[str]) -> bool:
    """True where nothing stays unread but what is excused by name."""
    return not unread or (bool(accepted) and all(one.reason in accepted for one in unread))


def judge(
    response: ScanResponse,
    decorated: Iterable[FoundIn],
    unread: Iterable[Unread],
    accepted: AbstractSet[str] = frozenset(),
) -> Verdict:
    """The whole request's verdict, after the decorators; `unread` are the request's own reasons.

    `accepted` names the reasons that the config excuses: they are listed, and do not count.
    """
    by_id = {report.payload_id: report for report in response.results}
    for one in decorated:
        target = by_id.get(one.payload_id or "") or (response.results[0] if response.results else None)
        if target is not None:
            target.findings.append(one)
    reasons = list(unread)
    findings: list[FoundIn] = []
    score = 0
    for report in response.results:
        judge_payload(report, accepted)
        reasons += report.unread
        findings += report.findings
        score = max(score, report.score)
    complete = _whole(reasons, accepted)
    findings.sort(key=lambda one: -one.finding.score)
    return Verdict(
        verdict=word(score, complete=complete),
        score=score,
        complete=complete,
        unread=reasons,
        findings=findings,
        ruleset=response.stats.ruleset,
    )
