"""The executor whose examinations run in threads that work ahead of the engine."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

from .examine import PluginSource, Task, examine
from .job import Child
from .journal import Emitted, Entry

_AHEAD_ENTRIES = 64


class Threads:
    """Each task runs in a thread of its own; the engine limits how many there are."""

    def __init__(self, plugins: PluginSource, threads: int) -> None:
        """`threads` tasks at once, the one that the engine waits for included."""
        self._plugins = plugins
        self.ahead = max(0, threads - 1)

    @property
    def facts(self) -> dict[str, Any]:
        """No protections."""
        return {"mode": "inline"}

    def start(self, task: Task) -> Iterator[Entry]:
        """Runs at once, up to a few entries ahead."""
        return _ThreadRun(lambda: examine(task, self._plugins))

    def start_ahead(self, task: Task) -> Iterator[Entry]:
        """The same."""
        return self.start(task)

    def rest(self, request: str) -> None:
        """Threads end with their tasks."""

    def close(self) -> None:
        """Threads end with their tasks."""


class _ThreadRun(Iterator[Entry]):
    """One task in its thread; a full queue pauses it, `close` ends it."""

    def __init__(self, begin: Callable[[], Iterator[Entry]]) -> None:
        self._entries: queue.Queue[Entry | BaseException | None] = queue.Queue(_AHEAD_ENTRIES)
        self._closed = False
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
        if entry is None:
            raise StopIteration
        if isinstance(entry, BaseException):
            raise entry
        return entry

    def close(self) -> None:
        """Stop after the step that runs now."""
        self._closed = True
        while self._thread.is_alive():
            try:
                self._entries.get(timeout=0.01)
            except queue.Empty:
                continue
