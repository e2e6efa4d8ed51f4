"""What decoders of PDF streams share: the size of their steps, and the error that ends one."""

from __future__ import annotations

from collections.abc import Iterable

from stoq_core.errors import LimitReached, PluginError, Reason
from stoq_core.job import Job
from stoq_core.limits import KiB

CHUNK_BYTES = 256 * KiB
Chunks = Iterable[bytes]


class Damaged(PluginError):
    """A stream cannot be decoded (further); what came before stands. The reason is the code."""

    def __init__(self, message: str, reason: Reason = Reason.CORRUPT) -> None:
        """`corrupt` unless said otherwise."""
        super().__init__(reason.value, message, reason=reason)


class Meter:
    """What decoding may cost beside the children: bytes that never reach one, and the time."""

    def __init__(self, job: Job, left: int) -> None:
        """`left` bytes may still be made."""
        self._job = job
        self.left = left

    def spend(self, size: int) -> None:
        """Take `size` bytes. Raises `LimitReached` with `ratio` or `timeout`."""
        self.left -= size
        if self.left < 0:
            raise LimitReached(Reason.RATIO, "the filters of the document's streams expand beyond the limits")
        self.check()

    def check(self) -> None:
        """Raise `LimitReached` when the time is over."""
        if self._job.deadline.expired:
            raise LimitReached(Reason.TIMEOUT, "the document's streams could not be decoded in time")
