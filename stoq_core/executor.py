"""Where examinations run: in this thread; `threads` and `sandbox.client` have the other executors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from .examine import Ahead, Entries, PluginSource, Task, examine
from .journal import Entry
from .payload import Payload


class Executor(Protocol):
    """Runs tasks; one that `works_ahead` begins some before the engine wants their entries."""

    works_ahead: bool

    @property
    def facts(self) -> dict[str, Any]:
        """What results say about it (`stats.sandbox`)."""

    def start(self, task: Task) -> Entries:
        """Begin; the entries come in order, and the work pauses while nobody takes them."""

    def start_ahead(self, payload: Payload, request: str, task: Callable[[], Task]) -> Ahead | None:
        """Begin a payload's task, whose entries are wanted later; None while there is no room for it.

        `task` makes it; it is not called where there is none.
        """

    def rest(self, request: str) -> None:
        """The scan of that name is over; what it used may be let go of."""

    def close(self) -> None:
        """Let go of threads and processes."""


class Inline:
    """Each task runs in the caller's thread, step by step as its entries are taken."""

    works_ahead = False

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

    def start_ahead(self, payload: Payload, request: str, task: Callable[[], Task]) -> None:
        """There is no room: nothing runs but what is waited for."""

    def rest(self, request: str) -> None:
        """Nothing to let go of."""

    def close(self) -> None:
        """Nothing to let go of."""
