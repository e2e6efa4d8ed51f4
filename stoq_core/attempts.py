"""Which objects took their function down: a mark in the store, set before parsing and taken away after it.

A count of deliveries says nothing: outages, throttles and calls without time raise it as well. Only a mark
that an attempt left behind means that it died while it parsed. An attempt that lives renews its mark, so
that twenty seconds are enough to tell a dead one from one at work: queues deliver again within ten.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

from .errors import StoreError

SAFE_MODE_DELIVERY = 3
"""The first delivery that can find a mark: a queue has to deliver more often before it gives up."""
_TRIES = 4
_FIRST_PAUSE_S = 0.2
LEASE_S = 20.0
"""A mark that was not renewed for so long belongs to nobody alive."""
_RENEW_S = 6.0
_LOOK_S = 1.0


@runtime_checkable
class AttemptMarks(Protocol):
    """What a connector offers whose store can keep a mark a scan. Both raise `StoreError`."""

    def begin_attempt(self, scan_id: str, until: float) -> float | None:
        """Put a mark, unless one stands there already: then its `until` (seconds, UTC), else None."""

    def end_attempt(self, scan_id: str, until: float) -> None:
        """Take the mark with this `until` away; no error where it, or any, is not there."""


class Attempts:
    """The marks of one process; `marks` is None where no connector keeps any."""

    def __init__(
        self,
        marks: AttemptMarks | None,
        *,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`now` gives seconds in UTC; both clocks are injected for tests."""
        self._marks = marks
        self._now = now
        self._sleep = sleep
        self._kept: dict[str, float] = {}  # marks of attempts that ended in order but could not be taken away
        self._dead: dict[str, float] = {}  # marks of attempts that died

    @classmethod
    def of(cls, connectors: Iterable[object], now: Callable[[], float]) -> Attempts:
        """With the first connector that keeps marks."""
        marks = (connector for connector in connectors if isinstance(connector, AttemptMarks))
        return cls(next(marks, None), now=now)

    def begin(self, scan_id: str, deliveries: int) -> Attempt | None:
        """The attempt, marked from the second delivery on; None if an earlier one died while it parsed.

        Waits for up to 20 seconds where that cannot be told yet. Raises a retryable `StoreError` where the
        store cannot be written, and where another attempt is at work: it comes again.
        """
        if self._marks is None or deliveries < 2:
            return Attempt(self, scan_id, None)
        if scan_id in self._kept:
            self._marks.end_attempt(scan_id, self._kept[scan_id])
            del self._kept[scan_id]
        first: float | None = None
        while True:
            until = self.lease()
            standing = self._marks.begin_attempt(scan_id, until)
            if standing is None:
                return Attempt(self, scan_id, until)
            if standing <= self._now():
                self._dead[scan_id] = standing
                return None
            first = standing if first is None else first
            if standing != first:
                raise StoreError("another attempt at this object is at work", retryable=True)
            self._sleep(min(_LOOK_S, standing - self._now()))

    def lease(self) -> float:
        """Until when a mark that is put now says that its attempt lives."""
        return round(self._now() + LEASE_S, 3)

    def renew(self, scan_id: str, until: float) -> float:
        """The new `until`; the same where the store did not answer, or another attempt has the mark."""
        assert self._marks is not None
        new = self.lease()
        try:
            self._marks.end_attempt(scan_id, until)
            return new if self._marks.begin_attempt(scan_id, new) is None else until
        except StoreError:
            return until

    def clear(self, scan_id: str) -> None:
        """The record that says `crashed` is stored: whoever scans the object again begins anew."""
        until = self._dead.pop(scan_id, None)
        if until is not None:
            self.take_away(scan_id, until)

    def take_away(self, scan_id: str, until: float) -> None:
        """Tried for some seconds; what stays is taken away by this process's next attempt."""
        assert self._marks is not None
        for attempt in range(_TRIES):
            try:
                self._marks.end_attempt(scan_id, until)
            except StoreError:
                self._sleep(_FIRST_PAUSE_S * 2**attempt)
            else:
                return
        self._kept[scan_id] = until


class Attempt:
    """One attempt at parsing; leaving its block in any way but death takes the mark away."""

    def __init__(self, attempts: Attempts, scan_id: str, until: float | None) -> None:
        """`until` is None where no mark was put."""
        self._attempts = attempts
        self._scan_id = scan_id
        self._until = until
        self._ended = threading.Event()
        self._renews: threading.Thread | None = None

    def __enter__(self) -> None:
        """The mark stands already; a thread renews it while the block runs."""
        if self._until is not None:
            self._renews = threading.Thread(target=self._renew, name="stoq-attempt", daemon=True)
            self._renews.start()

    def _renew(self) -> None:
        while not self._ended.wait(_RENEW_S):
            assert self._until is not None
            self._until = self._attempts.renew(self._scan_id, self._until)

    def __exit__(self, *_: object) -> None:
        """Parsing has ended, whether well or by an exception."""
        if self._renews is not None and self._until is not None:
            self._ended.set()
            self._renews.join()
            self._attempts.take_away(self._scan_id, self._until)
