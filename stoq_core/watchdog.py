"""Stop Python code that overstays, from outside: an exception is raised inside the thread it runs in.

This is what a process can do for itself (inline mode). A loop in C that never returns to the
interpreter is stopped only by the sandbox, which kills the child.
"""

from __future__ import annotations

import ctypes
import threading
import time

_POLL_S = 0.02
_IDLE_S = 1.0
_LONG_ENOUGH = 100_000  # it comes at the first jump; the bound is for other interpreters


class Overtime(BaseException):
    """Raised inside plugin code whose time is up; no `except Exception` swallows it."""


class Watchdog:
    """One background thread that watches any number of working threads."""

    def __init__(self) -> None:
        """Nothing is started until there is something to watch."""
        self._lock = threading.Lock()
        self._due: dict[int, float] = {}
        self._raised: set[int] = set()
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()

    def arm(self, wall_s: float) -> None:
        """From now on, `Overtime` is raised in this thread once `wall_s` has passed, again and again."""
        with self._lock:
            self._due[threading.get_ident()] = time.monotonic() + wall_s
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="stoq-watchdog", daemon=True)
                self._thread.start()
        if not self._wake.is_set():
            self._wake.set()

    def disarm(self) -> None:
        """Stop watching this thread; an exception that is on its way already is taken back."""
        ident = threading.get_ident()
        with self._lock:
            self._due.pop(ident, None)
            if ident not in self._raised:
                return
            self._raised.discard(ident)
        _take_back(ident)

    def _watch(self) -> None:
        while True:
            with self._lock:
                now = time.monotonic()
                for ident, due in self._due.items():
                    if now >= due:
                        self._raised.add(ident)
                        _raise_in(ident)
                if not self._due:
                    self._wake.clear()
                    idle = True
                else:
                    idle = False
            if idle and not self._wake.wait(_IDLE_S):
                with self._lock:
                    if not self._due:
                        self._thread = None
                        return
            else:
                time.sleep(_POLL_S)


def _raise_in(ident: int) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(Overtime))


def _take_back(ident: int) -> None:
    """Raise once more and catch it here: so nothing is on its way, and the interpreter knows it.

    To clear it with NULL leaves CPython (3.11, 3.12) asking at each bytecode whether there is one.
    """
    try:
        _raise_in(ident)
        for _ in range(_LONG_ENOUGH):
            pass
    except Overtime:
        return


WATCHDOG = Watchdog()
"""The process's own; a thread exists only while something is watched."""
