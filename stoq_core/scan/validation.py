"""Check what a plugin yields: types, sizes and counts; nothing malformed gets past this point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from stoq_core.body import Body
from stoq_core.errors import ErrorReport, LimitReached, PluginError, Reason, Unread
from stoq_core.job import Archive, Child, Dispatch, Finding, Hint, On
from stoq_core.limits import Budget, RequestLimits
from stoq_core.payload import PayloadMeta
from stoq_core.values import ValueLimits, plain, plain_text

_MAX_EMITS = 20_000
_MAX_TEXT = 4_096
_MAX_REPORTS = 100
_MAX_SCORE = 1_000_000
_SAFE_INTEGER = 2**53


class EmitChecker:
    """One plugin's emits on one payload; counts them and turns each into what the journal holds."""

    __slots__ = (
        "_budget", "_decorates", "_emits", "_full", "_keys", "_limits", "_may_dispatch", "_may_lower",
        "_plugin", "_values",
    )  # fmt: skip

    def __init__(
        self,
        plugin: str,
        limits: RequestLimits,
        budget: Budget,
        *,
        may_dispatch: bool,
        decorates: bool = False,
        may_lower: bool = False,
    ) -> None:
        """`budget` is the examination's own; children are paid from it when they are received.

        A plugin that `decorates` may say which payload a finding is `On`; one that `may_lower` may give
        negative scores.
        """
        self._plugin = plugin
        self._decorates = decorates
        self._may_lower = may_lower
        self._budget = budget
        self._may_dispatch = may_dispatch
        self._limits = limits
        self._keys: set[str] | None = None
        self._emits = 0
        self._full = False
        self._values: ValueLimits | None = None

    def check(self, emit: Any) -> Sequence[Any]:
        """What to write into the journal; raises `PluginError` for what must not get there."""
        kind = type(emit)
        if kind is Child:
            return (self._child(emit),)
        self._emits += 1
        if self._emits > _MAX_EMITS:
            raise LimitReached(Reason.RESULT_TOO_LARGE, f"more than {_MAX_EMITS} emits", allowed=_MAX_EMITS)
        if kind is Finding:
            return (self._found(emit),)
        if kind is On:
            return (self._on(emit),)
        if kind is Dispatch:
            return (self._dispatch(emit),)
        if kind is Hint:
            hint = _hint(emit)
            self._spend(len(hint.value))
            return (hint,)
        if kind is Archive:
            return (Archive(keep=bool(emit.keep)),)
        return self._result(emit)

    def _found(self, emit: Finding) -> Finding:
        found = _finding(emit, may_lower=self._may_lower)
        self._spend(len(found.name) + len(found.detail) + 64)
        return found

    def _left(self) -> ValueLimits:
        """What this plugin's results, findings, dispatches and hints may still take."""
        if self._values is None:
            limits = self._limits
            self._values = ValueLimits(
                depth=limits.result_depth, nodes=limits.result_nodes, bytes=limits.result_bytes
            )
        return self._values

    @property
    def spent(self) -> tuple[int, int]:
        """Bytes of text and values that were let through so far, children aside."""
        if self._values is None:
            return 0, 0
        return self._limits.result_bytes - self._values.bytes, self._limits.result_nodes - self._values.nodes

    def _spend(self, size: int, nodes: int = 1) -> None:
        left = self._left()
        if size > left.bytes or nodes > left.nodes:
            allowed = self._limits.result_bytes
            raise LimitReached(
                Reason.RESULT_TOO_LARGE, f"more than {allowed} bytes altogether", allowed=allowed
            )
        left.nodes -= nodes
        left.bytes -= size

    def _result(self, emit: Any) -> Sequence[Any]:
        if type(emit) is not dict and not isinstance(emit, (msgspec.Struct, Mapping)):
            raise PluginError(
                "wrong_type", f"yielded a {_type_name(emit)}; a worker yields mappings, structs or emits"
            )
        if self._full:
            return ()
        try:
            values, used_bytes, used_nodes = plain(emit, self._left())
            self._spend(used_bytes, used_nodes)
        except LimitReached as error:
            self._full = True
            return (self._cut(error),)
        if self._keys is None:
            self._keys = set(values)
            return (values,)
        repeated = self._keys & values.keys()
        if repeated:
            values = {key: value for key, value in values.items() if key not in repeated}
        self._keys |= values.keys()
        return (values, *(self._repeated(key) for key in sorted(repeated)))

    def _cut(self, error: LimitReached) -> ErrorReport:
        """A result that is left out for its size: an error, no reason, for the bytes were examined."""
        return ErrorReport(plugin=self._plugin, code=error.code, message=error.message, allowed=error.allowed)

    def _repeated(self, key: str) -> ErrorReport:
        message = f"the result has {key[:80]!r} already; the first one stays"
        return ErrorReport(plugin=self._plugin, code="duplicate_key", message=message)

    def _child(self, child: Child) -> Child:
        self._budget.check()
        body = child.body if isinstance(child.body, Body) else _body(child.body)
        room, reason = self._budget.room()
        truncated = child.truncated
        if body.size > room:
            body, truncated = Body(bytes(body.view()[:room])), reason
        self._budget.spend(body.size)
        return Child(body=body, meta=checked_meta(child.meta), truncated=truncated)

    def _on(self, emit: On) -> On:
        if not self._decorates:
            raise PluginError("wrong_type", "only a decorator may speak of other payloads")
        if not isinstance(emit.payload_id, str) or not isinstance(emit.finding, Finding):
            raise PluginError("wrong_type", "On has a payload's id and a Finding")
        return On(emit.payload_id, self._found(emit.finding))

    def _dispatch(self, emit: Dispatch) -> Dispatch:
        if not self._may_dispatch:
            raise PluginError("wrong_type", "a broker worker dispatches nothing")
        if not isinstance(emit.plugin, str):
            raise PluginError("wrong_type", "Dispatch.plugin is a worker's name")
        meta, used_bytes, used_nodes = plain(emit.meta, self._left())
        self._spend(used_bytes, used_nodes)
        return Dispatch(_short(emit.plugin), meta)


class ReportChecker:
    """What one plugin reports on one payload: valid text and numbers, and not without end.

    Past 100 of a kind only the first of each further reason is kept, so a verdict loses nothing.
    """

    __slots__ = ("_errors", "_payload_id", "_reasons", "_unread")

    def __init__(self, payload_id: str) -> None:
        """`payload_id` is filled into every report."""
        self._payload_id = payload_id
        self._errors = self._unread = 0
        self._reasons: set[Reason] = set()

    def check(self, report: ErrorReport | Unread) -> ErrorReport | Unread | None:
        """The report as it may be journalled, or None for one too many."""
        if isinstance(report, Unread):
            self._unread += 1
            if self._unread > _MAX_REPORTS and report.reason in self._reasons:
                return None
            self._reasons.add(report.reason)
        else:
            self._errors += 1
            if self._errors == _MAX_REPORTS + 1:
                message = f"more than {_MAX_REPORTS} errors: the others are not listed"
                report = msgspec.structs.replace(report, code="more_errors", message=message)
            elif self._errors > _MAX_REPORTS:
                return None
        return checked_report(report, self._payload_id)


def checked_report(report: ErrorReport | Unread, payload_id: str) -> ErrorReport | Unread:
    """The same with text and numbers that every database takes."""
    if isinstance(report, Unread):
        return Unread(
            reason=Reason(report.reason),
            payload_id=payload_id,
            plugin=report.plugin,
            message=_short(str(report.message)),
        )
    return ErrorReport(
        plugin=report.plugin,
        code=_short(str(report.code)),
        message=_short(str(report.message)),
        payload_id=payload_id,
        retryable=bool(report.retryable),
        observed=_number(report.observed),
        allowed=_number(report.allowed),
    )


def _number(value: Any) -> int | None:
    """A size as the document may hold it; what lies beyond is as good as the largest."""
    if not isinstance(value, int):
        return None
    return max(-_SAFE_INTEGER, min(int(value), _SAFE_INTEGER))


def _body(content: Any) -> Body:
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise PluginError("wrong_type", f"a child's body is bytes, not {_type_name(content)}")
    return Body(bytes(content))


def checked_meta(meta: Any) -> PayloadMeta:
    """A payload's meta as documents and databases take it; raises `PluginError` for what is none."""
    if not isinstance(meta, PayloadMeta):
        raise PluginError("wrong_type", f"a child's meta is a PayloadMeta, not {_type_name(meta)}")
    names = [_short(one) for one in meta.dispatch_to if isinstance(one, str)] if meta.dispatch_to else []
    extra = plain(meta.extra_data, ValueLimits(nodes=1_000, bytes=65_536))[0] if meta.extra_data else {}
    return PayloadMeta(
        should_archive=bool(meta.should_archive),
        should_scan=bool(meta.should_scan),
        extra_data=extra,
        dispatch_to=names,
    )


def _finding(emit: Finding, *, may_lower: bool) -> Finding:
    if not isinstance(emit.name, str) or not isinstance(emit.score, int):
        raise PluginError("wrong_type", "a Finding has a name (text) and a score (whole number)")
    if emit.score < 0 and not may_lower:
        raise PluginError("negative_score", f"{_short(emit.name)!r}: only `reputation` may lower a score")
    attack = tuple(_short(one) for one in emit.attack if isinstance(one, str))
    return Finding(
        _short(emit.name), max(-_MAX_SCORE, min(emit.score, _MAX_SCORE)), _short(str(emit.detail)), attack
    )


def _hint(emit: Hint) -> Hint:
    if emit.kind != "password" or not isinstance(emit.value, str):
        raise PluginError("wrong_type", "a Hint is ('password', text)")
    return Hint("password", _short(emit.value))


def _short(text: str) -> str:
    return plain_text(text[:_MAX_TEXT])[:_MAX_TEXT]


def _type_name(value: Any) -> str:
    return type(value).__name__
