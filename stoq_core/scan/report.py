"""What a scan reports: a report a payload, its copies noted with it, errors and reasons within bounds."""

from __future__ import annotations

from typing import Any

import msgspec

from stoq_core.account import Coverage
from stoq_core.errors import ErrorReport, Reason, Unread
from stoq_core.limits import RequestLimits
from stoq_core.payload import Payload
from stoq_core.response import FoundIn, PayloadReport, Stats

from .journal import Journal
from .tree import UNTOUCHED, Node

_MOST_REPORTS = 10_000
_MOST_MESSAGES = 20
_CLOSED = frozenset({
    Reason.NO_WORKER, Reason.UNKNOWN_TYPE, Reason.UNSUPPORTED_METHOD,
    Reason.ENCRYPTED_ARCHIVE, Reason.ENCRYPTED_DOCUMENT,
})  # fmt: skip


class Scanned(msgspec.Struct, kw_only=True):
    """What the engine found out: reports in document order, errors, and the request's own reasons."""

    reports: list[PayloadReport]
    errors: list[ErrorReport]
    unread: list[Unread]
    stats: Stats


class Book:
    """All that one request reports, as it comes."""

    def __init__(self, limits: RequestLimits) -> None:
        """Nothing so far."""
        self.errors: list[ErrorReport] = []
        self.unread: list[Unread] = []
        self.stats = Stats(plugin_ms={})
        self._limits = limits
        self._result_bytes_left = limits.request_result_bytes
        self._reasons_left = _MOST_REPORTS
        self._plain_bytes = 0

    def spent(self, node: Node) -> None:
        """Count the payload's bytes, its plugins' time and its errors."""
        self.stats.bytes += node.payload.size
        for plugin, ms in node.journal.ms.items():
            self.stats.plugin_ms[plugin] = self.stats.plugin_ms.get(plugin, 0.0) + ms
        self._take_errors(node.journal.errors)

    def report(self, node: Node) -> PayloadReport:
        """The payload's own report, once it is examined."""
        journal, payload = node.journal, node.payload
        return PayloadReport(
            payload_id=payload.payload_id,
            size=payload.size,
            sha256=payload.sha256,
            meta=_kept(payload, journal),
            depth=payload.depth,
            workers=self._within(node, _shown(journal)),
            workers_run=journal.rounds or [],
            extracted_from=payload.extracted_from,
            extracted_by=payload.extracted_by,
            findings=self._findings(node),
            unread=self._unread_of(node),
            coverage=self._covered(node),
        )

    def _covered(self, node: Node) -> Coverage:
        """What the payload's bytes were: the account that explains most; without one they are plain.

        What was not searched, or is closed to a search, is unread.
        """
        size, reasons = node.payload.size, node.journal.reasons()
        if node.journal is UNTOUCHED or Reason.NOT_SEARCHED in reasons:
            found = Coverage(unread=size)
        elif node.journal.coverage:
            found = min(node.journal.coverage, key=lambda one: (one.plain, one.unread))
        elif reasons and not _CLOSED.isdisjoint(reasons):
            found = Coverage(unread=size)
        else:
            self._plain_bytes += size  # most are; summed up at the end
            return Coverage(plain=size)
        self.stats.coverage = self.stats.coverage.plus(found)
        return found

    def note_occurrence(self, node: Node, holder: Node) -> None:
        """Another copy of the holder's bytes, with what only its place brought."""
        report = holder.report
        if report is None or node.occurrence is None:
            holder.late.append(node)  # the holder is still being examined: noted when it is done
            return
        report.occurrences.append(node.occurrence)
        report.findings += self._findings(node)
        report.unread += self._unread_of(node)

    def mark(self, node: Node, reason: Reason, plugin: str | None, message: str) -> None:
        """Say why bytes of this payload stay unread."""
        target = node.reported
        found = Unread(reason=reason, payload_id=target.payload.payload_id, plugin=plugin, message=message)
        known = target.unread if target.report is None else target.report.unread
        if found not in known[-3:]:
            known.append(found)

    def closed(self, reports: list[PayloadReport]) -> Scanned:
        """The whole, once every payload is reported."""
        self.stats.payloads = len(reports)
        self.stats.coverage = self.stats.coverage.plus(Coverage(plain=self._plain_bytes))
        return Scanned(reports=reports, errors=self.errors, unread=self.unread, stats=self.stats)

    def _take_errors(self, errors: list[ErrorReport]) -> None:
        room = _MOST_REPORTS - len(self.errors)
        if room >= len(errors):
            self.errors += errors
        elif room >= 0:
            message = f"more than {_MOST_REPORTS} errors: the others are not listed"
            self.errors += [*errors[:room], ErrorReport(plugin="engine", code="more_errors", message=message)]

    def _unread_of(self, node: Node) -> list[Unread]:
        """The node's reasons; where the request has very many already, the first of each."""
        found = merged([*node.unread, *node.journal.unread])
        self._reasons_left -= len(found)
        if self._reasons_left >= 0:
            return found
        return list({one.reason: one for one in reversed(found)}.values())[::-1]

    def _within(self, node: Node, workers: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The results, as long as the request's document stays within its size."""
        if not workers:
            return workers
        self._result_bytes_left -= len(msgspec.json.encode(workers))
        if self._result_bytes_left >= 0:
            return workers
        allowed = self._limits.request_result_bytes
        target = node.reported.payload.payload_id
        message = f"all results together are over {allowed} bytes: these are left out"
        code = Reason.RESULT_TOO_LARGE.value
        self._take_errors(
            [ErrorReport(plugin="engine", code=code, message=message, payload_id=target, allowed=allowed)]
        )
        return []

    def _findings(self, node: Node) -> list[FoundIn]:
        target = node.reported.payload.payload_id
        return [
            FoundIn(plugin=plugin, payload_id=target, finding=finding, path=node.path())
            for plugin, finding in node.journal.findings
        ]

    def copy(self, node: Node, holder: Node) -> None:
        """What ran again for another copy, and the copy itself."""
        if node.occurrence is not None:
            node.occurrence.workers = self._within(node, _shown(node.journal))
            node.occurrence.plugins_run = node.journal.rounds or []
        self.note_occurrence(node, holder)


def merged(reasons: list[Unread]) -> list[Unread]:
    """Each cause once, in order, with the number of times it was given.

    Of one reason and plugin the first twenty messages are kept; the last of them counts for the others.
    """
    if len(reasons) < 2:
        return reasons
    kept: dict[tuple[Reason, str | None, str], int] = {}
    messages: dict[tuple[Reason, str | None], list[str]] = {}
    for one in reasons:
        known = messages.setdefault((one.reason, one.plugin), [])
        if one.message not in known and len(known) < _MOST_MESSAGES:
            known.append(one.message)
        message = one.message if one.message in known else known[-1]
        key = (one.reason, one.plugin, message)
        kept[key] = kept.get(key, 0) + one.count
    payload_id = reasons[0].payload_id
    return [
        Unread(reason=reason, payload_id=payload_id, plugin=plugin, message=message, count=count)
        for (reason, plugin, message), count in kept.items()
    ]


def _shown(journal: Journal) -> list[dict[str, Any]]:
    """The results by round; rounds without any are left out."""
    return [one for one in journal.results_by_round() if one]


def _kept(payload: Payload, journal: Journal) -> Any:
    if journal.archive is False and payload.meta.should_archive:
        return msgspec.structs.replace(payload.meta, should_archive=False)
    return payload.meta


def why_skipped(node: Node, limits: RequestLimits) -> tuple[Reason, str]:
    """The reason for a payload that is not examined at all, and what to do or why."""
    payload = node.payload
    if node.dropped:
        return Reason.TOO_MANY_BYTES, f"it did not fit into limits.held_bytes ({limits.held_bytes})"
    if not payload.meta.should_scan:
        return Reason.NOT_SCANNED, "its meta says should_scan = false"
    if payload.depth > limits.depth:
        return Reason.TOO_DEEP, f"depth {payload.depth}; limits.depth is {limits.depth}"
    if payload.size > limits.payload_bytes:
        return Reason.TOO_LARGE, f"{payload.size} bytes; limits.payload_bytes is {limits.payload_bytes}"
    return Reason.DEADLINE, "no time was left for it"
