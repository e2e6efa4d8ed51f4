"""The journal: what has happened to one payload so far, in order; replaying it rebuilds the state."""

from __future__ import annotations

from typing import Any

import msgspec

from .errors import ErrorReport, Reason, Unread
from .job import Archive, Child, Dispatch, Finding, Hint


class Dispatched(msgspec.Struct, frozen=True, tag=True):
    """A round begins: the workers chosen, by name."""

    names: list[str]


class Started(msgspec.Struct, frozen=True, tag=True):
    """A plugin begins; dispatchers are named `dispatcher:NAME#ROUND`."""

    plugin: str


class Emitted(msgspec.Struct, frozen=True, tag=True):
    """A plugin yielded or reported something; results are plain values by now."""

    plugin: str
    emit: Any


class Finished(msgspec.Struct, frozen=True, tag=True):
    """A plugin came to its end; `failed` when it raised, was stopped or was killed."""

    plugin: str
    ms: float = 0.0
    failed: bool = False


Entry = Dispatched | Started | Emitted | Finished


class Pause:
    """In place of an entry: others have come to their end meanwhile, so more can be begun."""


PAUSE = Pause()


class Journal:
    """Everything that one payload's examination has brought so far."""

    __slots__ = (
        "archive", "asked", "children", "errors", "failed", "findings",
        "finished", "hints", "ms", "results", "rounds", "started", "unread",
    )  # fmt: skip

    def __init__(self) -> None:
        """Nothing has happened."""
        self.rounds: list[list[str]] = []
        self.results: dict[str, dict[str, Any]] = {}
        self.asked: dict[str, list[dict[str, Any]]] = {}
        self.started: list[str] = []
        self.finished: set[str] = set()
        self.failed: set[str] = set()
        self.children: list[tuple[str, Child]] = []
        self.findings: list[tuple[str, Finding]] = []
        self.hints: list[Hint] = []
        self.errors: list[ErrorReport] = []
        self.unread: list[Unread] = []
        self.archive: bool | None = None
        self.ms: dict[str, float] = {}

    def apply(self, entry: Entry) -> None:
        """Take one entry in."""
        kind = type(entry)
        if kind is Emitted:
            self._emitted(entry.plugin, entry.emit)  # type: ignore[union-attr]
        elif kind is Started:
            self.started.append(entry.plugin)  # type: ignore[union-attr]
        elif kind is Finished:
            self.finished.add(entry.plugin)  # type: ignore[union-attr]
            name = entry.plugin.partition("#")[0]  # type: ignore[union-attr]
            self.ms[name] = self.ms.get(name, 0.0) + entry.ms  # type: ignore[union-attr]
            if entry.failed:  # type: ignore[union-attr]
                self.failed.add(entry.plugin)  # type: ignore[union-attr]
        else:
            self.rounds.append(entry.names)  # type: ignore[union-attr]

    def _emitted(self, plugin: str, emit: Any) -> None:
        kind = type(emit)
        if kind is dict:
            self.results.setdefault(plugin, {}).update(emit)
        elif kind is Child:
            self.children.append((plugin, emit))
        elif kind is Dispatch:
            self.asked.setdefault(emit.plugin, []).append(emit.meta)
        elif kind is Finding:
            self.findings.append((plugin.partition("#")[0], emit))
        elif kind is Hint:
            self.hints.append(emit)
        elif kind is Unread:
            self.unread.append(emit)
        elif kind is ErrorReport:
            self.errors.append(emit)
        elif kind is Archive:
            self.archive = emit.keep

    def reasons(self) -> set[Reason]:
        """All reasons why bytes of this payload stay unread."""
        return {one.reason for one in self.unread}

    def results_by_round(self) -> list[dict[str, Any]]:
        """One mapping a round from worker to result; workers without a result are left out."""
        return [{name: self.results[name] for name in names if name in self.results} for names in self.rounds]
