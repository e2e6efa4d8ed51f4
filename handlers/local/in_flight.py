"""Several files in flight at once, answered in their order: one scan a processor, within a bound of bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")
_AHEAD = 4
"""Files begun beyond those in work, for each of these: a slow one holds up few answers, not the scans."""


def in_flight(
    files: Iterable[Path], scan: Callable[[Path], _T], *, at_once: int, held_bytes: int
) -> Iterator[tuple[Path, Callable[[], _T]]]:
    """Each file with a call that gives what `scan` returned or raises what it raised, in the files' order.

    At most `at_once` scans run side by side, in threads; the files that have begun and are not answered yet
    are together at most `held_bytes` large, but for a single one.
    """
    if at_once <= 1:
        for file in files:
            yield file, lambda file=file: scan(file)  # type: ignore[misc]
        return
    begun: deque[tuple[Path, Future[_T], int]] = deque()
    held = 0
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="stoq-scan")
    try:
        for file in files:
            size = _size(file)
            while begun and (len(begun) >= at_once * (1 + _AHEAD) or held + size > held_bytes):
                first, future, its_size = begun.popleft()
                held -= its_size
                yield first, future.result
            begun.append((file, pool.submit(scan, file), size))
            held += size
        while begun:
            first, future, _ = begun.popleft()
            yield first, future.result
    finally:
        pool.shutdown(cancel_futures=True)


def _size(file: Path) -> int:
    """What the file takes while it is scanned; nothing for what has no size, or is gone."""
    try:
        return file.stat().st_size
    except OSError:
        return 0
