"""The finished result: one report a payload, and the response that holds them all."""

from __future__ import annotations

from typing import Any

import msgspec

from .account import Coverage
from .errors import ErrorReport, Unread
from .job import Finding
from .payload import ObjectRef, PayloadMeta, RequestMeta

SCHEMA_VERSION = "1.1"
"""Version of the rendered document; the minor number grows when fields are added."""


class FoundIn(msgspec.Struct, frozen=True, kw_only=True):
    """A finding and where it came from; `path` walks from the payload to the root, by name."""

    plugin: str
    payload_id: str | None
    finding: Finding
    path: tuple[str, ...] = ()


class Occurrence(msgspec.Struct, kw_only=True):
    """Another place where the same bytes stood (semantics 7), with what only its meta brought."""

    extracted_from: str | None
    extracted_by: str | None
    payload_meta: PayloadMeta
    payload_id: str
    workers: list[dict[str, Any]] = []
    plugins_run: list[list[str]] = []


class PayloadReport(msgspec.Struct, kw_only=True):
    """All that is known about one payload.

    `workers` holds one mapping a round from worker to result; `workers_run` the names a round.
    """

    payload_id: str
    size: int
    sha256: str
    meta: PayloadMeta
    depth: int = 0
    workers: list[dict[str, Any]] = []
    workers_run: list[list[str]] = []
    archivers: dict[str, Any] = {}
    archivers_run: list[str] = []
    extracted_from: str | None = None
    extracted_by: str | None = None
    occurrences: list[Occurrence] = []
    findings: list[FoundIn] = []
    unread: list[Unread] = []
    coverage: Coverage = Coverage()
    verdict: str = "clean"
    score: int = 0

    @property
    def name(self) -> str:
        """The file's name here or at the first place that gives it one, or else the id's start."""
        metas = (self.meta, *(one.payload_meta for one in self.occurrences))
        names = (one.extra_data.get("filename") for one in metas)
        return next((str(name) for name in names if name), self.payload_id[:8])

    def result_of(self, worker: str) -> Any:
        """A worker's result, in whichever round it ran, or None."""
        for one in self.workers:
            if worker in one:
                return one[worker]
        return None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The core's judgement on a request: see ARCHITECTURE, *Verdict and completeness*."""

    verdict: str
    score: int
    complete: bool
    unread: list[Unread]
    findings: list[FoundIn]
    ruleset: str | None = None


class Stats(msgspec.Struct, kw_only=True):
    """What the scan cost: bytes, payloads, milliseconds a plugin; and what it ran under."""

    bytes: int = 0
    payloads: int = 0
    wall_ms: float = 0.0
    plugin_ms: dict[str, float] = {}
    ruleset: str | None = None
    config: str | None = None
    sandbox: dict[str, Any] = {}
    coverage: Coverage = Coverage()
    accepted: list[str] = []
    """Reasons that the config excuses by name (`[verdict] accept`)."""
    replaced: list[str] = []
    """Shipped defaults that the config has put something else in place of."""


class ScanResponse(msgspec.Struct, kw_only=True):
    """The whole result of one request; `render.document` makes the JSON of it."""

    scan_id: str
    time: str
    request_meta: RequestMeta
    results: list[PayloadReport] = []
    errors: list[ErrorReport] = []
    decorators: dict[str, Any] = {}
    verdict: Verdict | None = None
    stats: Stats = msgspec.field(default_factory=Stats)
    attempt: int = 1
    ref: ObjectRef | None = None

    @property
    def complete(self) -> bool:
        """True when every byte was examined."""
        return self.verdict is not None and self.verdict.complete
