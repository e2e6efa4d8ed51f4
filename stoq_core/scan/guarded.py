"""Step through a plugin under the watchdog: whatever it raises, returns or never ends becomes data."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Protocol

from stoq_core.errors import PluginError, Reason
from stoq_core.job import Job
from stoq_core.limits import WALL_FACTOR, Deadline, StepDeadline
from stoq_core.payload import OpaquePayload, Payload
from stoq_core.watchdog import WATCHDOG, Overtime

_NEARLY = 0.9  # a process counts more than its thread does


class Timer(Protocol):
    """Raises `Overtime` in the thread that armed it, once the time is up and again until disarmed."""

    def arm(self, cpu_s: float, wall_s: float | None = None) -> None:
        """Begin to watch: processor time, and the wall's (`WALL_FACTOR` times as much by default)."""

    def disarm(self) -> None:
        """Stop watching."""


class _Clock:
    """The process's timer: a thread's, unless the process has only one thread and says so."""

    timer: Timer = WATCHDOG


def keep_time_by(timer: Timer) -> None:
    """Use this timer from now on in this process (the sandbox's children have a cheaper one)."""
    _Clock.timer = timer


END = object()
"""What `Guarded.next` gives after the last emit."""


class Guarded:
    """Step through a plugin's iterator under the watchdog; everything it raises is a `PluginError`."""

    __slots__ = (
        "_allowed_s", "_call", "_cpu_s", "_deadline", "_iterator", "_job", "_payload", "alive", "ended",
        "runs_code", "spent_s",
    )  # fmt: skip

    def __init__(
        self, call: Any, payload: Payload | OpaquePayload, job: Job, allowed_s: float, deadline: Deadline
    ) -> None:
        """`call` is the plugin's `scan` or `dispatch`; it may take `allowed_s` of the processor in all.

        `deadline` is the request's. Time in which the plugin is paused, because what it has yielded
        is examined first, does not count against it.
        """
        self._deadline = deadline
        self._call, self._payload, self._job, self._allowed_s = call, payload, job, allowed_s
        self._iterator: Iterator[Any] | None = None
        self.spent_s = self._cpu_s = 0.0
        self.alive = True
        self.ended = False
        self.runs_code = True
        """False once all that the plugin has to say is here, and what `next` gives needs it no more."""

    def next(self) -> Any:
        """The next emit, or `END`."""
        if not self.runs_code:
            return next(self._iterator, END)  # type: ignore[arg-type]
        cpu_left_s, left_s = self._begin_step()
        if min(cpu_left_s, left_s) <= 0:
            raise self._overtime()
        began, cpu_began = time.perf_counter(), time.thread_time()
        try:
            _Clock.timer.arm(cpu_left_s, left_s)
            try:
                if self._iterator is None:
                    self._iterator = self._begin()
                emit = next(self._iterator, END)
            finally:
                _Clock.timer.disarm()
        except PluginError as error:
            self.alive = False
            raise _described(error)  # noqa: B904 - the cause is the plugin's own
        except Overtime:
            _Clock.timer.disarm()
            raise self._overtime(time.thread_time() - cpu_began) from None
        except MemoryError:
            self.alive = False
            raise PluginError("memory", "it ran out of memory", reason=Reason.MEMORY) from None
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything; the scan goes on
            self.alive = False
            what = f"{type(error).__name__}: {_text_of(error)}"
            raise PluginError("plugin_failed", what, reason=None) from None
        else:
            self.ended = self.ended or emit is END
            return emit
        finally:
            self.spent_s += time.perf_counter() - began
            self._cpu_s += time.thread_time() - cpu_began

    def _begin_step(self) -> tuple[float, float]:
        """How long the step may take, in seconds of the processor and of the wall; the job is told."""
        clock = self._deadline.clock
        now = clock()
        until = min(self._deadline.at, now + self._allowed_s * WALL_FACTOR - self.spent_s)
        cpu_left_s = self._allowed_s - self._cpu_s
        self._job.deadline = StepDeadline(until, time.thread_time() + cpu_left_s, clock)
        return cpu_left_s, until - now

    def _begin(self) -> Iterator[Any]:
        made = self._call(self._payload, self._job)
        if made is None or not hasattr(made, "__next__"):
            if isinstance(made, (list, tuple)):
                self.runs_code = False
                self.ended = True  # nothing is left to clean up
                return iter([*made])
            self.alive = False
            raise PluginError("wrong_type", f"returned a {type(made).__name__}; it must yield its emits")
        iterator: Iterator[Any] = made
        return iterator

    def _overtime(self, in_step_s: float = 0.0) -> PluginError:
        self.alive = False
        on_the_wall = self._cpu_s + in_step_s < self._allowed_s * _NEARLY
        if self._deadline.expired and on_the_wall:
            return PluginError("deadline", "the request's time ran out", reason=Reason.DEADLINE)
        allowed = int(self._allowed_s * 1000 * (WALL_FACTOR if on_the_wall else 1))
        return PluginError(
            "timeout", f"it was stopped after {allowed} ms", reason=Reason.TIMEOUT, allowed=allowed
        )

    def close(self) -> None:
        """Let the generator clean up; what it raises then is nobody's business."""
        if self.ended:
            return
        close = getattr(self._iterator, "close", None)
        if close is not None:
            try:
                _Clock.timer.arm(1.0)
                try:
                    close()
                finally:
                    _Clock.timer.disarm()
            except (Exception, Overtime):  # noqa: BLE001 - the result is complete by now
                _Clock.timer.disarm()


def _described(error: PluginError) -> PluginError:
    error.message = str(error.message)[:1000]
    return error


def _text_of(error: BaseException) -> str:
    try:
        return str(error)[:1000]
    except Exception:  # noqa: BLE001 - even __str__ may raise
        return "(its message cannot be shown)"
