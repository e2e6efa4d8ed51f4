"""Dates and times as DOS and Windows keep them."""

from __future__ import annotations

import calendar

from .entry import timestamp

_FILETIME_EPOCH_S = 11_644_473_600


def dos_time(date: int, time: int) -> str | None:
    """A FAT date and time (two 16-bit words): local time of whoever made it, given as if it were UTC."""
    fields = ((date >> 9) + 1980, date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, (time & 31) * 2)
    if not (1 <= fields[1] <= 12 and 1 <= fields[2] <= 31):
        return None
    return timestamp(calendar.timegm(fields))


def filetime(ticks: int) -> str | None:
    """A Windows FILETIME: 100 ns since 1601, UTC; None for nothing."""
    return timestamp(ticks // 10_000_000 - _FILETIME_EPOCH_S) if ticks else None
