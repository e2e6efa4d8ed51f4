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
_MOST_STILLBORN = 20
_SURELY_ALIVE_S = 0.005  # one that spoke just now; should it be dead, its payload goes to another
LINE = 8
"""Payloads that a child has at the most: the one that it examines, and those that it comes to at once."""


class Waiting(Protocol):
    """A run in a child's line."""

    def hear_early(self) -> bool:
        """Take in what the child has said of it, without waiting; true if that was all."""

    def unseat(self) -> None:
        """The child is gone or no longer this run's; it begins in another one when it is read."""


class Seat:
    """One child, what it has done so far, and the runs that it has, the one that it examines first."""

    __slots__ = ("birth", "greeted", "line", "owner", "payloads", "seen_at", "spoiled", "zygote")

    def __init__(self, zygote: Zygote, birth: Birth) -> None:
        """A child that has been asked for."""
        self.zygote = zygote
        self.birth = birth
        self.greeted = False
        self.owner: str | None = None
        self.line: deque[Waiting] = deque()
        self.payloads = 0
        self.seen_at = 0.0
        self.spoiled = False
        """One left the line whose payload the child has got: what it says of it would be another's."""


class Seats:
    """All children of one broker; every method may be called from any thread."""

    def __init__(self, settings: SandboxSection, most: int, born: Callable[[], Seat]) -> None:
        """`most` are at work in turn, more only where one waits for another; `born` makes one."""
        self.lock = threading.RLock()
        self.missing: dict[str, str] = {}
        self._settings = settings
        self._most = most
        self._born = born
        self._idle: list[Seat] = []
        self._busy: dict[Seat, None] = {}

    # -- to work ----------------------------------------------------------------------------------

    def take(self, owner: str) -> Seat:
        """A child that begins at once for request `owner`; a new one where none is idle."""
        seat = self._greeted(owner)
        seat.owner = owner
        with self.lock:
            self._busy[seat] = None
        return seat

    def join(self, owner: str, *, in_line: bool) -> Seat | None:
        """A child for a payload that is wanted later: one that is idle or has room `in_line`; or None."""
        with self.lock:
            full = len(self._busy) >= self._most
            if full and in_line:
                return self._least_busy(owner)
        return None if full else self.take(owner)

    def _least_busy(self, owner: str) -> Seat | None:
        """The one with the shortest line that has room for one more."""
        found, shortest, recycled = None, LINE, self._settings.recycle_payloads
        for seat in self._busy:
            waiting = len(seat.line)
            may = seat.owner == owner and not seat.spoiled and seat.payloads + waiting < recycled
            if may and waiting < shortest:
                found, shortest = seat, waiting
        return found

    def _greeted(self, owner: str | None) -> Seat:
        """A child that has said what protects it."""
        for _ in range(_MOST_STILLBORN):
            seat = self._take_idle(owner)
            if seat.greeted or self._greet(seat):
                return seat
        raise ZygoteGone("children end before they begin; `stoq doctor` may say why")

    def _take_idle(self, owner: str | None) -> Seat:
        shared = self._settings.share_children
        with self.lock:
            for seat in list(self._idle):
                if shared or seat.owner in (None, owner):
                    self._idle.remove(seat)
                    fresh = time.monotonic() - seat.seen_at < _SURELY_ALIVE_S
                    if fresh or not seat.birth.channel.hung_up:
                        return seat
                    self.retire(seat)  # it was killed while it had nothing to do
            return self._born()

    def _greet(self, seat: Seat) -> bool:
        """Hear a new child's first word; false if there is none. Raises for a protection that must be."""
        try:
            frame = seat.birth.channel.receive(_HELLO_S)
            hello = _HELLO.decode(frame.data)
        except (Closed, Overdue, Malformed):
            self.end(seat)
            return False
        seat.greeted = True
        self.missing = hello.missing
        lacking = [one for one in self._settings.require or () if one in hello.missing]
        lacking = [one for one in lacking if one not in self._settings.accept_missing]
        if lacking:
            self.retire(seat)
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

    def greet_one(self) -> None:
        """Have one ready that has said what protects it."""
        seat = self._greeted(None)
        with self.lock:
            self._idle.insert(0, seat)

    # -- from work --------------------------------------------------------------------------------

    def give_back(self, seat: Seat, done: wire.Done, zygote: Zygote) -> None:
        """A child has done its first payload: it may go on, unless it has had enough. `zygote` is today's."""
        seat.line.popleft()
        seat.payloads += 1
        seat.seen_at = time.monotonic()
        grown = done.resident_bytes > self._settings.recycle_bytes
        many = seat.payloads >= self._settings.recycle_payloads
        with self.lock:
            if grown or many or seat.spoiled or seat.zygote is not zygote:
                self._leave(seat)
                self.retire(seat)
            elif not seat.line:
                self._busy.pop(seat, None)
                self._idle.insert(0, seat)

    def leave(self, seat: Seat, run: Waiting) -> None:
        """A run will not wait for its turn; the child, which has its payload, ends with the one before."""
        with self.lock, suppress(ValueError):
            seat.line.remove(run)
            seat.spoiled = True

    def _leave(self, seat: Seat) -> None:
        """No longer at work; whoever waits for it goes to another one."""
        with self.lock:
            self._busy.pop(seat, None)
            line, seat.line = seat.line, deque()
        for run in line:
            run.unseat()

    def retire(self, seat: Seat) -> None:
        """A child has had enough."""
        seat.zygote.dismiss(seat.birth)

    def retire_idle(self) -> None:
        """All that have nothing to do."""
        with self.lock:
            idle, self._idle = self._idle, []
        for seat in idle:
            self.retire(seat)

    def bury(self, seat: Seat, *, hung_up: bool = False) -> wire.Exited | None:
        """Kill a child; how it ended, or None if nobody can say or it was alive when it `hung_up`.

        What it had sent can be read until it is closed.
        """
        self._leave(seat)
        try:
            if hung_up:
                with suppress(Overdue):
                    return seat.zygote.end_of(seat.birth, _LAST_WORDS_S)
                seat.zygote.kill(seat.birth)
                return None
            return seat.zygote.kill(seat.birth)
        except (StoqError, Overdue):
            return None

    def end(self, seat: Seat) -> None:
        """Kill a child, whatever it has to say."""
        self.bury(seat)
        seat.birth.channel.close()

    def rest(self, owner: str) -> None:
        """A request is over: no child that saw its bytes sees another's, unless the config says so.

        As many as work in turn are ready for the next request, and no more.
        """
        with self.lock:
            left = [seat for seat in self._busy if seat.owner == owner]
        for seat in left:  # it worked ahead, and time ran out
            self.end(seat)
        share = self._settings.share_children
        with self.lock:
            kept = [seat for seat in self._idle if share or seat.owner != owner][: self._most]
            spare = [seat for seat in self._idle if seat not in kept]
            self._idle = kept
        for seat in spare:
            self.retire(seat)
        with suppress(StoqError):  # whoever needs a child says it
            self.fill()

    @property
    def alone(self) -> bool:
        """True if no more than one child is at work."""
        return len(self._busy) < 2

    def several(self, owner: str) -> list[Seat]:
        """The children that examine payloads of one request, if there are several."""
        if self.alone:
            return []
        with self.lock:
            found = [seat for seat in self._busy if seat.owner == owner and seat.line]
        return found if len(found) > 1 else []

    def beside(self, seat: Seat) -> list[Seat]:
        """The others that examine payloads of the same request."""
        return [one for one in self.several(seat.owner or "") if one is not seat]

    def at_work(self) -> set[Zygote]:
        """The zygotes whose children are at work."""
        with self.lock:
            return {seat.zygote for seat in self._busy}

    def abandon(self) -> None:
        """In a process that was forked from the one that has them: let go of this one's copies."""
        for seat in (*self._idle, *self._busy):
            seat.birth.channel.close()

    def close(self) -> None:
        """End all."""
        with self.lock:
            for seat in (*self._idle, *self._busy):
                self.retire(seat)
            self._idle.clear()
            self._busy.clear()
