"""Kit for plugin authors: make a plugin, run it on bytes, and look at what it yields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from .account import Account
from .body import Body
from .errors import ErrorReport, PluginError, Unread
from .job import Child, Dispatch, Finding, Hint, Job
from .limits import Budget, Deadline, Limits, RequestLimits
from .options import build
from .payload import Payload, PayloadMeta
from .plugin import Dispatcher, Plugin, Worker
from .tools import LocalTools
from .values import ValueLimits, plain

_P = TypeVar("_P", bound=Plugin[Any])


class FakeClock:
    """A clock that moves only when told; seconds."""

    def __init__(self, now: float = 1000.0) -> None:
        """Start at `now`."""
        self.now = now

    def __call__(self) -> float:
        """The time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


def make(plugin: type[_P], **options: Any) -> _P:
    """An instance under its module's name, with options checked as the config's would be."""
    name = plugin.__module__.rsplit(".", 1)[-1]
    return plugin(build(plugin.options_type, options, f"{plugin.kind}.{name}"), name)


def payload(content: bytes | Body, name: str | None = None, **extra: Any) -> Payload:
    """A root payload."""
    data = {"filename": name, **extra} if name is not None else extra
    return Payload(content, PayloadMeta(extra_data=data), payload_id="00000000-0000-5000-8000-000000000000")


def job(
    plugin: Plugin[Any] | None = None,
    *,
    input_bytes: int = 0,
    limits: RequestLimits | None = None,
    results: Mapping[str, Any] | None = None,
    dispatch_meta: Iterable[dict[str, Any]] = (),
    passwords: Iterable[str] = (),
    deadline: Deadline | None = None,
    accounts: Sequence[Account] = (),
) -> Job:
    """A job with the default limits, or those given."""
    ceilings = limits or RequestLimits()
    own: Limits = getattr(plugin, "limits", Limits())
    budget = Budget(
        ceilings,
        input_bytes=input_bytes,
        bytes_left=ceilings.extracted_bytes,
        children_left=ceilings.payloads,
    ).bounded(own)
    return Job(
        plugin.name if plugin else "test",
        budget=budget,
        deadline=deadline or Deadline.after_ms(own.wall_ms or ceilings.worker_wall_ms),
        results=results,
        dispatch_meta=dispatch_meta,
        passwords=passwords,
        tools=LocalTools(),
        declared=plugin.tools if plugin else None,
        size=input_bytes,
        accounts=accounts,
    )


class Ran:
    """What a worker or dispatcher yielded on one payload, sorted by kind.

    `result` is the merged result (None without one) as plain JSON-like values, `error` the exception
    that ended it early (a `PluginError`, or None).
    """

    def __init__(self) -> None:
        """Empty."""
        self.result: dict[str, Any] | None = None
        self.children: list[Child] = []
        self.dispatches: list[Dispatch] = []
        self.findings: list[Finding] = []
        self.hints: list[Hint] = []
        self.others: list[Any] = []
        self.errors: list[ErrorReport] = []
        self.unread: list[Unread] = []
        self.error: PluginError | None = None

    @property
    def reasons(self) -> set[str]:
        """All reason codes: reported, carried by the error, or marked on children."""
        found = {one.reason.value for one in self.unread}
        found |= {child.truncated.value for child in self.children if child.truncated}
        if self.error is not None and self.error.reason is not None:
            found.add(self.error.reason.value)
        return found

    @property
    def contents(self) -> dict[str, bytes]:
        """Children's bytes by file name."""
        return {str(c.meta.extra_data.get("filename")): c.body.content() for c in self.children}

    def add(self, emit: Any) -> None:
        """Sort one emit."""
        for kind, into in (
            (Child, self.children),
            (Dispatch, self.dispatches),
            (Finding, self.findings),
            (Hint, self.hints),
        ):
            if isinstance(emit, kind):
                into.append(emit)  # type: ignore[arg-type]
                return
        if type(emit).__name__ == "Archive":
            self.others.append(emit)
            return
        self.result = {**plain(emit, ValueLimits())[0], **(self.result or {})}


def run(plugin: Plugin[Any], on: Payload | bytes, **job_arguments: Any) -> Ran:
    """Run a worker or dispatcher on a payload; a `PluginError` is kept, anything else is raised."""
    target = payload(on) if isinstance(on, bytes) else on
    work = job(plugin, input_bytes=target.size, **job_arguments)
    ran = Ran()
    try:
        if isinstance(plugin, Worker):
            emits = plugin.scan(target, work) if plugin.accepts.match(target) else iter(())
        elif isinstance(plugin, Dispatcher):
            emits = plugin.dispatch(target, work)
        else:
            msg = f"run() is for workers and dispatchers, not for a {plugin.kind}"
            raise TypeError(msg)
        for emit in emits:
            ran.add(emit)
        for child in work.unclaimed(target.view()):
            ran.add(child)
    except PluginError as error:
        ran.error = error
    for report in work.drain():
        (ran.errors if isinstance(report, ErrorReport) else ran.unread).append(report)  # type: ignore[arg-type]
    return ran
