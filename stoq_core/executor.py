"""Where examinations run: in this thread; `threads` and `sandbox.client` have the other executors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from .examine import PluginSource, Task, examine
from .journal import Entry


class Executor(Protocol):
    """Runs tasks; `ahead` is how many may be started before the engine wants their entries."""

    ahead: int

    @property
    def facts(self) -> dict[str, Any]:
        """What results say about it (`stats.sandbox`)."""

    def start(self, task: Task) -> Iterator[Entry]:
        """Begin; the entries come in order, and the work pauses while nobody takes them."""

    def start_ahead(self, task: Task) -> Iterator[Entry] | None:
        """The same for a task whose entries are wanted later; None while there is no room for it."""

    def rest(self, request: str) -> None:
        """The request of that scan id is over; what it used may be let go of."""

    def close(self) -> None:
        """Let go of threads and processes."""


class Inline:
    """Each task runs in the caller's thread, step by step as its entries are taken."""

    ahead = 0

    def __init__(self, plugins: PluginSource) -> None:
        """Run with these plugins."""
        self._plugins = plugins

    @property
    def facts(self) -> dict[str, Any]:
        """No protections."""
        return {"mode": "inline"}

    def start(self, task: Task) -> Iterator[Entry]:
        """Nothing runs before the first entry is taken."""
        return examine(task, self._plugins)

    def start_ahead(self, task: Task) -> None:
        """There is no room: nothing runs but what is waited for."""

    def rest(self, request: str) -> None:
        """Nothing to let go of."""

    def close(self) -> None:
        """Nothing to let go of."""
