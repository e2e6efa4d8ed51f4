"""Journal entries as a child sends them, and as the broker believes them: only what is possible."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from stoq_core import errors, journal
from stoq_core.body import Body
from stoq_core.emits import EmitChecker
from stoq_core.errors import ErrorReport, PluginError, Reason, StoqError
from stoq_core.job import Archive, Child, Dispatch, Finding, Hint
from stoq_core.journal import Dispatched, Emitted, Entry
from stoq_core.limits import Budget
from stoq_core.payload import PayloadMeta

from . import messages as wire
from .wire import Malformed

_TEXT, _NAME = 4_096, 390
_MOST = 2**62
_MOST_REPORTS = 20_000
ENGINE = "engine"
_STEPS = {wire.Began, wire.Started, wire.Finished}
_REPORTS = {wire.Failed, wire.Unread}


def to_wire(entry: Entry) -> wire.Entry:
    """An entry for the socket; the bytes of a large child payload are sent before it."""
    if isinstance(entry, Emitted):
        return _emit_to_wire(entry.plugin[:_NAME], entry.emit)
    if isinstance(entry, Dispatched):
        return wire.Began(entry.names)
    if isinstance(entry, journal.Started):
        return wire.Started(entry.plugin)
    return wire.Finished(entry.plugin, float(entry.ms), entry.failed)


def _emit_to_wire(plugin: str, emit: Any) -> wire.Entry:
    if isinstance(emit, dict):
        return wire.Result(plugin, emit)
    if isinstance(emit, Child):
        return _child_to_wire(plugin, emit)
    if isinstance(emit, ErrorReport):
        observed, allowed = _bounded(emit.observed), _bounded(emit.allowed)
        return wire.Failed(plugin, emit.code[:_NAME], emit.message[:_TEXT], emit.retryable, observed, allowed)
    if isinstance(emit, errors.Unread):
        return wire.Unread(plugin, emit.reason, emit.message[:_TEXT])
    if isinstance(emit, Dispatch):
        return wire.Asked(plugin, emit.plugin[:_TEXT], emit.meta)
    if isinstance(emit, Finding):
        attack = [one[:_NAME] for one in emit.attack[:100]]
        return wire.Found(plugin, emit.name[:_TEXT], emit.score, emit.detail[:_TEXT], attack)
    if isinstance(emit, Hint):
        return wire.Hinted(plugin, emit.value[:_TEXT])
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


def resumed(entries: list[wire.Entry]) -> Iterator[Entry]:
    """Entries that the broker sends back to a fresh child; of child payloads only sizes are left."""
    for one in entries:
        if isinstance(one, wire.ChildMade):
            gone = Body(b"")
            gone.size = one.size
            yield Emitted(one.plugin, Child(body=gone))
        else:
            yield _to_journal(one, "")


def _to_journal(entry: wire.Entry, payload_id: str) -> Entry:
    """Anything but a child payload, unchecked."""
    if isinstance(entry, wire.Began):
        return Dispatched(entry.names)
    if isinstance(entry, wire.Started):
        return journal.Started(entry.plugin)
    if isinstance(entry, wire.Finished):
        return journal.Finished(entry.plugin, entry.ms, entry.failed)
    return Emitted(entry.plugin, _emit(entry, payload_id))


def _emit(entry: Any, payload_id: str) -> Any:
    if isinstance(entry, wire.Result):
        return entry.values
    if isinstance(entry, wire.Asked):
        return Dispatch(entry.worker, entry.meta)
    if isinstance(entry, wire.Found):
        return Finding(entry.name, entry.score, entry.detail, tuple(entry.attack))
    if isinstance(entry, wire.Hinted):
        return Hint("password", entry.value)
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


class Received:
    """What has come of one payload so far. Every entry is checked as if it came from the file itself."""

    def __init__(self, task: Any, known: Callable[[str], Any], dispatchers: set[str]) -> None:
        """`known` raises `StoqError` for a worker that is not there; `dispatchers` are the configured."""
        self.sent: list[wire.Entry] = []
        self.current: str | None = None
        self._task = task
        self._known = known
        self._dispatchers = dispatchers
        self._begun: set[str] = set()
        self._rounds = 0
        self._started: set[str] = set()
        self._finished: set[str] = set()
        self.steps = 0
        """How often a plugin has begun or ended."""
        self._reports = 0
        self._checkers: dict[str, EmitChecker] = {}
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

    def take(self, entry: wire.Entry, body: Body | None) -> list[Entry]:
        """The entries to believe; raises `Malformed` for what no honest child says."""
        kind = type(entry)
        if kind in _STEPS:
            made = self._step(entry)
        elif kind in _REPORTS:
            made = self._report(entry)
        else:
            made = self._checked(entry, body)
        if isinstance(entry, wire.ChildMade) and entry.content:  # its bytes stay here
            entry = wire.ChildMade(entry.plugin, None, len(entry.content), True, True, [], {}, None)  # noqa: FBT003
        self.sent.append(entry)
        return made

    def _step(self, entry: Any) -> list[Entry]:
        if isinstance(entry, wire.Began):
            if not entry.names or self._begun.intersection(entry.names):
                raise Malformed("a round that is empty or runs a worker again")
            for name in entry.names:
                self._check_known(name)
            self._begun.update(entry.names)
            self._rounds += 1
            return [Dispatched(entry.names)]
        self.steps += 1
        key = entry.plugin
        if key not in self._begun and not self._is_dispatcher(key):
            raise Malformed(f"{key!r} is not due")
        if isinstance(entry, wire.Started):
            if key in self._started or self.current is not None:
                raise Malformed(f"{key!r} begins out of turn")
            self._started.add(key)
            self.current = key
            return [journal.Started(key)]
        if key in self._finished or self.current not in (key, None):
            raise Malformed(f"{key!r} ends out of turn")
        self._finished.add(key)
        self.current = None
        return [journal.Finished(key, max(0.0, entry.ms), entry.failed)]

    def _check_known(self, name: str) -> None:
        try:
            self._known(name)
        except StoqError:
            raise Malformed(f"no worker is named {name!r}") from None

    def _is_dispatcher(self, key: str) -> bool:
        name, _, at = key.removeprefix("dispatcher:").partition("#")
        return name in self._dispatchers and at.isdigit() and int(at) <= self._rounds

    def _report(self, entry: Any) -> list[Entry]:
        self._reports += 1
        if self._reports > _MOST_REPORTS:
            raise Malformed(f"more than {_MOST_REPORTS} errors")
        return [Emitted(entry.plugin, _emit(entry, self.payload_id))]

    def _checked(self, entry: Any, body: Body | None) -> list[Entry]:
        if entry.plugin != self.current:
            raise Malformed(f"{entry.plugin!r} speaks out of turn")
        checker = self._checkers.get(entry.plugin)
        if checker is None:
            label = entry.plugin.partition("#")[0]
            checker = EmitChecker(label, self._task.limits, self.budget, may_dispatch=True)
            self._checkers[entry.plugin] = checker
        emit = self._child(entry, body) if isinstance(entry, wire.ChildMade) else _emit(entry, "")
        try:
            return [Emitted(entry.plugin, checked) for checked in checker.check(emit)]
        except PluginError as error:
            raise Malformed(error.message) from None

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
        left = self._begun - self._finished
        if self.current is not None or left:
            raise Malformed(f"done, it says, before {self.current or min(left)!r} has ended")

    def blame(self, code: str, reason: Reason, message: str, *, essential: bool) -> list[Entry]:
        """The error and the reason for the plugin that ran, or for the engine where none did."""
        label = (self.current or ENGINE).partition("#")[0]
        self.current = None
        facts: list[Any] = [ErrorReport(plugin=label, code=code, message=message, payload_id=self.payload_id)]
        if essential:
            found = errors.Unread(reason=reason, payload_id=self.payload_id, plugin=label, message=message)
            facts.append(found)
        made: list[Entry] = [Emitted(label, one) for one in facts]
        self.sent += [to_wire(one) for one in made]
        return made
