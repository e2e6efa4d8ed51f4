"""One payload to completion: ask the dispatchers, run the rounds, and journal every step.

`examine` is a function of (task, journal): given what happened so far it goes on from there, so a
payload whose process was killed continues in a fresh one (ARCHITECTURE, *Scan semantics*).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from .emits import EmitChecker, ReportChecker, checked_report
from .errors import ErrorReport, PluginError, PluginLoadError, Reason, StoqError, Unread
from .guarded import END, Guarded
from .job import Job
from .journal import Dispatched, Emitted, Entry, Finished, Journal, Pause, Started
from .limits import Budget, Deadline, Limits, RequestLimits
from .payload import OpaquePayload, Payload
from .plugin import Dispatcher, Worker
from .tools import ToolRunner


class PluginSource(Protocol):
    """Where examine gets its plugins from (`registry.Plugins`)."""

    @property
    def always(self) -> tuple[str, ...]:
        """Workers for every payload."""

    @property
    def dispatchers(self) -> tuple[Dispatcher[Any], ...]:
        """In the configured order."""

    @property
    def tools(self) -> ToolRunner | None:
        """What runs programs for workers; None where none may run."""

    def worker(self, name: str) -> Worker[Any]:
        """A worker, loaded when first asked for; raises `PluginLoadError`."""


class Task(msgspec.Struct, kw_only=True):
    """One payload's examination: the payload, what it may spend, and what is known beforehand.

    `names` replaces `always` and the dispatchers that do not read the meta (an occurrence, semantics
    7); `prior` are results of workers that ran already and must not run again; `request` names the scan.
    """

    payload: Any
    limits: RequestLimits
    deadline: Any
    bytes_left: int
    children_left: int
    start: list[str] = []
    passwords: list[str] = []
    names: list[str] | None = None
    prior: dict[str, Any] = {}
    asked: dict[str, list[dict[str, Any]]] = {}
    runs: Literal["sandbox", "broker"] = "sandbox"
    request: str = ""
    scratch: Path | None = None


Entries = Iterator[Entry | Pause]
"""A task's entries in their order; an executor that works ahead may ask between them for more work."""


class Begun(Iterator[Entry | Pause], Protocol):
    """A task's entries, begun before they are wanted."""

    @property
    def ended(self) -> bool:
        """True if nothing has to be waited for any more."""

    def close(self) -> None:
        """Nobody wants the rest."""


Ahead = tuple[Task, Begun]
"""A task as it was when it began, and its entries."""


def examine(task: Task, plugins: PluginSource, journal: Iterable[Entry] = ()) -> Iterator[Entry]:
    """Go on from `journal` to the end, yielding each new entry as it happens."""
    return _Examination(task, plugins, journal).run()


class _Examination:
    def __init__(self, task: Task, plugins: PluginSource, journal: Iterable[Entry]) -> None:
        self.task = task
        self.plugins = plugins
        self.payload: Payload = task.payload
        self.handed = self.payload if task.runs == "sandbox" else OpaquePayload(self.payload)
        self.deadline: Deadline = task.deadline
        self.journal = Journal()
        self.budget = Budget(
            task.limits,
            input_bytes=self.payload.size,
            bytes_left=task.bytes_left,
            children_left=task.children_left,
        )
        for entry in journal:
            self.journal.apply(entry)
        for _, child in self.journal.children:
            self.budget.spend(child.body.size)
        self.seen: set[str] = set().union(*self.journal.rounds)
        self.reported = {(one.code, one.plugin) for one in self.journal.errors}

    def run(self) -> Iterator[Entry]:
        if not self.payload.meta.should_scan:
            return
        at = 0
        while not self.deadline.expired:
            if at >= len(self.journal.rounds):
                if self.task.runs == "sandbox":
                    yield from self._dispatchers(at)
                names = yield from self._choose(at)
                if not names:
                    return
                yield self._note(Dispatched(names))
            for name in self._in_order(self.journal.rounds[at]):
                if name not in self.journal.finished:
                    yield from self._worker(name)
            at += 1
        left = self._left()
        unasked = not self.journal.rounds or any(one.reads_results for one in self.plugins.dispatchers)
        if left or unasked:
            what = ", ".join(left) or "the dispatchers"
            yield self._unread("engine", Reason.DEADLINE, f"no time was left for {what}")

    # -- choosing ---------------------------------------------------------------------------------

    def _dispatchers(self, at: int) -> Iterator[Entry]:
        for dispatcher in self.plugins.dispatchers:
            key = f"dispatcher:{dispatcher.name}#{at}"
            due = dispatcher.reads_results if at else self.task.names is None or dispatcher.reads_meta
            if due and key not in self.journal.finished:
                yield from self._guarded(key, dispatcher, dispatcher.dispatch, dispatcher.limits)

    def _choose(self, at: int) -> Generator[Entry, None, list[str]]:
        """The next round's workers by name; errors for those that cannot run are journalled."""
        wanted = set(self.journal.asked) | set(self.task.asked)
        if at == 0:
            wanted.update(self.plugins.always if self.task.names is None else self.task.names)
            wanted.update(self.task.start)
            wanted.update(self.payload.meta.dispatch_to)
        elif self.seen.issuperset(wanted):
            return []
        chosen: set[str] = set()
        for name in sorted(wanted):
            yield from self._pull_in(name, (), chosen)
        return sorted(chosen)

    def _pull_in(self, name: str, chain: tuple[str, ...], chosen: set[str]) -> Iterator[Entry]:
        """Add a worker and what it requires, unless it ran, does not concern this payload, or cannot."""
        if name in self.seen or name in chosen or name in self.task.prior:
            return
        path = (*chain, name)
        if name in chain or len(path) > self.task.limits.requires_depth:
            yield from self._refuse(chain[0] if chain else name, "requires_cycle", path)
            return
        try:
            worker = self.plugins.worker(name)
        except (PluginLoadError, StoqError) as error:
            yield from self._missing(path, str(error))
            return
        if worker.runs != self.task.runs:
            yield from self._elsewhere(worker, path, chosen)
            return
        refused = yield from self._refused(name, worker)
        if refused:
            return
        before = set(chosen)
        for required in sorted(worker.requires):
            yield from self._pull_in(required, path, chosen)
        if name in self.seen:  # refused on the way
            chosen.intersection_update(before)
            return
        chosen.add(name)

    def _elsewhere(self, worker: Worker[Any], path: tuple[str, ...], chosen: set[str]) -> Iterator[Entry]:
        """A broker worker waits for the last round; what it requires of the sandbox runs now."""
        if len(path) > 1:
            why = "requires_broker" if worker.runs == "broker" else "requires_failed"
            yield from self._refuse(path[0], why, path)
        elif worker.runs == "broker":
            for required in sorted(worker.requires):
                yield from self._pull_in(required, (), chosen)

    def _refused(self, name: str, worker: Worker[Any]) -> Generator[Entry, None, bool]:
        if not worker.accepts.match(self.payload):
            self.seen.add(name)
            return True
        allowed = worker.limits.input_bytes
        if allowed is None or self.payload.size <= allowed:
            return False
        self.seen.add(name)
        message = f"{self.payload.size} bytes are more than this worker takes ({allowed})"
        yield self._error(name, "too_large", message, observed=self.payload.size, allowed=allowed)
        if worker.essential:
            yield self._unread(name, Reason.TOO_LARGE, message)
        return True

    def _refuse(self, name: str, code: str, path: tuple[str, ...]) -> Iterator[Entry]:
        self.seen.update(path)
        if (code, name) not in self.reported:
            self.reported.add((code, name))
            yield self._error(name, code, f"cannot run: {' requires '.join(path)}")
            yield self._unread(name, Reason.PLUGIN_FAILED, f"its requirements do not hold ({code})")

    def _missing(self, path: tuple[str, ...], why: str) -> Iterator[Entry]:
        name = path[0]
        self.seen.update(path)
        chain = f" (needed by {' requires '.join(path)})" if len(path) > 1 else ""
        yield self._error(name, "plugin_missing", why + chain)
        yield self._unread(name, Reason.PLUGIN_MISSING, why)

    def _in_order(self, names: list[str]) -> list[str]:
        """By name, but what a worker requires comes before it."""
        if not any(self.plugins.worker(name).requires for name in names):
            return names
        order: dict[str, None] = {}

        def visit(name: str) -> None:
            if name in order or name not in members:
                return
            for required in sorted(self.plugins.worker(name).requires):
                visit(required)
            order[name] = None

        members = set(names)
        for name in names:
            visit(name)
        return list(order)

    def _left(self) -> list[str]:
        """Workers that are due but have not run."""
        due = {name for names in self.journal.rounds for name in names}
        if self.journal.rounds:
            due |= set(self.journal.asked)
        else:
            due |= set(self.plugins.always if self.task.names is None else self.task.names)
        return sorted(due - self.journal.finished - self.seen) + sorted(
            (self.seen & due) - self.journal.finished
        )

    # -- running ----------------------------------------------------------------------------------

    def _worker(self, name: str) -> Iterator[Entry]:
        worker = self.plugins.worker(name)
        self.seen.add(name)
        broken = self.journal.failed.intersection(worker.requires) if self.journal.failed else ()
        if broken:
            first = min(broken)
            yield self._error(name, "requires_failed", f"{name} requires {first}, which failed")
            if worker.essential:
                yield self._unread(name, Reason.PLUGIN_FAILED, f"{first} failed, which it requires")
            yield self._note(Finished(name, failed=True))
            return
        if self.deadline.expired:
            yield self._unread(name, Reason.DEADLINE, "no time was left for it")
            yield self._note(Finished(name, failed=True))
            return
        yield from self._guarded(name, worker, worker.scan, worker.limits)

    def _guarded(self, key: str, plugin: Any, call: Any, own: Limits) -> Iterator[Entry]:
        """Run one plugin to its end, whatever it does; all it yields is checked and journalled."""
        if key in self.journal.started and key not in self.journal.finished:
            yield self._note(Finished(key, failed=True))  # its process died under it
            return
        yield self._note(Started(key))
        label, payload_id = key.partition("#")[0], self.payload.payload_id
        most_ms = self.task.limits.worker_wall_ms
        job = self._job(label, key, own)
        checker = EmitChecker(label, self.task.limits, self.budget, may_dispatch=self.task.runs == "sandbox")
        wall_s = min(own.wall_ms or most_ms, most_ms) / 1000
        emits = Guarded(call, self.handed, job, wall_s, self.deadline)
        reports = ReportChecker(payload_id)
        failure: PluginError | None = None
        while True:
            try:
                emit = emits.next()
                if emit is END:
                    break
                for checked in checker.check(emit):
                    if type(checked) is ErrorReport:
                        yield self._report(checked)
                    else:
                        yield self._note(Emitted(key, checked))
            except PluginError as error:
                if error.code == "wrong_type" and emits.alive:
                    yield from self._failed(label, plugin, error, reports)
                    continue
                failure = error
                break
            yield from self._reported(label, job, reports) if job.has_reports else ()
        yield from self._reported(label, job, reports)
        emits.close()
        if failure is not None:
            yield from self._failed(label, plugin, failure, ReportChecker(payload_id))
        yield self._note(Finished(key, emits.spent_s * 1000, failed=failure is not None))

    def _job(self, label: str, key: str, own: Limits) -> Job:
        return Job(
            label,
            budget=self.budget.bounded(own),
            deadline=self.deadline,
            results={**self.task.prior, **self.journal.results} if self.task.prior else self.journal.results,
            dispatch_meta=[*self.task.asked.get(key, ()), *self.journal.asked.get(key, ())],
            passwords=self.task.passwords,
            scratch=self.task.scratch,
            tools=self.plugins.tools,
        )

    def _reported(self, label: str, job: Job, reports: ReportChecker) -> Iterable[Entry]:
        checked = (reports.check(one) for one in job.drain())
        return [self._note(Emitted(label, one)) for one in checked if one is not None]

    def _failed(self, label: str, plugin: Any, error: PluginError, reports: ReportChecker) -> Iterator[Entry]:
        """An error that ended a plugin or was one emit's, and its reason where bytes stay unread."""
        found: list[ErrorReport | Unread] = [
            ErrorReport(
                plugin=label, code=error.code, message=error.message,
                retryable=error.retryable, observed=error.observed, allowed=error.allowed,
            )
        ]  # fmt: skip
        if error.reason is not None or plugin.essential:
            reason = error.reason or Reason.PLUGIN_FAILED
            found.append(Unread(reason=reason, plugin=label, message=error.message))
        for one in found:
            checked = reports.check(one)
            if checked is not None:
                yield self._note(Emitted(label, checked))

    # -- journalling ------------------------------------------------------------------------------

    def _note(self, entry: Entry) -> Entry:
        self.journal.apply(entry)
        return entry

    def _error(self, plugin: str, code: str, message: str, **facts: Any) -> Entry:
        return self._report(ErrorReport(plugin=plugin, code=code, message=message, **facts))

    def _unread(self, plugin: str, reason: Reason, message: str) -> Entry:
        return self._report(Unread(reason=reason, plugin=plugin, message=message))

    def _report(self, report: ErrorReport | Unread) -> Entry:
        return self._note(Emitted(report.plugin or "", checked_report(report, self.payload.payload_id)))
