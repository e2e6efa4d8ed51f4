"""Check what a plugin yields: types, sizes and counts; nothing malformed gets past this point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from .body import Body
from .errors import ErrorReport, LimitReached, PluginError, Reason
from .job import Archive, Child, Dispatch, Finding, Hint, On
from .limits import Budget, RequestLimits
from .payload import PayloadMeta
from .values import ValueLimits, plain, plain_text

_MAX_EMITS = 20_000
_MAX_TEXT = 4_096
_MAX_SCORE = 1_000_000


class EmitChecker:
    """One plugin's emits on one payload; counts them and turns each into what the journal holds."""

    __slots__ = (
        "_budget",
        "_decorates",
        "_emits",
        "_keys",
        "_may_dispatch",
        "_may_lower",
        "_plugin",
        "_values",
    )

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
        self._keys: set[str] = set()
        self._emits = 0
        self._values = ValueLimits(
            depth=limits.result_depth, nodes=limits.result_nodes, bytes=limits.result_bytes
        )

    def check(self, emit: Any) -> Iterator[Any]:
        """What to write into the journal; raises `PluginError` for what must not get there."""
        kind = type(emit)
        if kind is Child:
            yield self._child(emit)
            return
        self._emits += 1
        if self._emits > _MAX_EMITS:
            raise LimitReached(Reason.RESULT_TOO_LARGE, f"more than {_MAX_EMITS} emits", allowed=_MAX_EMITS)
        if kind is Finding:
            yield _finding(emit, may_lower=self._may_lower)
        elif kind is On:
            yield self._on(emit)
        elif kind is Dispatch:
            yield self._dispatch(emit)
        elif kind is Hint:
            yield _hint(emit)
        elif kind is Archive:
            yield Archive(keep=bool(emit.keep))
        else:
            yield from self._result(emit)

    def _result(self, emit: Any) -> Iterator[Any]:
        if not isinstance(emit, (Mapping, msgspec.Struct)):
            raise PluginError(
                "wrong_type", f"yielded a {_type_name(emit)}; a worker yields mappings, structs or emits"
            )
        values, used_bytes, used_nodes = plain(emit, self._values)
        self._values = ValueLimits(
            depth=self._values.depth,
            nodes=self._values.nodes - used_nodes,
            bytes=self._values.bytes - used_bytes,
        )
        repeated = self._keys & values.keys()
        if repeated:
            values = {key: value for key, value in values.items() if key not in repeated}
        self._keys |= values.keys()
        yield values
        for key in sorted(repeated):
            yield ErrorReport(
                plugin=self._plugin,
                code="duplicate_key",
                message=f"the result has {key[:80]!r} already; the first one stays",
            )

    def _child(self, child: Child) -> Child:
        self._budget.check()
        body = child.body if isinstance(child.body, Body) else _body(child.body)
        room, reason = self._budget.room()
        truncated = child.truncated
        if body.size > room:
            body, truncated = Body(bytes(body.view()[:room])), reason
        self._budget.spend(body.size)
        return Child(body=body, meta=_meta(child.meta), truncated=truncated)

    def _on(self, emit: On) -> On:
        if not self._decorates:
            raise PluginError("wrong_type", "only a decorator may speak of other payloads")
        if not isinstance(emit.payload_id, str) or not isinstance(emit.finding, Finding):
            raise PluginError("wrong_type", "On has a payload's id and a Finding")
        return On(emit.payload_id, _finding(emit.finding, may_lower=self._may_lower))

    def _dispatch(self, emit: Dispatch) -> Dispatch:
        if not self._may_dispatch:
            raise PluginError("wrong_type", "a broker worker dispatches nothing")
        if not isinstance(emit.plugin, str):
            raise PluginError("wrong_type", "Dispatch.plugin is a worker's name")
        return Dispatch(_short(emit.plugin), plain(emit.meta, self._values)[0])


def _body(content: Any) -> Body:
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise PluginError("wrong_type", f"a child's body is bytes, not {_type_name(content)}")
    return Body(bytes(content))


def _meta(meta: Any) -> PayloadMeta:
    if not isinstance(meta, PayloadMeta):
        raise PluginError("wrong_type", f"a child's meta is a PayloadMeta, not {_type_name(meta)}")
    names = [_short(one) for one in meta.dispatch_to if isinstance(one, str)]
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
    return Hint("password", emit.value[:_MAX_TEXT])


def _short(text: str) -> str:
    return plain_text(text[:_MAX_TEXT])


def _type_name(value: Any) -> str:
    return type(value).__name__
