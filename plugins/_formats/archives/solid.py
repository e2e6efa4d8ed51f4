"""Data of many members that is decompressed as one: done once, kept in a body, handed out in parts."""

from __future__ import annotations

from collections.abc import Callable

from stoq_core.body import Body, BodyWriter
from stoq_core.errors import LimitReached, PluginError, Reason
from stoq_core.job import Job

from .entry import BadArchive, Chunks, sliced

_RESERVED = 0.2
"""The part of the time that is kept for handing out what was decompressed."""


class Solid:
    """What `make()` gives, decompressed when first asked for, within the job's bytes and most of its time.

    An error half-way keeps what came before: the parts behind it raise it.
    """

    def __init__(self, make: Callable[[], Chunks], job: Job, shelf: list[Solid]) -> None:
        """`shelf` is shared by all of an archive: one of them is held at a time."""
        self._make, self._job, self._shelf = make, job, shelf
        self._body: Body | None = None
        self._problem: PluginError | None = None

    def part(self, start: int, size: int) -> Chunks:
        """The bytes from `start` on; raises behind what there is of them."""
        if not size:
            return
        view = self._decoded().view()[start : start + size]
        yield from sliced(view)
        if len(view) < size:
            if self._problem is not None:
                raise self._problem
            raise BadArchive(Reason.TRUNCATED, f"{len(view)} of {size} bytes are there")

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._decoded().size

    @property
    def damaged(self) -> bool:
        """True if an error ended it."""
        self._decoded()
        return self._problem is not None

    def _decoded(self) -> Body:
        if self._body is None:
            for other in self._shelf:
                other._body = None  # noqa: SLF001 - the same class's own
            self._shelf[:] = [self]
            writer, left = BodyWriter(), self._job.total_left
            reserve_ms = self._job.deadline.left_ms * _RESERVED
            try:
                for chunk in self._make():
                    writer.write(chunk[:left])
                    left -= len(chunk)
                    if left < 0:
                        raise LimitReached(Reason.TOO_MANY_BYTES, "the data expands beyond the limits")
                    if self._job.deadline.left_ms <= reserve_ms:
                        raise LimitReached(Reason.TIMEOUT, "the data takes too long to decompress")
            except PluginError as error:
                self._problem = error
            except (IndexError, ValueError) as error:
                self._problem = BadArchive(Reason.CORRUPT, f"the compressed data is damaged: {error}")
            self._body = writer.finish()
        return self._body
