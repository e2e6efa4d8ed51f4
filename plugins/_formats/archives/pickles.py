"""Python's pickles: strings of bytes among their operations, which are read and never run."""

from __future__ import annotations

import io
import pickletools
from collections.abc import Iterator
from itertools import islice
from typing import Any

from stoq_core.errors import Reason

from .declare import Format, Source
from .entry import BadArchive, Entry, Member, sliced

_MIN_BYTES = 16
_MOST_OPERATIONS = 2_000_000


def read_pickle(source: Source) -> Iterator[Entry]:
    """Arguments of bytes, and texts that are bytes in Latin-1 (as protocols before 3 write them)."""
    source.account.structure(0, 0)
    end, stopped = 0, False
    try:
        stream = io.BytesIO(source.view)  # whose reads are no longer than what is there
        for operation, argument, at in islice(pickletools.genops(stream), _MOST_OPERATIONS):
            data = _as_bytes(argument)
            if data is not None and len(data) >= _MIN_BYTES:
                yield _entry(data, at or 0)
            end, stopped = (at or 0) + 1, operation.name == "STOP"
    except (ValueError, IndexError, KeyError, OverflowError, UnicodeDecodeError) as error:
        source.account.structure(0, end)
        raise BadArchive(Reason.CORRUPT, f"the operations do not hold: {error}") from None
    source.account.structure(0, end)
    if not stopped:
        raise BadArchive(Reason.TRUNCATED, "the pickle has no end")


def _entry(data: bytes, at: int) -> Entry:
    member = Member(name=f"bytes-{at:x}", size=len(data))
    return Entry(member, lambda _passwords: sliced(memoryview(data)), at)


def _as_bytes(argument: Any) -> bytes | None:
    """The bytes that an argument is, None for numbers and for text that is nothing but text."""
    if isinstance(argument, (bytes, bytearray)):
        return bytes(argument)
    if isinstance(argument, str) and not argument.isascii():
        try:
            return argument.encode("latin-1")
        except UnicodeEncodeError:
            return None
    return None


FORMATS = (Format("pickle", read_pickle),)
