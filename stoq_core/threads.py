"""The executor whose examinations run in threads that work ahead of the engine."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

from .examine import Ahead, PluginSource, Task, examine
from .job import Child
from .journal import Emitted, Entry
from .payload import Payload

_AHEAD_ENTRIES = 64


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

    def start(self, task: Task) -> Iterator[Entry]:
        """Runs at once, up to a few entries ahead."""
        return _ThreadRun(lambda: examine(task, self._plugins))

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
        run = _ThreadRun(lambda: examine(begun, self._plugins))
        self._begun[request] = [*unread, run]
        return begun, run

    def rest(self, request: str) -> None:
        """Threads end with their tasks."""
        self._begun.pop(request, None)

    def close(self) -> None:
        """Threads end with their tasks."""


class _ThreadRun(Iterator[Entry]):
    """One task in its thread; a full queue pauses it, `close` ends it."""

    def __init__(self, begin: Callable[[], Iterator[Entry]]) -> None:
        self._entries: queue.Queue[Entry | BaseException | None] = queue.Queue(_AHEAD_ENTRIES)
        self._closed = False
        self.over = False
        """The engine has heard its end, or wants no more of it."""
        self._thread = threading.Thread(target=self._work, args=(begin,), daemon=True)
        self._thread.start()

    def _work(self, begin: Callable[[], Iterator[Entry]]) -> None:
        try:
            for entry in begin():
                if isinstance(entry, Emitted) and isinstance(entry.emit, Child):
                    _ = entry.emit.body.sha256  # worked out here, side by side
                self._entries.put(entry)
                if self._closed:
                    return
            self._entries.put(None)
        except BaseException as error:  # noqa: BLE001 - handed to the engine's thread
            self._entries.put(error)

    def __next__(self) -> Entry:
        entry = self._entries.get()
        self.over = entry is None or isinstance(entry, BaseException)
        if entry is None:
            raise StopIteration
        if isinstance(entry, BaseException):
            raise entry
        return entry

    @property
    def ended(self) -> bool:
        """True once the thread has come to its end."""
        return not self._thread.is_alive()

    def close(self) -> None:
        """Stop after the step that runs now."""
        self._closed = self.over = True
        while self._thread.is_alive():
            try:
                self._entries.get(timeout=0.01)
            except queue.Empty:
                continue
