"""The rendered document as types: its JSON Schema is made from them, and tests read with them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from .account import Coverage
from .errors import Unread
from .response import SCHEMA_VERSION, Stats

VerdictName = Literal["clean", "suspicious", "malicious", "incomplete"]


class _Part(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    pass


class PayloadMetaPart(_Part):
    """`payload_meta`: what came with the bytes."""

    should_archive: bool
    should_scan: bool
    extra_data: dict[str, Any]
    dispatch_to: list[str]


class OccurrenceRun(_Part):
    """What ran for one more occurrence of the same bytes: names a round."""

    workers: list[list[str]]


class OccurrencePart(_Part):
    """Another place where the same bytes stood."""

    payload_id: str
    extracted_from: str | None
    extracted_by: str | None
    payload_meta: PayloadMetaPart
    workers: list[dict[str, Any]]
    plugins_run: OccurrenceRun


class PluginsRun(_Part):
    """Workers by round, and archivers."""

    workers: list[list[str]]
    archivers: list[str]


class PayloadPart(_Part):
    """One payload: `workers` holds one table a round from worker to result; `size` in bytes."""

    payload_id: str
    size: int
    sha256: str
    payload_meta: PayloadMetaPart
    workers: list[dict[str, Any]]
    archivers: dict[str, Any]
    plugins_run: PluginsRun
    extracted_from: str | None
    extracted_by: str | None
    depth: int
    verdict: VerdictName
    score: int
    unread: list[Unread]
    coverage: Coverage
    occurrences: list[OccurrencePart]


class FindingPart(_Part):
    """One scored reason; `path` walks from the payload to the root, by name."""

    name: str
    score: int
    detail: str
    plugin: str
    payload_id: str | None
    path: list[str]
    attack: list[str]


class VerdictPart(_Part):
    """`decorators.verdict`: the core's judgement on the request."""

    verdict: VerdictName
    score: int
    complete: bool
    unread: list[Unread]
    findings: list[FindingPart]
    ruleset: str | None


class ErrorPart(_Part):
    """One error of a plugin."""

    code: str
    message: str
    payload_id: str | None
    retryable: bool
    observed: int | None
    allowed: int | None


class RequestMetaPart(_Part):
    """What the submitter said."""

    archive_payloads: bool
    source: str | None
    extra_data: dict[str, Any]


class DecoratorsPart(msgspec.Struct, kw_only=True):
    """Decorators' results by name; other names than `verdict` are plugins'."""

    verdict: VerdictPart | None = None


class Document(_Part):
    """The whole result of one scan."""

    time: str
    results: list[PayloadPart]
    request_meta: RequestMetaPart
    errors: dict[str, list[ErrorPart]]
    decorators: DecoratorsPart
    scan_id: str
    schema: str
    attempt: int
    stats: Stats


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the document."""
    made = msgspec.json.schema(Document)
    title = f"stoQ scan result, schema {SCHEMA_VERSION}"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **made}
