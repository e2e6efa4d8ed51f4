"""Stop Python code that overstays, from outside: an exception is raised inside the thread it runs in.

This is what a process can do for itself (inline mode). A loop in C that never returns to the
interpreter is stopped only by the sandbox, which kills the child.
"""

from __future__ import annotations

import ctypes
import threading
import time
from typing import NamedTuple

from .limits import WALL_FACTOR

_POLL_S = 0.02
_IDLE_S = 1.0
_LONG_ENOUGH = 100_000  # it comes at the first jump; the bound is for other interpreters


class Overtime(BaseException):
    """Raised inside plugin code whose time is up; no `except Exception` swallows it."""


class _Due(NamedTuple):
    """Until when a thread may work: by the wall's clock, and by its own processor time."""

    wall_at: float
    cpu_at: float
    cpu_clock: int | None

    def is_over(self, now: float) -> bool:
        """True once either is over; a thread that is gone has all the time there is."""
        if now >= self.wall_at:
            return True
        if self.cpu_clock is None:
            return False
        try:
            return time.clock_gettime(self.cpu_clock) >= self.cpu_at
        except OSError:
            return False


def _cpu_clock(ident: int) -> int | None:
    """The clock of a thread's processor time; None where the system (macOS) has none for others to read."""
    found = getattr(time, "pthread_getcpuclockid", None)
    return None if found is None else int(found(ident))


class Watchdog:
    """One background thread that watches any number of working threads.

    A thread's entry in `_due` belongs to whoever pops it: the thread itself when it is done in time
    (the usual case, without a lock), or the watcher, which then holds the lock while it raises.
    """

    def __init__(self) -> None:
        """Nothing is started until there is something to watch."""
        self._lock = threading.Lock()
        self._due: dict[int, _Due] = {}
        self._late: set[int] = set()
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()

    def arm(self, cpu_s: float, wall_s: float | None = None) -> None:
        """From now on, `Overtime` is raised in this thread once it has used `cpu_s`, again and again.

        Or once `wall_s` has passed: `limits.WALL_FACTOR` times as long by default.
        """
        ident = threading.get_ident()
        wall_s = cpu_s * WALL_FACTOR if wall_s is None else wall_s
        self._due[ident] = _Due(time.monotonic() + wall_s, time.thread_time() + cpu_s, _cpu_clock(ident))
        if self._thread is None:
            self._start()
        if not self._wake.is_set():
            self._wake.set()

    def disarm(self) -> None:
        """Stop watching this thread; an exception that is on its way already is taken back.

        May be called again, and must be after an `Overtime`, which can come within this very call.
        """
        while True:
            try:
                return self._disarm()
            except Overtime:
                continue

    def _disarm(self) -> None:
        ident = threading.get_ident()
        if self._due.pop(ident, None) is not None:
            return
        with self._lock:
            self._due.pop(ident, None)  # the watcher had it in its hands, and gave it back
            late = ident in self._late
            self._late.discard(ident)
        if late:
            _take_back(ident)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._watch, name="stoq-watchdog", daemon=True)
                thread.start()
                self._thread = thread  # not before: where no thread can be had, the next step asks again

    def _watch(self) -> None:
        while True:
            self._look(time.monotonic())
            if self._due or self._late:
                time.sleep(_POLL_S)
                continue
            self._wake.clear()
            if self._due or self._wake.wait(_IDLE_S):  # asked again: it may have come before the clear
                continue
            with self._lock:
                self._thread = None  # before the last look: who arms later starts another
                if not self._due:
                    return
                self._thread = threading.current_thread()

    def _look(self, now: float) -> None:
        """Raise in every thread whose time is up."""
        overdue = [ident for ident, due in list(self._due.items()) if due.is_over(now)]
        if not overdue and not self._late:
            return
        with self._lock:
            for ident in overdue:
                due = self._due.pop(ident, None)
                if due is not None and due.is_over(now):
                    self._late.add(ident)
                elif due is not None:
                    self._due[ident] = due  # it was done in time, and has begun something else
            for ident in self._late:
                _raise_in(ident)


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
