"""Where examinations run: in this thread; `threads` and `sandbox.client` have the other executors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from stoq_core.payload import Payload

from .examine import Ahead, PluginSource, Task, examine
from .journal import Journal, Listener


class Executor(Protocol):
    """Runs tasks; one that `works_ahead` begins some before the engine wants what they find."""

    works_ahead: bool

    @property
    def facts(self) -> dict[str, Any]:
        """What results say about it (`stats.sandbox`)."""

    def run(self, task: Task, listener: Listener) -> Journal:
        """To its end. `listener` hears at least of each child and hint, in order, and work waits for it."""

    def start_ahead(self, payload: Payload, request: str, task: Callable[[], Task]) -> Ahead | None:
        """Begin a payload's task, which is wanted later; None while there is no room for it.

        `task` makes it; it is not called where there is none.
        """

    def rest(self, request: str) -> None:
        """The scan of that name is over; what it used may be let go of."""

    def close(self) -> None:
        """Let go of threads and processes."""


class Inline:
    """Each task runs in the caller's thread."""

    works_ahead = False

    def __init__(self, plugins: PluginSource) -> None:
        """Run with these plugins."""
        self._plugins = plugins

    @property
    def facts(self) -> dict[str, Any]:
        """No protections."""
        return {"mode": "inline"}

    def run(self, task: Task, listener: Listener) -> Journal:
        """Step by step; `listener` hears of each."""
        return examine(task, self._plugins, listener)

    def start_ahead(self, payload: Payload, request: str, task: Callable[[], Task]) -> None:
        """There is no room: nothing runs but what is waited for."""

    def rest(self, request: str) -> None:
        """Nothing to let go of."""

    def close(self) -> None:
        """Nothing to let go of."""
