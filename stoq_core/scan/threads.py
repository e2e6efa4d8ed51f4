"""The executor whose examinations run in threads that work ahead of the engine."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from stoq_core.job import Child, Hint
from stoq_core.payload import Payload

from .examine import Ahead, PluginSource, Task, examine
from .journal import Journal, Listener

_AHEAD_EMITS = 64


class Threads:
    """Each task runs in a thread of its own; the engine limits how many there are."""

    def __init__(self, plugins: PluginSource, threads: int) -> None:
        """`threads` tasks of a request at once, the one that the engine waits for included."""
        self._plugins = plugins
        self._ahead = threads - 1
        self._begun: dict[str, list[_ThreadRun]] = {}
        self.works_ahead = threads > 1

    @property
    def facts(self) -> dict[str, Any]:
        """No protections."""
        return {"mode": "inline"}

    def run(self, task: Task, listener: Listener) -> Journal:
        """Up to a few emits ahead of the listener."""
        return _ThreadRun(task, self._plugins).finish(listener)

    def start_ahead(
        self,
        payload: Payload,  # noqa: ARG002 - a thread has room for any
        request: str,
        task: Callable[[], Task],
    ) -> Ahead | None:
        """The same, unless all threads are at work or wait for the engine."""
        unread = [one for one in self._begun.get(request, ()) if not one.over]
        if len(unread) >= self._ahead:
            return None
        begun = task()
        run = _ThreadRun(begun, self._plugins)
        self._begun[request] = [*unread, run]
        return begun, run

    def rest(self, request: str) -> None:
        """Threads end with their tasks."""
        self._begun.pop(request, None)

    def close(self) -> None:
        """Threads end with their tasks."""


class _Stop(BaseException):
    """Nobody wants the rest."""


class _Ahead(Listener):
    """Keeps what the engine will want to hear; a full queue pauses the thread."""

    def __init__(self) -> None:
        self.emits: queue.Queue[tuple[str, Any] | Journal | BaseException] = queue.Queue(_AHEAD_EMITS)
        self.closed = False

    def emit(self, plugin: str, emit: Any) -> None:
        if type(emit) is Child:
            _ = emit.body.sha256  # worked out here, side by side
        if type(emit) in (Child, Hint):
            self.emits.put((plugin, emit))
        self.settle()

    def settle(self) -> None:
        if self.closed:
            raise _Stop


class _ThreadRun:
    """One task in its thread."""

    def __init__(self, task: Task, plugins: PluginSource) -> None:
        self._ahead = _Ahead()
        self.over = False
        """The engine has heard its end, or wants no more of it."""
        self._thread = threading.Thread(target=self._work, args=(task, plugins), daemon=True)
        self._thread.start()

    def _work(self, task: Task, plugins: PluginSource) -> None:
        try:
            self._ahead.emits.put(examine(task, plugins, self._ahead))
        except BaseException as error:  # noqa: BLE001 - handed to the engine's thread
            self._ahead.emits.put(error)

    def finish(self, listener: Listener) -> Journal:
        """Tell all of it, as it comes."""
        while isinstance(found := self._ahead.emits.get(), tuple):
            listener.emit(*found)
        self.over = True
        if isinstance(found, BaseException):
            raise found
        return found

    @property
    def ended(self) -> bool:
        """True once the thread has come to its end."""
        return not self._thread.is_alive()

    def close(self) -> None:
        """Stop after the step that runs now."""
        self._ahead.closed = self.over = True
        while self._thread.is_alive():
            try:
                self._ahead.emits.get(timeout=0.01)
            except queue.Empty:
                continue
