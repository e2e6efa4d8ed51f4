"""One request from fetch to stored result: scan, archive, decorate, judge, connect."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from .account import Coverage
from .attempts import Attempts
from .body import Body
from .config import Config
from .errors import ErrorReport, PluginError, Reason, StoreError, Unread
from .job import Finding, On
from .limits import Budget, Deadline
from .payload import ObjectRef, Payload, PayloadMeta, Request, RequestMeta, root_id, scan_id_for
from .plugin import ArchiveContext, Archiver, Connector, Decorator
from .references import object_digest, refuse_foreign
from .registry import Plugins
from .response import FoundIn, PayloadReport, ScanResponse, Stats
from .scan.engine import Engine
from .scan.executor import Executor
from .scan.floor import Floor
from .scan.plugin_facts import PluginIndex
from .scan.validation import EmitChecker
from .values import plain_text
from .verdict import judge, judge_payload


class NotStoredError(StoreError):
    """An archiver or connector failed; the result is whole, `stored` names the connectors that have it."""

    def __init__(self, response: ScanResponse, failures: Sequence[StoreError], stored: Sequence[str]) -> None:
        """Retryable if any of the failures is."""
        message = "; ".join(str(failure) for failure in failures[:5])
        super().__init__(message, retryable=any(failure.retryable for failure in failures))
        self.response = response
        self.stored = tuple(stored)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a reference ended; a `stored` one has its response."""

    kind: Literal["stored", "superseded", "not_fetched"]
    scan_id: str
    response: ScanResponse | None = None


class Broker(msgspec.Struct, kw_only=True):
    """The plugins that hold credentials, opened: by instance name, in the configured order."""

    archivers: dict[str, Archiver[Any]] = {}
    fetchers: dict[str, Archiver[Any]] = {}
    decorators: dict[str, Decorator[Any]] = {}
    connectors: dict[str, Connector[Any]] = {}


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def in_process(plugins: Plugins, threads: int) -> Executor:
    """The executor without a sandbox: `threads` examinations of a request side by side in this process."""
    if threads <= 1:
        from .scan.executor import Inline

        return Inline(plugins)
    from .scan.threads import Threads

    return Threads(plugins, threads)


class Pipeline:
    """Made once a cold start; `scan` and `scan_ref` may be called as often as there are requests."""

    def __init__(
        self,
        config: Config,
        plugins: PluginIndex,
        executor: Executor,
        broker: Broker,
        *,
        ruleset: str | None = None,
        warnings: tuple[str, ...] = (),
        scratch: Path | None = None,
        now: Callable[[], dt.datetime] = _utc_now,
    ) -> None:
        """`ruleset` is the digest that every result names; `scratch` a folder on a real disk or None.

        `warnings` are what the sandbox's plugins would have mended though they work.
        """
        self.config = config
        self.warnings = warnings
        self.broker = broker
        self._executor = executor
        self.floor = Floor(plugins, unknown_is_clean=config.verdict.unknown == "clean")
        self._engine = Engine(
            plugins, executor, config.limits, dedup=config.scan.dedup, scratch=scratch, floor=self.floor
        )
        self._accepted = frozenset(config.verdict.accept)
        self._ruleset = ruleset
        self._now = now
        self._attempts = Attempts.of(broker.connectors.values(), lambda: now().timestamp())

    def scan_ref(
        self,
        ref: ObjectRef,
        *,
        deadline: Deadline,
        deliveries: int = 1,
        campaign: str = "live",
        payload: Payload | None = None,
    ) -> Outcome:
        """Fetch, scan and store one object. Raises `StoreError(retryable=True)`: deliver it again.

        `payload`: what the event itself brought, so that nothing is fetched.
        """
        scan_id = scan_id_for(self.config.deployment, ref.identity, campaign)
        meta = RequestMeta(source=ref.store, extra_data={"object": msgspec.to_builtins(ref)})
        request = Request(scan_id=scan_id, meta=meta, attempt=deliveries)
        request.passwords = list(self.config.scan.passwords)
        request.start = list(self.config.scan.start)
        if payload is None:
            refuse_foreign(ref, self.config.trigger)
        try:
            payload = self._fetch(ref) if payload is None else payload
        except StoreError as error:
            if error.retryable:
                raise
            if error.reason is Reason.SUPERSEDED:
                return Outcome(kind="superseded", scan_id=scan_id)
            reason = error.reason or Reason.NOT_FETCHED
            response = self.unscanned(request, reason, str(error), ref=ref)
            self.store(response)
            return Outcome(kind="not_fetched", scan_id=scan_id, response=response)
        attempt = self._attempts.begin(scan_id, deliveries)
        if attempt is None:
            response = self._crashed(request, ref, payload)
        else:
            request.payloads = [payload]
            with attempt:
                response, failures = self._scanned(request, deadline, ref)
            self.store(response, failures)
        return Outcome(kind="stored", scan_id=scan_id, response=response)

    def names_in_logs(self, ref: ObjectRef, campaign: str = "live") -> dict[str, str]:
        """What leads from a log line to the object: the scan's id, and the key or a digest of it."""
        named = f"{ref.bucket}/{ref.key}" if self.config.logging.keys else None
        return {
            "scan_id": scan_id_for(self.config.deployment, ref.identity, campaign),
            "object": named or object_digest(self.config.deployment, ref),
        }

    def _crashed(self, request: Request, ref: ObjectRef, payload: Payload) -> ScanResponse:
        """Safe mode: an earlier attempt died while it parsed, so this one archives, hashes and says so."""
        why = f"delivery {request.attempt}: an earlier one died while it parsed, so it was not parsed again"
        response = self.unscanned(request, Reason.CRASHED, why, ref=ref, payload=payload)
        failures: list[StoreError] = []
        if request.meta.archive_payloads:
            self._archive(request.scan_id, response.results[0], payload, response.errors, failures)
        self.store(response, failures)
        self._attempts.clear(request.scan_id)
        return response

    def _fetch(self, ref: ObjectRef) -> Payload:
        fetcher = self.broker.fetchers.get(ref.store)
        if fetcher is None:
            message = f"no archiver fetches from {ref.store!r}; name one in [scan] fetch"
            raise StoreError(message, retryable=False, reason=Reason.NOT_FETCHED)
        payload = fetcher.get(ref, self.config.limits.payload_bytes)
        source = {"bucket": plain_text(ref.bucket), "key": plain_text(ref.key)}
        extra = {**payload.meta.extra_data, **source}
        payload.meta = msgspec.structs.replace(payload.meta, extra_data=extra)
        return payload

    def scan(self, request: Request, deadline: Deadline, ref: ObjectRef | None = None) -> ScanResponse:
        """Scan and store a request. Raises `StoreError` after everything that could be done was done."""
        response, failures = self._scanned(request, deadline, ref)
        self.store(response, failures)
        return response

    def unscanned(
        self,
        request: Request,
        reason: Reason,
        message: str,
        *,
        ref: ObjectRef | None = None,
        payload: Payload | None = None,
    ) -> ScanResponse:
        """A result for something that must not or cannot be parsed: hashes and reference, no plugins."""
        payload_id = root_id(request.scan_id, 0)
        name = ref.key.rpartition("/")[2] if ref else ""
        meta = payload.meta if payload else PayloadMeta(extra_data={"filename": plain_text(name)})
        report = PayloadReport(
            payload_id=payload_id,
            size=payload.size if payload else (ref.size if ref and ref.size else 0),
            sha256=payload.sha256 if payload else "",
            meta=meta,
            unread=[Unread(reason=reason, payload_id=payload_id, message=message)],
        )
        report.coverage = Coverage(unread=report.size)
        error = ErrorReport(plugin="engine", code=reason.value, message=message, payload_id=payload_id)
        response = self._response(request, ref)
        response.results, response.errors = [report], [error]
        response.stats.payloads, response.stats.coverage = 1, report.coverage
        response.verdict = judge(response, (), (), self._accepted)
        return response

    def _response(self, request: Request, ref: ObjectRef | None) -> ScanResponse:
        return ScanResponse(
            scan_id=request.scan_id,
            time=self._now().isoformat().replace("+00:00", "Z"),
            request_meta=request.meta,
            stats=Stats(
                plugin_ms={},
                ruleset=self._ruleset,
                config=self.config.digest,
                sandbox=self._executor.facts,
                accepted=sorted(self._accepted),
                replaced=self.config.replaced,
            ),
            attempt=request.attempt,
            ref=ref,
        )

    def _scanned(
        self, request: Request, deadline: Deadline, ref: ObjectRef | None
    ) -> tuple[ScanResponse, list[StoreError]]:
        began = time.perf_counter()
        failures: list[StoreError] = []
        errors: list[ErrorReport] = []

        def examined(report: PayloadReport, payload: Payload) -> None:
            judge_payload(report, self._accepted)
            if request.meta.archive_payloads and report.meta.should_archive:
                self._archive(request.scan_id, report, payload, errors, failures)

        wants_archive = bool(self.broker.archivers)
        reserve = Deadline(deadline.at - self.config.limits.reserve_ms / 1000)
        scanned = self._engine.scan(
            request, reserve if reserve.left_ms else deadline, examined if wants_archive else None
        )
        response = self._response(request, ref)
        response.results = scanned.reports
        response.errors = scanned.errors + errors
        response.stats.bytes = scanned.stats.bytes
        response.stats.payloads = scanned.stats.payloads
        response.stats.coverage = scanned.stats.coverage
        response.stats.plugin_ms = {k: round(v, 3) for k, v in sorted(scanned.stats.plugin_ms.items())}
        self._decorate(response, scanned.unread)
        response.stats.wall_ms = round((time.perf_counter() - began) * 1000, 3)
        return response, failures

    def _archive(
        self,
        scan_id: str,
        report: PayloadReport,
        payload: Payload,
        errors: list[ErrorReport],
        failures: list[StoreError],
    ) -> None:
        when = self.config.scan.archive_when
        if (when == "extracted" and report.extracted_from is None) or (
            when == "findings" and not report.findings
        ):
            return
        context = ArchiveContext(scan_id=scan_id, sha256=payload.sha256, report=report)
        for name, archiver in self.broker.archivers.items():
            report.archivers_run.append(name)
            try:
                report.archivers[name] = archiver.archive(payload, context)
            except Exception as error:  # noqa: BLE001 - one archiver's failure must not stop the others
                failure = _as_store_error(error)
                failures.append(failure)
                errors.append(_report_of(f"archiver:{name}", failure, report.payload_id))

    def _decorate(self, response: ScanResponse, unread: Sequence[Unread]) -> None:
        """Each decorator sees the verdict so far; what it finds is in it before the next one runs."""
        response.verdict = judge(response, (), unread, self._accepted)
        for name, decorator in self.broker.decorators.items():
            budget = Budget(self.config.limits, input_bytes=0, bytes_left=0, children_left=0)
            checker = EmitChecker(
                f"decorator:{name}", self.config.limits, budget,
                may_dispatch=False, decorates=True, may_lower=decorator.may_lower,
            )  # fmt: skip
            findings: list[FoundIn] = []
            try:
                for emit in decorator.decorate(response):
                    for checked in checker.check(emit):
                        if isinstance(checked, (Finding, On)):
                            findings.append(_found_in(name, checked, response))
                        elif isinstance(checked, dict):
                            response.decorators.setdefault(name, {}).update(checked)
                        elif isinstance(checked, ErrorReport):
                            response.errors.append(checked)
            except Exception as error:  # noqa: BLE001 - a decorator's failure becomes data
                code = error.code if isinstance(error, PluginError) else "plugin_failed"
                response.errors.append(
                    ErrorReport(plugin=f"decorator:{name}", code=code, message=f"{error}"[:1000])
                )
            response.verdict = judge(response, findings, unread, self._accepted)

    def store(self, response: ScanResponse, failures: Sequence[StoreError] = ()) -> None:
        """Run all connectors, then raise `NotStoredError` if one or an archiver failed (semantics 13)."""
        failed = list(failures)
        stored: list[str] = []
        for name, connector in self.broker.connectors.items():
            try:
                connector.save(response)
            except Exception as error:  # noqa: BLE001 - every other connector still runs
                failure = _as_store_error(error)
                failed.append(failure)
                response.errors.append(_report_of(f"connector:{name}", failure, None))
            else:
                stored.append(name)
        if failed:
            raise NotStoredError(response, failed, stored)

    def close(self) -> None:
        """Close the executor and every broker plugin, all of them even if one fails."""
        self._executor.close()
        groups: Iterable[dict[str, Any]] = (
            self.broker.archivers, self.broker.fetchers, self.broker.decorators, self.broker.connectors,
        )  # fmt: skip
        for plugin in {id(one): one for group in groups for one in group.values()}.values():
            plugin.close()


def _found_in(plugin: str, found: Finding | On, response: ScanResponse) -> FoundIn:
    """A decorator's finding where it belongs, with the names from there up to the root."""
    if isinstance(found, Finding):
        return FoundIn(plugin=plugin, payload_id=None, finding=found)
    by_id = {report.payload_id: report for report in response.results}
    report = by_id.get(found.payload_id)
    if report is None:
        raise PluginError("unknown_payload", f"there is no payload {found.payload_id[:80]!r}")
    path: list[str] = []
    while report is not None and len(path) <= len(by_id):
        path.append(report.name)
        report = by_id.get(report.extracted_from or "")
    return FoundIn(plugin=plugin, payload_id=found.payload_id, finding=found.finding, path=tuple(path))


def _as_store_error(error: Exception) -> StoreError:
    if isinstance(error, StoreError):
        return error
    return StoreError(f"{type(error).__name__}: {error}"[:1000], retryable=True)


def _report_of(key: str, error: StoreError, payload_id: str | None) -> ErrorReport:
    return ErrorReport(
        plugin=key,
        code="store_failed",
        message=str(error),
        payload_id=payload_id,
        retryable=error.retryable,
    )


def payload_of(content: bytes | Body, name: str | None = None, **extra: Any) -> Payload:
    """A root payload from bytes and a file name."""
    data = {"filename": plain_text(name), **extra} if name is not None else dict(extra)
    return Payload(content, PayloadMeta(extra_data=data))
