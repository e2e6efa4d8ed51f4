"""Ceilings, what is left of them, and the time that is left; spent while bytes are written."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import msgspec

from .errors import LimitReached, Reason

KiB = 1024
MiB = 1024 * KiB
GiB = 1024 * MiB

Clock = Callable[[], float]
"""Seconds on a clock that never goes back (`time.monotonic` but for tests)."""

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Positive = Annotated[int, msgspec.Meta(ge=1)]


WALL_FACTOR = 4
"""A worker's time is processor time; it may take so many times as long where others use the processor."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker may spend on one payload; None means the request's own limit.

    `wall_ms` are milliseconds of the processor, and `WALL_FACTOR` times as many by the clock on the wall:
    so a machine's load changes no verdict, and whoever only waits comes to an end, too.
    """

    input_bytes: int | None = None
    output_bytes: int | None = None
    children: int | None = None
    wall_ms: int | None = None
    memory_bytes: int | None = None


class RequestLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one request may spend: `[limits]` of the config. Bytes, counts and milliseconds."""

    depth: _Count = 10
    requires_depth: _Count = 10
    payloads: _Positive = 5_000
    extracted_bytes: _Count = GiB
    held_bytes: _Positive = 384 * MiB
    payload_bytes: _Positive = 256 * MiB
    ratio: _Positive = 250
    ratio_free_bytes: _Count = 64 * MiB
    worker_wall_ms: _Positive = 30_000
    sandbox_bytes: _Positive = 512 * MiB
    request_wall_ms: _Positive = 9 * 60 * 1000
    reserve_ms: _Count = 10_000
    result_nodes: _Positive = 100_000
    result_bytes: _Positive = MiB
    result_depth: _Positive = 32
    request_result_bytes: _Positive = 64 * MiB


class Deadline:
    """A moment on an injected clock after which nothing new is begun: `at`, in seconds on `clock`."""

    __slots__ = ("at", "clock")

    def __init__(self, at: float, clock: Clock = time.monotonic) -> None:
        """`at` is in seconds on `clock`."""
        self.at = at
        self.clock = clock

    @classmethod
    def after_ms(cls, wall_ms: float, clock: Clock = time.monotonic) -> Deadline:
        """A deadline that many milliseconds from now."""
        return cls(clock() + wall_ms / 1000, clock)

    @property
    def left_ms(self) -> float:
        """Milliseconds left; never below zero."""
        return max(0.0, (self.at - self.clock()) * 1000)

    @property
    def expired(self) -> bool:
        """True from the moment on."""
        return self.clock() >= self.at


_MEMBER_BYTES = MiB


class StepDeadline(Deadline):
    """What one step of a worker has left: processor time of this thread until `cpu_at`, and wall time."""

    __slots__ = ("cpu_at",)

    def __init__(self, at: float, cpu_at: float, clock: Clock = time.monotonic) -> None:
        """`cpu_at` is in seconds of `time.thread_time`."""
        super().__init__(at, clock)
        self.cpu_at = cpu_at

    @property
    def left_ms(self) -> float:
        """Milliseconds left, of whichever is less; never below zero."""
        return max(0.0, min(self.at - self.clock(), self.cpu_at - time.thread_time()) * 1000)

    @property
    def expired(self) -> bool:
        """True once either is over."""
        return self.left_ms <= 0


class Budget:
    """What one examination may still write: bytes, children, and the expansion ratio.

    A worker never sees it but through `job.child`, which spends while bytes are written. The ratio ends a
    child, not what stands behind it: where others have used it up, a further child may still have
    1 MiB, so that no decoy hides it. The totals bound what that comes to.
    """

    __slots__ = ("bytes_left", "children_left", "limits", "member_bytes", "payload_bytes", "ratio_left")

    def __init__(
        self, limits: RequestLimits, *, input_bytes: int, bytes_left: int, children_left: int
    ) -> None:
        """`bytes_left` and `children_left` are what the request has left for this payload."""
        self.limits = limits
        self.bytes_left = bytes_left
        self.children_left = children_left
        self.ratio_left = max(limits.ratio_free_bytes, limits.ratio * input_bytes)
        self.payload_bytes = limits.payload_bytes
        self.member_bytes = min(_MEMBER_BYTES, limits.ratio_free_bytes)

    def bounded(self, own: Limits) -> Budget:
        """A budget for one worker: no more than this one and the worker's own limits."""
        one = Budget.__new__(Budget)
        one.limits = self.limits
        most_bytes, most = own.output_bytes, own.children
        one.bytes_left = self.bytes_left if most_bytes is None else min(self.bytes_left, most_bytes)
        one.children_left = self.children_left if most is None else min(self.children_left, most)
        one.ratio_left = self.ratio_left
        one.payload_bytes = self.payload_bytes
        one.member_bytes = self.member_bytes
        return one

    def room(self) -> tuple[int, Reason]:
        """Bytes that the next child may have, and the reason if it wants more."""
        room, reason = self.payload_bytes, Reason.TOO_LARGE
        by_ratio = max(self.ratio_left, self.member_bytes)
        if by_ratio < room:
            room, reason = by_ratio, Reason.RATIO
        if self.bytes_left < room:
            room, reason = self.bytes_left, Reason.TOO_MANY_BYTES
        return max(0, room), reason

    def check(self) -> None:
        """Raise `LimitReached` when not even an empty child fits any more."""
        if self.children_left <= 0:
            raise LimitReached(
                Reason.TOO_MANY_PAYLOADS,
                "no more children are taken from this payload; raise limits.payloads to allow more",
                allowed=self.limits.payloads,
            )
        room, reason = self.room()
        if room <= 0:
            raise LimitReached(reason, f"no bytes are left for another child ({reason.value})")

    def spend(self, size: int) -> None:
        """Take one child of `size` bytes out of the budget."""
        self.bytes_left -= size
        self.ratio_left -= size
        self.children_left -= 1
