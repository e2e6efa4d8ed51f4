"""One payload to completion: ask the dispatchers, run the rounds, and journal every step.

`examine` goes on from a journal: given what happened so far, a payload whose process was killed
continues in a fresh one (ARCHITECTURE, *Scan semantics*).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from stoq_core.account import Account
from stoq_core.errors import ErrorReport, PluginError, PluginLoadError, Reason, StoqError, Unread
from stoq_core.job import Job
from stoq_core.limits import Budget, Deadline, Limits, RequestLimits
from stoq_core.payload import OpaquePayload, Payload
from stoq_core.plugin import Dispatcher, Worker
from stoq_core.tools import ToolRunner

from .guarded import END, Guarded
from .journal import Journal, Listener
from .validation import EmitChecker, ReportChecker, checked_report


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


class Begun(Protocol):
    """An examination that was begun before it is wanted."""

    @property
    def ended(self) -> bool:
        """True if nothing has to be waited for any more."""

    def finish(self, listener: Listener) -> Journal:
        """To its end; `listener` hears at least of each child and hint, and of no more once it raises."""

    def close(self) -> None:
        """Nobody wants the rest."""


Ahead = tuple[Task, Begun]
"""A task as it was when it began, and its examination."""


def examine(task: Task, plugins: PluginSource, listener: Listener, journal: Journal | None = None) -> Journal:
    """Go on from `journal` to the end; `listener` hears of each new step as it happens."""
    one = _Examination(task, plugins, listener, journal or Journal())
    one.run()
    return one.journal


class _Examination:
    def __init__(self, task: Task, plugins: PluginSource, listener: Listener, journal: Journal) -> None:
        self.task = task
        self.plugins = plugins
        self.listener = listener
        self.journal = journal
        self.payload: Payload = task.payload
        self.handed = self.payload if task.runs == "sandbox" else OpaquePayload(self.payload)
        self.deadline: Deadline = task.deadline
        self.budget = Budget(
            task.limits,
            input_bytes=self.payload.size,
            bytes_left=task.bytes_left,
            children_left=task.children_left,
        )
        for size in journal.child_bytes:
            self.budget.spend(size)
        self.accounts: list[Account] = []
        self.seen: set[str] = set().union(*journal.rounds)
        self.reported = {(one.code, one.plugin) for one in journal.errors}

    def run(self) -> None:
        if not self.payload.meta.should_scan:
            return
        journal, at = self.journal, 0
        while not self.deadline.expired:
            if at >= len(journal.rounds):
                if self.task.runs == "sandbox":
                    self._dispatchers(at)
                names = self._choose(at)
                if not names:
                    return
                journal.round(names)
                self.listener.round(names)
            for name in self._in_order(journal.rounds[at]):
                if name not in journal.finished:
                    self._worker(name)
            at += 1
        left = self._left()
        unasked = not journal.rounds or any(one.reads_results for one in self.plugins.dispatchers)
        if left or unasked:
            what = ", ".join(left) or "the dispatchers"
            self._unread("engine", Reason.DEADLINE, f"no time was left for {what}")

    # -- choosing ---------------------------------------------------------------------------------

    def _dispatchers(self, at: int) -> None:
        for dispatcher in self.plugins.dispatchers:
            key = f"dispatcher:{dispatcher.name}#{at}"
            due = dispatcher.reads_results if at else self.task.names is None or dispatcher.reads_meta
            if due and key not in self.journal.finished:
                self._guarded(key, dispatcher, dispatcher.dispatch, dispatcher.limits)

    def _choose(self, at: int) -> list[str]:
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
            self._pull_in(name, (), chosen)
        return sorted(chosen)

    def _pull_in(self, name: str, chain: tuple[str, ...], chosen: set[str]) -> None:
        """Add a worker and what it requires, unless it ran, does not concern this payload, or cannot."""
        if name in self.seen or name in chosen or name in self.task.prior:
            return
        path = (*chain, name)
        if name in chain or len(path) > self.task.limits.requires_depth:
            self._refuse(chain[0] if chain else name, "requires_cycle", path)
            return
        try:
            worker = self.plugins.worker(name)
        except (PluginLoadError, StoqError) as error:
            self._missing(path, str(error))
            return
        if worker.runs != self.task.runs:
            self._elsewhere(worker, path, chosen)
            return
        if self._refused(name, worker):
            return
        if worker.requires:
            before = set(chosen)
            for required in sorted(worker.requires):
                self._pull_in(required, path, chosen)
            if name in self.seen:  # refused on the way
                chosen.intersection_update(before)
                return
        chosen.add(name)

    def _elsewhere(self, worker: Worker[Any], path: tuple[str, ...], chosen: set[str]) -> None:
        """A broker worker waits for the last round; what it requires of the sandbox runs now."""
        if len(path) > 1:
            why = "requires_broker" if worker.runs == "broker" else "requires_failed"
            self._refuse(path[0], why, path)
        elif worker.runs == "broker":
            for required in sorted(worker.requires):
                self._pull_in(required, (), chosen)

    def _refused(self, name: str, worker: Worker[Any]) -> bool:
        if not worker.accepts.match(self.payload):
            self.seen.add(name)
            return True
        allowed = worker.limits.input_bytes
        if allowed is None or self.payload.size <= allowed:
            return False
        self.seen.add(name)
        message = f"{self.payload.size} bytes are more than this worker takes ({allowed})"
        self._error(name, "too_large", message, observed=self.payload.size, allowed=allowed)
        if worker.essential:
            self._unread(name, Reason.TOO_LARGE, message)
        return True

    def _refuse(self, name: str, code: str, path: tuple[str, ...]) -> None:
        self.seen.update(path)
        if (code, name) not in self.reported:
            self.reported.add((code, name))
            self._error(name, code, f"cannot run: {' requires '.join(path)}")
            self._unread(name, Reason.PLUGIN_FAILED, f"its requirements do not hold ({code})")

    def _missing(self, path: tuple[str, ...], why: str) -> None:
        name = path[0]
        self.seen.update(path)
        chain = f" (needed by {' requires '.join(path)})" if len(path) > 1 else ""
        self._error(name, "plugin_missing", why + chain)
        self._unread(name, Reason.PLUGIN_MISSING, why)

    def _in_order(self, names: list[str]) -> list[str]:
        """By name, but what a worker requires comes before it, and `last` ones behind the others."""
        if any(self.plugins.worker(name).last for name in names):
            names = sorted(names, key=lambda name: self.plugins.worker(name).last)
        for name in names:
            if self.plugins.worker(name).requires:
                break
        else:
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

    def _worker(self, name: str) -> None:
        worker = self.plugins.worker(name)
        self.seen.add(name)
        broken = self.journal.failed.intersection(worker.requires) if self.journal.failed else ()
        if broken:
            first = min(broken)
            self._error(name, "requires_failed", f"{name} requires {first}, which failed")
            if worker.essential:
                self._unread(name, Reason.PLUGIN_FAILED, f"{first} failed, which it requires")
            self._end(name, 0.0, failed=True)
        elif self.deadline.expired:
            self._unread(name, Reason.DEADLINE, "no time was left for it")
            self._end(name, 0.0, failed=True)
        else:
            self._guarded(name, worker, worker.scan, worker.limits)

    def _guarded(self, key: str, plugin: Any, call: Any, own: Limits) -> None:
        """Run one plugin to its end, whatever it does; all it yields is checked and journalled."""
        if key in self.journal.started and key not in self.journal.finished:
            self._end(key, 0.0, failed=True)  # its process died under it
            return
        self.journal.start(key)
        self.listener.start(key)
        label = key.partition("#")[0]
        most_ms = self.task.limits.worker_wall_ms
        job = self._job(label, key, plugin, own)
        emits = Guarded(call, self.handed, job, min(own.wall_ms or most_ms, most_ms) / 1000, self.deadline)
        failure = self._emits(key, label, plugin, job, emits) or self._leftovers(label, job)
        emits.close()
        if job.has_account:
            self._emit(label, job.coverage())
        partial = job.partial if plugin.essential else None
        if partial is not None and failure is None:
            self._report(partial)
        if failure is not None:
            self._failed(label, plugin, failure, ReportChecker(self.payload.payload_id))
        elif job.has_account:
            self.accounts.append(job.account)
        self._end(key, emits.spent_s * 1000, failed=failure is not None)

    def _emits(self, key: str, label: str, plugin: Any, job: Job, emits: Guarded) -> PluginError | None:
        """All that it yields and reports, and what ended it before its end."""
        checker = EmitChecker(label, self.task.limits, self.budget, may_dispatch=self.task.runs == "sandbox")
        reports: ReportChecker | None = None
        found: Sequence[Any]
        while True:
            if emits.runs_code:
                self.listener.settle()
            try:
                emit = emits.next()
                found = () if emit is END else checker.check(emit)
            except PluginError as error:
                reports = reports or ReportChecker(self.payload.payload_id)
                if error.code != "wrong_type" or not emits.alive:
                    self._reported(label, job, reports)
                    return error
                self._failed(label, plugin, error, reports)
                continue
            for one in found:
                if type(one) is ErrorReport:
                    self._report(one)
                else:
                    self._emit(key, one)
            if job.has_reports:
                reports = reports or ReportChecker(self.payload.payload_id)
                self._reported(label, job, reports)
            if emit is END:
                return None

    def _leftovers(self, label: str, job: Job) -> PluginError | None:
        """What an opener left unclaimed in its account, as children; the limit that stopped it, if any."""
        if not job.has_account:
            return None
        checker = EmitChecker(label, self.task.limits, self.budget, may_dispatch=False)
        try:
            for child in job.unclaimed(self.payload.view()):
                for one in checker.check(child):
                    self._emit(label, one)
        except PluginError as error:
            return error
        return None

    def _job(self, label: str, key: str, plugin: Any, own: Limits) -> Job:
        task, asked = self.task, self.journal.asked.get(key, ())
        return Job(
            label,
            budget=self.budget.bounded(own),
            deadline=self.deadline,
            results={**task.prior, **self.journal.results} if task.prior else self.journal.results,
            dispatch_meta=[*task.asked[key], *asked] if key in task.asked else asked,
            passwords=task.passwords,
            scratch=task.scratch,
            tools=self.plugins.tools,
            declared=plugin.tools,
            size=self.payload.size,
            accounts=self.accounts,
        )

    def _reported(self, label: str, job: Job, reports: ReportChecker) -> None:
        for one in job.drain():
            checked = reports.check(one)
            if checked is not None:
                self._emit(label, checked)

    def _failed(self, label: str, plugin: Any, error: PluginError, reports: ReportChecker) -> None:
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
                self._emit(label, checked)

    # -- journalling ------------------------------------------------------------------------------

    def _emit(self, plugin: str, emit: Any) -> None:
        self.journal.emit(plugin, emit)
        self.listener.emit(plugin, emit)

    def _end(self, plugin: str, ms: float, *, failed: bool) -> None:
        self.journal.end(plugin, ms, failed=failed)
        self.listener.end(plugin, ms, failed=failed)

    def _error(self, plugin: str, code: str, message: str, **facts: Any) -> None:
        self._report(ErrorReport(plugin=plugin, code=code, message=message, **facts))

    def _unread(self, plugin: str, reason: Reason, message: str) -> None:
        self._report(Unread(reason=reason, plugin=plugin, message=message))

    def _report(self, report: ErrorReport | Unread) -> None:
        self._emit(report.plugin or "", checked_report(report, self.payload.payload_id))
