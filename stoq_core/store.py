"""What a store of results offers, and the rule by which one record replaces another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import msgspec

from .response import ScanResponse


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """One stored result in a line."""

    scan_id: str
    time: str
    verdict: str
    score: int
    complete: bool
    name: str
    sha256: str
    size: int
    payloads: int
    source: str | None = None


@runtime_checkable
class ResultStore(Protocol):
    """What a connector offers whose store can be asked."""

    def get(self, scan_id: str) -> dict[str, Any] | None:
        """The whole document, or None."""

    def list(self, limit: int, verdict: str | None = None) -> Iterator[Summary]:
        """The newest results first."""

    def search(
        self,
        *,
        sha256: str | None = None,
        name: str | None = None,
        finding: str | None = None,
        limit: int = 20,
    ) -> Iterator[Summary]:
        """Results that hold all that is given: a digest, part of a name, a finding's name."""


Rank = tuple[bool, int, int]
"""How complete a record is: complete at all, payloads examined to the end, payloads."""


def rank(response: ScanResponse) -> Rank:
    """The response's completeness. A record is replaced only by one of at least the same rank."""
    examined = sum(1 for one in response.results if not one.unread)
    return (response.complete, examined, len(response.results))


def rank_of_document(document: dict[str, Any]) -> Rank:
    """The same, of a stored document."""
    verdict = document.get("decorators", {}).get("verdict", {})
    results = document.get("results", [])
    return (bool(verdict.get("complete")), sum(1 for one in results if not one.get("unread")), len(results))


def summary_of(response: ScanResponse) -> Summary:
    """The line of a response."""
    root = response.results[0] if response.results else None
    verdict = response.verdict
    return Summary(
        scan_id=response.scan_id,
        time=response.time,
        verdict=verdict.verdict if verdict else "incomplete",
        score=verdict.score if verdict else 0,
        complete=response.complete,
        name=root.name if root else "",
        sha256=root.sha256 if root else "",
        size=root.size if root else 0,
        payloads=len(response.results),
        source=response.request_meta.source,
    )


def summary_of_document(document: dict[str, Any]) -> Summary:
    """The line of a stored document."""
    results = document.get("results", [])
    root = results[0] if results else {}
    verdict = document.get("decorators", {}).get("verdict", {})
    return Summary(
        scan_id=document["scan_id"],
        time=document["time"],
        verdict=verdict.get("verdict", "incomplete"),
        score=verdict.get("score", 0),
        complete=verdict.get("complete", False),
        name=str(root.get("payload_meta", {}).get("extra_data", {}).get("filename", "")),
        sha256=root.get("sha256", ""),
        size=root.get("size", 0),
        payloads=len(results),
        source=document.get("request_meta", {}).get("source"),
    )


def holds(
    document: dict[str, Any],
    *,
    sha256: str | None = None,
    name: str | None = None,
    finding: str | None = None,
) -> bool:
    """True if a document answers a search."""
    results = document.get("results", [])
    found = document.get("decorators", {}).get("verdict", {}).get("findings", [])
    return (
        (sha256 is None or any(one.get("sha256") == sha256 for one in results))
        and (name is None or any(name.lower() in one.lower() for one in _names(results)))
        and (finding is None or any(one.get("name") == finding for one in found))
    )


def _names(results: list[dict[str, Any]]) -> Iterator[str]:
    for one in results:
        yield str(one.get("payload_meta", {}).get("extra_data", {}).get("filename", ""))
