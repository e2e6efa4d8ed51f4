"""How many threads a process has: counted from outside, where no limit counts those of one process."""

from __future__ import annotations

from contextlib import suppress

MOST_THREADS = 64
"""What libraries begin of their own accord, and no more."""

_AT = 17  # num_threads, behind the program's name (proc(5))


class Crowd(Exception):
    """More threads than any parser needs."""


def threads_of(pid: int) -> int:
    """The number, or 0 where nobody says."""
    with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read(2_048).rpartition(b")")[2].split()[_AT])
    return 0
