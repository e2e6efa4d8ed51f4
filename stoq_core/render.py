"""The finished result as the JSON of stoQ's README, and as flat documents for databases."""

from __future__ import annotations

from typing import Any

import msgspec

from .errors import ErrorReport
from .response import SCHEMA_VERSION, FoundIn, Occurrence, PayloadReport, ScanResponse, Verdict
from .values import ValueLimits, plain

_TO_JSON = msgspec.json.Encoder()
_NO_LIMITS = ValueLimits(depth=1_000, nodes=2**60, bytes=2**60)


def document(response: ScanResponse) -> dict[str, Any]:
    """The whole result, as stoq-readme.md shows it; additions are `schema`, `stats` and the verdict."""
    made: dict[str, Any] = msgspec.to_builtins(_document(response))
    return made


def encode(response: ScanResponse) -> bytes:
    """`document` as UTF-8 JSON; text that is none, from whatever source, is escaped."""
    made = _document(response)
    try:
        return _TO_JSON.encode(made)
    except UnicodeEncodeError:
        return _TO_JSON.encode(plain(msgspec.to_builtins(made), _NO_LIMITS)[0])


def _document(response: ScanResponse) -> dict[str, Any]:
    """The document with structs left in it wherever their fields are what is rendered."""
    return {
        "time": response.time,
        "results": [_report(one) for one in response.results],
        "request_meta": response.request_meta,
        "errors": _errors(response.errors),
        "decorators": _decorators(response),
        "scan_id": response.scan_id,
        "schema": SCHEMA_VERSION,
        "attempt": response.attempt,
        "stats": response.stats,
    }


def flat_documents(response: ScanResponse) -> list[dict[str, Any]]:
    """One flat document a payload, rounds merged under `workers.NAME`; linear in the result's size."""
    errors: dict[str | None, list[ErrorReport]] = {}
    for error in response.errors:
        errors.setdefault(error.payload_id, []).append(error)
    shared = {
        "scan_id": response.scan_id,
        "time": response.time,
        "schema": SCHEMA_VERSION,
        "request_meta": response.request_meta,
        "scan_verdict": response.verdict.verdict if response.verdict else None,
        "scan_complete": response.complete,
        "ruleset": response.stats.ruleset,
    }
    flat = [_flat(one, shared, _errors_of(one, errors)) for one in response.results]
    made: list[dict[str, Any]] = msgspec.to_builtins(flat)
    return made


def _errors_of(report: PayloadReport, errors: dict[str | None, list[ErrorReport]]) -> list[ErrorReport]:
    """Those of the payload and of its other occurrences, which have ids of their own."""
    found = errors.get(report.payload_id, [])
    for one in report.occurrences:
        found = found + errors.get(one.payload_id, [])
    return found


def _flat(report: PayloadReport, shared: dict[str, Any], errors: list[ErrorReport]) -> dict[str, Any]:
    workers: dict[str, Any] = {}
    for one in report.workers:
        workers.update(one)
    return {
        **shared,
        **_report(report),
        "workers": workers,
        "plugins_run": sorted(name for names in report.workers_run for name in names),
        "filename": report.meta.extra_data.get("filename"),
        "findings": [_finding(one) for one in report.findings],
        "errors": _errors(errors),
    }


def _report(report: PayloadReport) -> dict[str, Any]:
    return {
        "payload_id": report.payload_id,
        "size": report.size,
        "sha256": report.sha256,
        "payload_meta": report.meta,
        "workers": report.workers,
        "archivers": report.archivers,
        "plugins_run": {"workers": report.workers_run, "archivers": report.archivers_run},
        "extracted_from": report.extracted_from,
        "extracted_by": report.extracted_by,
        "depth": report.depth,
        "verdict": report.verdict,
        "score": report.score,
        "unread": report.unread,
        "coverage": report.coverage,
        "occurrences": [_occurrence(one) for one in report.occurrences],
    }


def _occurrence(one: Occurrence) -> dict[str, Any]:
    return {
        "payload_id": one.payload_id,
        "extracted_from": one.extracted_from,
        "extracted_by": one.extracted_by,
        "payload_meta": one.payload_meta,
        "workers": one.workers,
        "plugins_run": {"workers": one.plugins_run},
    }


def _errors(errors: list[ErrorReport]) -> dict[str, list[dict[str, Any]]]:
    by_plugin: dict[str, list[dict[str, Any]]] = {}
    for one in errors:
        fields = msgspec.to_builtins(one)
        by_plugin.setdefault(fields.pop("plugin"), []).append(fields)
    return by_plugin


def _decorators(response: ScanResponse) -> dict[str, Any]:
    if response.verdict is None:
        return response.decorators
    return {**response.decorators, "verdict": _verdict(response.verdict)}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "verdict": verdict.verdict,
        "score": verdict.score,
        "complete": verdict.complete,
        "unread": verdict.unread,
        "findings": [_finding(one) for one in verdict.findings],
        "ruleset": verdict.ruleset,
    }


def _finding(one: FoundIn) -> dict[str, Any]:
    return {
        "name": one.finding.name,
        "score": one.finding.score,
        "detail": one.finding.detail,
        "plugin": one.plugin,
        "payload_id": one.payload_id,
        "path": list(one.path),
        "attack": list(one.finding.attack),
    }
