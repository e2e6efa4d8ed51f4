"""Journal entries as a child sends them, and as the broker believes them: only what is possible."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from stoq_core import errors
from stoq_core.account import Coverage
from stoq_core.body import Body
from stoq_core.errors import ErrorReport, PluginError, Reason, StoqError
from stoq_core.job import Archive, Child, Dispatch, Finding, Hint
from stoq_core.limits import Budget, MiB
from stoq_core.payload import PayloadMeta
from stoq_core.scan.journal import Journal
from stoq_core.scan.validation import EmitChecker

from . import messages as wire
from .holdings import VALUE_BYTES, Holdings, weight_of
from .wire import Flood, Malformed

_TEXT, _NAME = 4_096, 390
_MOST = 2**62
_MOST_REPORT_BYTES = 8 * MiB
_REPORT_BYTES = 400
_MOST_MS = 1e9
_MOST_HINTS, _MOST_HINT_CHARS = 500, 1_000  # a payload: each goes to all relatives
_CHILD_BYTES = 2_000  # its node in the tree, its report and its names
ENGINE = "engine"
_REPORTS = {wire.Failed, wire.Unread}


def to_wire(plugin: str, emit: Any) -> wire.Entry:
    """What a plugin said, for the socket; the bytes of a large child payload are sent before it."""
    plugin, kind = plugin[:_NAME], type(emit)
    if kind is dict:
        return wire.Result(plugin, emit)
    if kind is Child:
        return _child_to_wire(plugin, emit)
    if isinstance(emit, ErrorReport):
        observed, allowed = _bounded(emit.observed), _bounded(emit.allowed)
        return wire.Failed(plugin, emit.code[:_NAME], emit.message[:_TEXT], emit.retryable, observed, allowed)
    if isinstance(emit, errors.Unread):
        return wire.Unread(plugin, emit.reason, emit.message[:_TEXT])
    if isinstance(emit, Dispatch):
        return wire.DispatchRequested(plugin, emit.plugin[:_TEXT], emit.meta)
    if isinstance(emit, Finding):
        attack = [one[:_NAME] for one in emit.attack[:100]]
        return wire.Found(plugin, emit.name[:_TEXT], emit.score, emit.detail[:_TEXT], attack)
    if isinstance(emit, Hint):
        return wire.Hinted(plugin, emit.value[:_TEXT])
    if isinstance(emit, Coverage):
        return wire.Covered(plugin, *msgspec.structs.astuple(emit))
    assert isinstance(emit, Archive)
    return wire.Kept(plugin, emit.keep)


def _child_to_wire(plugin: str, child: Child) -> wire.ChildMade:
    body: Body = child.body
    meta = child.meta
    return wire.ChildMade(
        plugin,
        body.content() if body.size <= wire.INLINE_BYTES and not body.released else None,
        body.size,
        meta.should_scan,
        meta.should_archive,
        [one[:_NAME] for one in meta.dispatch_to[:1_000]],
        meta.extra_data,
        child.truncated,
    )


def _bounded(number: int | None) -> int | None:
    return None if number is None else max(-_MOST, min(_MOST, int(number)))


def resumed(entries: list[wire.Entry]) -> Journal:
    """The journal of what the broker sends back to a fresh child; of child payloads only sizes are left."""
    made = Journal()
    for one in entries:
        if isinstance(one, wire.RoundStarted):
            made.round(one.names)
        elif isinstance(one, wire.PluginStarted):
            made.start(one.plugin)
        elif isinstance(one, wire.Finished):
            made.end(one.plugin, one.ms, failed=one.failed)
        elif isinstance(one, wire.ChildMade):
            made.child_bytes.append(one.size)
        else:
            made.emit(one.plugin, _emit(one, ""))
    return made


def _emit(entry: Any, payload_id: str) -> Any:
    if isinstance(entry, wire.Result):
        return entry.values
    if isinstance(entry, wire.DispatchRequested):
        return Dispatch(entry.worker, entry.meta)
    if isinstance(entry, wire.Found):
        return Finding(entry.name, entry.score, entry.detail, tuple(entry.attack))
    if isinstance(entry, wire.Hinted):
        return Hint("password", entry.value)
    if isinstance(entry, wire.Covered):
        return Coverage(
            structure=entry.structure, child=entry.child, padding=entry.padding,
            media=entry.media, plain=entry.plain, unread=entry.unread,
        )  # fmt: skip
    if isinstance(entry, wire.Kept):
        return Archive(keep=entry.keep)
    if isinstance(entry, wire.Unread):
        return errors.Unread(
            reason=entry.reason, payload_id=payload_id, plugin=entry.plugin, message=entry.message
        )
    return ErrorReport(
        plugin=entry.plugin,
        code=entry.code,
        message=entry.message,
        payload_id=payload_id,
        retryable=entry.retryable,
        observed=entry.observed,
        allowed=entry.allowed,
    )


def _weight(before: tuple[int, int], after: tuple[int, int], emit: Any) -> int:
    """About how many bytes of memory an emit takes: of its text, of its values, and of a child's meta."""
    size = after[0] - before[0] + VALUE_BYTES * (after[1] - before[1])
    if type(emit) is Child:
        meta = emit.meta
        size += _CHILD_BYTES + weight_of(meta.extra_data) + sum(map(len, meta.dispatch_to), 0)
    return size


class Received:
    """What has come of one payload so far. Every entry is checked as if it came from the file itself."""

    __slots__ = (
        "_checkers", "_covering", "_cut", "_dispatchers", "_due", "_hints", "_holdings", "_known",
        "_report_bytes", "_task", "budget", "current", "emits", "journal", "sent", "steps",
    )  # fmt: skip

    def __init__(
        self,
        task: Any,
        known: Callable[[str], Any],
        dispatchers: frozenset[str],
        holdings: Holdings | None = None,
    ) -> None:
        """`known` raises `StoqError` for a worker that is not there; `dispatchers` are the configured.

        `holdings` count what is kept of the request that the task belongs to.
        """
        self.sent: list[wire.Entry] = []
        self.journal = Journal()
        self.emits: deque[tuple[str, Any]] = deque()
        """Children and hints that nobody has taken yet, and who said them."""
        self.current: str | None = None
        self.steps = 0
        """How often a plugin has begun or ended."""
        self._task = task
        self._known = known
        self._dispatchers = dispatchers
        self._due: set[str] = set()
        self._report_bytes = self._hints = 0
        self._checkers: dict[str, EmitChecker] = {}
        self._covering: set[str] = set()
        self._holdings = holdings or Holdings(task.limits.request_result_bytes)
        self._cut = False
        self.budget = Budget(
            task.limits,
            input_bytes=task.payload.size,
            bytes_left=task.bytes_left,
            children_left=task.children_left,
        )

    @property
    def payload_id(self) -> str:
        """The payload that all this is about."""
        return str(self._task.payload.payload_id)

    def take(self, entry: wire.Entry, body: Body | None) -> None:
        """Believe it, or raise `Malformed` for what no honest child says."""
        kind = type(entry)
        if kind is wire.PluginStarted:
            self._starts(entry.plugin)  # type: ignore[union-attr]
        elif kind is wire.Finished:
            self._ends(entry)
        elif kind is wire.RoundStarted:
            self._begins(entry.names)  # type: ignore[union-attr]
        elif kind in _REPORTS:
            self._report(entry)
        else:
            entry = self._emitted(entry, body)
            if isinstance(entry, wire.ChildMade) and entry.content:  # its bytes stay here
                entry = wire.ChildMade(entry.plugin, None, len(entry.content), True, True, [], {}, None)  # noqa: FBT003
        self.sent.append(entry)

    def _begins(self, names: list[str]) -> None:
        if not names or not self._due.isdisjoint(names):
            raise Malformed("a round that is empty or runs a worker again")
        for name in names:
            try:
                self._known(name)
            except StoqError:
                raise Malformed(f"no worker is named {name!r}") from None
        self._due.update(names)
        self.journal.round(names)

    def _starts(self, key: str) -> None:
        if key not in self._due and not self._is_dispatcher(key):
            raise Malformed(f"{key!r} is not due")
        if key in self.journal.started or self.current is not None:
            raise Malformed(f"{key!r} begins out of turn")
        self.current = key
        self.steps += 1
        self.journal.start(key)

    def _ends(self, entry: Any) -> None:
        key = entry.plugin
        if key in self.journal.finished or self.current not in (key, None):
            raise Malformed(f"{key!r} ends out of turn")
        if self.current is None and key not in self._due and not self._is_dispatcher(key):
            raise Malformed(f"{key!r} is not due")  # what was due ends without a start where no time was left
        if not entry.failed and key not in self.journal.started:
            raise Malformed(f"{key!r} ends well without having begun")
        self.current = None
        self.steps += 1
        self.journal.end(key, min(max(0.0, entry.ms), _MOST_MS), failed=entry.failed)

    def _is_dispatcher(self, key: str) -> bool:
        name, _, at = key.removeprefix("dispatcher:").partition("#")
        return name in self._dispatchers and at.isdigit() and int(at) <= len(self.journal.rounds)

    def _report(self, entry: Any) -> None:
        size = len(entry.message) + len(entry.plugin) + _REPORT_BYTES
        self._report_bytes += size
        if self._report_bytes > _MOST_REPORT_BYTES:
            raise Malformed(f"more than {_MOST_REPORT_BYTES} bytes of errors")
        self._hold(size)
        self.journal.emit(entry.plugin, _emit(entry, self.payload_id))

    def _hold(self, size: int) -> bool:
        """Count what is kept; true while further results may be. Raises `Flood` when nothing may."""
        held = self._holdings.take(self._task.request, size)
        if held > self._holdings.most_bytes:
            raise Flood
        return held <= self._holdings.results_bytes

    def _emitted(self, entry: Any, body: Body | None) -> Any:
        """Keep what is well made; the entry as another child would be told of it."""
        plugin = entry.plugin
        if plugin != self.current:
            raise Malformed(f"{plugin!r} speaks out of turn")
        if type(entry) is wire.Covered:
            self._covered(entry)
            return entry
        checker = self._checkers.get(plugin)
        if checker is None:
            label = plugin.partition("#")[0]
            checker = EmitChecker(label, self._task.limits, self.budget, may_dispatch=True)
            self._checkers[plugin] = checker
        kind = type(entry)
        if kind is wire.Result:
            emit = entry.values
        else:
            emit = self._child(entry, body) if kind is wire.ChildMade else _emit(entry, "")
        before = checker.spent
        try:
            found = checker.check(emit)
        except PluginError as error:
            raise Malformed(error.message) from None
        if not self._hold(_weight(before, checker.spent, found[0])) and kind is wire.Result:
            self._cut_short(plugin)
            return wire.Result(plugin, {})
        for one in found:
            if type(one) is ErrorReport and one.code == Reason.RESULT_TOO_LARGE:
                raise Malformed(one.message)  # it is left out where it is made
            self.journal.emit(plugin, one)
            if type(one) is Child or (type(one) is Hint and self._may_hint(one.value)):
                self.emits.append((plugin, one))
        return wire.Result(plugin, found[0]) if kind is wire.Result else entry

    def _cut_short(self, plugin: str) -> None:
        """Say once that this payload's results are not kept."""
        if not self._cut:
            self._cut = True
            most = self._holdings.results_bytes
            message = f"the request's results take more than {most} bytes; further ones are not kept"
            reason = Reason.RESULT_TOO_LARGE
            found = errors.Unread(reason=reason, payload_id=self.payload_id, plugin=plugin, message=message)
            self.journal.emit(plugin, found)

    def _may_hint(self, value: str) -> bool:
        """A hint of a password's length, and not without end; others are passed over."""
        self._hints += 1
        return self._hints <= _MOST_HINTS and len(value) <= _MOST_HINT_CHARS

    def _covered(self, entry: wire.Covered) -> None:
        coverage = _emit(entry, "")
        if coverage.total != self._task.payload.size or entry.plugin in self._covering:
            raise Malformed("an account of other bytes than the payload has")
        self._covering.add(entry.plugin)
        self.journal.emit(entry.plugin, coverage)

    def _child(self, entry: wire.ChildMade, body: Body | None) -> Child:
        if entry.content is not None:
            body = Body(entry.content)
        if body is None or body.size != entry.size:
            raise Malformed("a child payload without its bytes")
        meta = PayloadMeta(
            should_archive=entry.should_archive,
            should_scan=entry.should_scan,
            extra_data=entry.extra_data,
            dispatch_to=entry.dispatch_to,
        )
        return Child(body=body, meta=meta, truncated=entry.truncated)

    def end(self) -> None:
        """The child says that this was all; raises `Malformed` where something has begun and not ended."""
        if self.current is not None or not self.journal.finished.issuperset(self._due):
            left = self.current or min(self._due - self.journal.finished)
            raise Malformed(f"done, it says, before {left!r} has ended")

    def blame(self, code: str, reason: Reason, message: str, *, essential: bool) -> None:
        """The error and the reason for the plugin that ran, or for the engine where none did."""
        label = (self.current or ENGINE).partition("#")[0]
        self.current = None
        facts: list[Any] = [ErrorReport(plugin=label, code=code, message=message, payload_id=self.payload_id)]
        if essential:
            found = errors.Unread(reason=reason, payload_id=self.payload_id, plugin=label, message=message)
            facts.append(found)
        for one in facts:
            self.journal.emit(label, one)
            self.sent.append(to_wire(label, one))
