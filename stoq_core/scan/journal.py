"""The journal: what has happened to one payload so far; and who else hears of it, step by step."""

from __future__ import annotations

from typing import Any

from stoq_core.account import Coverage
from stoq_core.errors import ErrorReport, Reason, Unread
from stoq_core.job import Archive, Child, Dispatch, Finding, Hint


class Listener:
    """Hears of an examination's steps in their order, as they happen. Here nothing comes of it."""

    __slots__ = ()

    def round(self, names: list[str]) -> None:
        """A round begins: the workers chosen, by name."""

    def start(self, plugin: str) -> None:
        """A plugin begins; dispatchers are named `dispatcher:NAME#ROUND`."""

    def emit(self, plugin: str, emit: Any) -> None:
        """A plugin yielded or reported something; results are plain values by now."""

    def end(self, plugin: str, ms: float, *, failed: bool) -> None:
        """A plugin came to its end; `failed` when it raised, was stopped or was killed."""

    def settle(self) -> None:
        """A plugin's code runs next, which may end the process: nothing may be held back."""

    def pause(self) -> None:
        """Others have come to their end meanwhile, so more can be begun."""


class Journal(Listener):
    """Everything that one payload's examination has brought so far."""

    __slots__ = (
        "archive",
        "asked",
        "child_bytes",
        "coverage",
        "cut_child",
        "errors",
        "failed",
        "findings",
        "finished",
        "ms",
        "openers",
        "results",
        "rounds",
        "started",
        "unread",
    )  # fmt: skip

    def __init__(self) -> None:
        """Nothing has happened."""
        self.rounds: list[list[str]] = []
        self.results: dict[str, dict[str, Any]] = {}
        self.asked: dict[str, list[dict[str, Any]]] = {}
        self.started: set[str] = set()
        self.finished: set[str] = set()
        self.failed: set[str] = set()
        self.child_bytes: list[int] = []
        self.cut_child = False
        self.coverage: list[Coverage] = []
        self.openers: set[str] = set()
        """Those that gave children or an account."""
        self.findings: list[tuple[str, Finding]] = []
        self.errors: list[ErrorReport] = []
        self.unread: list[Unread] = []
        self.archive: bool | None = None
        self.ms: dict[str, float] = {}

    def round(self, names: list[str]) -> None:
        """See `Listener`."""
        self.rounds.append(names)

    def start(self, plugin: str) -> None:
        """See `Listener`."""
        self.started.add(plugin)

    def end(self, plugin: str, ms: float, *, failed: bool) -> None:
        """See `Listener`."""
        self.finished.add(plugin)
        name = plugin.partition("#")[0]
        self.ms[name] = self.ms.get(name, 0.0) + ms
        if failed:
            self.failed.add(plugin)

    def emit(self, plugin: str, emit: Any) -> None:
        """See `Listener`."""
        kind = type(emit)
        if kind is dict:
            self.results.setdefault(plugin, {}).update(emit)
        elif kind is Child:
            self.child_bytes.append(emit.body.size)
            self.cut_child = self.cut_child or emit.truncated is not None
            self.openers.add(plugin)
        elif kind is Dispatch:
            self.asked.setdefault(emit.plugin, []).append(emit.meta)
        elif kind is Finding:
            found = (plugin.partition("#")[0], emit)
            if "#" not in plugin or found not in self.findings:  # a dispatcher is asked once a round
                self.findings.append(found)
        elif kind is Unread:
            self.unread.append(emit)
        elif kind is ErrorReport:
            self.errors.append(emit)
        elif kind is Coverage:
            self.coverage.append(emit)
            self.openers.add(plugin)
        elif kind is Archive:
            self.archive = emit.keep
        else:
            assert kind is Hint  # for the payload's relatives, not for itself

    def add(self, later: Journal) -> None:
        """Take in what happened in a later part of the same examination."""
        self.rounds += later.rounds
        self.started |= later.started
        self.finished |= later.finished
        self.failed |= later.failed
        self.child_bytes += later.child_bytes
        self.cut_child |= later.cut_child
        self.coverage += later.coverage
        self.openers |= later.openers
        self.findings += later.findings
        self.errors += later.errors
        self.unread += later.unread
        for name, values in later.results.items():
            self.results.setdefault(name, {}).update(values)
        for name, metas in later.asked.items():
            self.asked.setdefault(name, []).extend(metas)
        for name, ms in later.ms.items():
            self.ms[name] = self.ms.get(name, 0.0) + ms
        self.archive = self.archive if later.archive is None else later.archive

    def reasons(self) -> set[Reason]:
        """All reasons why bytes of this payload stay unread."""
        return {one.reason for one in self.unread}

    def results_by_round(self) -> list[dict[str, Any]]:
        """One mapping a round from worker to result; workers without a result are left out."""
        return [{name: self.results[name] for name in names if name in self.results} for names in self.rounds]
