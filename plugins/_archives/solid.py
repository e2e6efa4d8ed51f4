"""Data of many members that is decompressed as one: done once, kept in a body, handed out in parts."""

from __future__ import annotations

from collections.abc import Callable

from stoq_core.body import Body, BodyWriter
from stoq_core.errors import LimitReached, PluginError, Reason

from .entry import BadArchive, Chunks, sliced


class Solid:
    """What `make()` gives, decompressed when first asked for, up to `room` bytes.

    An error half-way keeps what came before: the parts behind it raise it.
    """

    def __init__(self, make: Callable[[], Chunks], room: int) -> None:
        self._make, self._room = make, room
        self._body: Body | None = None
        self._problem: PluginError | None = None

    def part(self, start: int, size: int) -> Chunks:
        """The bytes from `start` on; raises behind what there is of them."""
        view = self._decoded().view()[start : start + size]
        yield from sliced(view)
        if len(view) < size:
            if self._problem is not None:
                raise self._problem
            raise BadArchive(Reason.TRUNCATED, f"{len(view)} of {size} bytes are there")

    def _decoded(self) -> Body:
        if self._body is None:
            writer, left = BodyWriter(), self._room
            try:
                for chunk in self._make():
                    writer.write(chunk[:left])
                    left -= len(chunk)
                    if left < 0:
                        raise LimitReached(Reason.TOO_MANY_BYTES, "the data expands beyond the limits")
            except PluginError as error:
                self._problem = error
            except (IndexError, ValueError) as error:
                self._problem = BadArchive(Reason.CORRUPT, f"the compressed data is damaged: {error}")
            self._body = writer.finish()
        return self._body
