"""The children that the broker has: which are idle, which are at work, and who waits for which."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from stoq_core.config import SandboxSection
from stoq_core.errors import StoqError

from . import messages as wire
from .control import Birth, Zygote, ZygoteGone
from .protect import PROTECTIONS
from .wire import Closed, Malformed, Overdue

_HELLO = wire.Said(wire.Hello)
_HELLO_S = 30.0
_LAST_WORDS_S = 1.0
_MOST_FAILED_STARTS = 20
_SURELY_ALIVE_S = 0.005  # one that spoke just now; should it be dead, its payload goes to another
QUEUE = 8
"""Payloads that a child has at the most: the one that it examines, and those that it comes to at once."""


class Waiting(Protocol):
    """A run in a process's queue."""

    def hear_early(self) -> bool:
        """Take in what the child has said of it, without waiting; true if that was all."""

    def lose_process(self) -> None:
        """The child is gone or no longer this run's; it begins in another one when it is read."""


class SandboxProcess:
    """One child, what it has done so far, and the runs that it has, the one that it examines first."""

    __slots__ = ("birth", "out_of_step", "owner", "payloads", "queue", "seen_at", "shook_hands", "zygote")

    def __init__(self, zygote: Zygote, birth: Birth) -> None:
        """A child that has been asked for."""
        self.zygote = zygote
        self.birth = birth
        self.shook_hands = False
        self.owner: str | None = None
        self.queue: deque[Waiting] = deque()
        self.payloads = 0
        self.seen_at = 0.0
        self.out_of_step = False
        """One left the queue whose payload the child has got: what it says of it would be another's."""


class ProcessPool:
    """All children of one broker; every method may be called from any thread."""

    def __init__(self, settings: SandboxSection, most: int, born: Callable[[], SandboxProcess]) -> None:
        """`most` are at work in turn, more only where one waits for another; `born` makes one."""
        self.lock = threading.RLock()
        self.missing: dict[str, str] = {}
        self._settings = settings
        self._most = most
        self._born = born
        self._idle: list[SandboxProcess] = []
        self._busy: dict[SandboxProcess, None] = {}

    # -- to work ----------------------------------------------------------------------------------

    def take(self, owner: str) -> SandboxProcess:
        """A child that begins at once for request `owner`; a new one where none is idle."""
        process = self._with_handshake(owner)
        process.owner = owner
        with self.lock:
            self._busy[process] = None
        return process

    def join(self, owner: str, *, in_queue: bool) -> SandboxProcess | None:
        """A child for a payload that is wanted later: one that is idle or has room `in_queue`; or None."""
        with self.lock:
            full = len(self._busy) >= self._most
            if full and in_queue:
                return self._least_busy(owner)
        return None if full else self.take(owner)

    def _least_busy(self, owner: str) -> SandboxProcess | None:
        """The one with the shortest queue that has room for one more."""
        found, shortest, recycled = None, QUEUE, self._settings.recycle_payloads
        for process in self._busy:
            waiting = len(process.queue)
            may = process.owner == owner and not process.out_of_step and process.payloads + waiting < recycled
            if may and waiting < shortest:
                found, shortest = process, waiting
        return found

    def _with_handshake(self, owner: str | None) -> SandboxProcess:
        """A child that has said what protects it."""
        for _ in range(_MOST_FAILED_STARTS):
            process = self._take_idle(owner)
            if process.shook_hands or self._handshake(process):
                return process
        raise ZygoteGone("children end before they begin; `stoq doctor` may say why")

    def _take_idle(self, owner: str | None) -> SandboxProcess:
        shared = self._settings.share_children
        with self.lock:
            for process in list(self._idle):
                if shared or process.owner in (None, owner):
                    self._idle.remove(process)
                    fresh = time.monotonic() - process.seen_at < _SURELY_ALIVE_S
                    if fresh or not process.birth.channel.hung_up:
                        return process
                    self.retire(process)  # it was killed while it had nothing to do
            return self._born()

    def _handshake(self, process: SandboxProcess) -> bool:
        """Hear a new child's first word; false if there is none. Raises for a protection that must be."""
        try:
            frame = process.birth.channel.receive(_HELLO_S)
            hello = _HELLO.decode(frame.data)
        except (Closed, Overdue, Malformed):
            self.end(process)
            return False
        process.shook_hands = True
        self.missing = hello.missing
        lacking = [one for one in self._settings.require or () if one in hello.missing]
        lacking = [one for one in lacking if one not in self._settings.accept_missing]
        if lacking:
            self.retire(process)
            why = "; ".join(f"{one} ({PROTECTIONS[one]}): {hello.missing[one]}" for one in lacking)
            raise StoqError(
                f"this machine cannot protect what it must: {why}. Name it in sandbox.accept_missing to scan"
                " all the same, or see `stoq doctor`"
            )
        return True

    def fill(self) -> None:
        """Have children ready for the next request."""
        with self.lock:
            while len(self._idle) < self._most:
                self._idle.append(self._born())

    def handshake_one(self) -> None:
        """Have one ready that has said what protects it."""
        process = self._with_handshake(None)
        with self.lock:
            self._idle.insert(0, process)

    # -- from work --------------------------------------------------------------------------------

    def give_back(self, process: SandboxProcess, done: wire.Done, zygote: Zygote) -> None:
        """A child has done its first payload: it may go on, unless it has had enough. `zygote` is today's."""
        process.queue.popleft()
        process.payloads += 1
        process.seen_at = time.monotonic()
        grown = done.resident_bytes > self._settings.recycle_bytes
        many = process.payloads >= self._settings.recycle_payloads
        with self.lock:
            if grown or many or process.out_of_step or process.zygote is not zygote:
                self._leave(process)
                self.retire(process)
            elif not process.queue:
                self._busy.pop(process, None)
                self._idle.insert(0, process)

    def leave(self, process: SandboxProcess, run: Waiting) -> None:
        """A run will not wait for its turn; the child, which has its payload, ends with the one before."""
        with self.lock, suppress(ValueError):
            process.queue.remove(run)
            process.out_of_step = True

    def _leave(self, process: SandboxProcess) -> None:
        """No longer at work; whoever waits for it goes to another one."""
        with self.lock:
            self._busy.pop(process, None)
            waiting, process.queue = process.queue, deque()
        for run in waiting:
            run.lose_process()

    def retire(self, process: SandboxProcess) -> None:
        """A child has had enough."""
        process.zygote.dismiss(process.birth)

    def retire_idle(self) -> None:
        """All that have nothing to do."""
        with self.lock:
            idle, self._idle = self._idle, []
        for process in idle:
            self.retire(process)

    def kill_and_reap(self, process: SandboxProcess, *, hung_up: bool = False) -> wire.Exited | None:
        """Kill a child; how it ended, or None if nobody can say or it was alive when it `hung_up`.

        What it had sent can be read until it is closed.
        """
        self._leave(process)
        try:
            if hung_up:
                with suppress(Overdue):
                    return process.zygote.end_of(process.birth, _LAST_WORDS_S)
                process.zygote.kill(process.birth)
                return None
            return process.zygote.kill(process.birth)
        except (StoqError, Overdue):
            return None

    def end(self, process: SandboxProcess) -> None:
        """Kill a child, whatever it has to say."""
        self.kill_and_reap(process)
        process.birth.channel.close()

    def rest(self, owner: str) -> None:
        """A request is over: no child that saw its bytes sees another's, unless the config says so.

        As many as work in turn are ready for the next request, and no more.
        """
        with self.lock:
            left = [process for process in self._busy if process.owner == owner]
        for process in left:  # it worked ahead, and time ran out
            self.end(process)
        share = self._settings.share_children
        with self.lock:
            kept = [process for process in self._idle if share or process.owner != owner][: self._most]
            spare = [process for process in self._idle if process not in kept]
            self._idle = kept
        for process in spare:
            self.retire(process)
        with suppress(StoqError):  # whoever needs a child says it
            self.fill()

    @property
    def alone(self) -> bool:
        """True if no more than one child is at work."""
        return len(self._busy) < 2

    def several(self, owner: str) -> list[SandboxProcess]:
        """The children that examine payloads of one request, if there are several."""
        if self.alone:
            return []
        with self.lock:
            found = [process for process in self._busy if process.owner == owner and process.queue]
        return found if len(found) > 1 else []

    def beside(self, process: SandboxProcess) -> list[SandboxProcess]:
        """The others that examine payloads of the same request."""
        return [one for one in self.several(process.owner or "") if one is not process]

    def at_work(self) -> set[Zygote]:
        """The zygotes whose children are at work."""
        with self.lock:
            return {process.zygote for process in self._busy}

    def abandon(self) -> None:
        """In a process that was forked from the one that has them: let go of this one's copies."""
        for process in (*self._idle, *self._busy):
            process.birth.channel.close()

    def close(self) -> None:
        """End all."""
        with self.lock:
            for process in (*self._idle, *self._busy):
                self.retire(process)
            self._idle.clear()
            self._busy.clear()
