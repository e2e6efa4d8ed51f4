"""The folders that tools write into: private to one user, counted as they fill, removed without recursion."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_ENTRIES = 1_000
_DEEPEST = 8
_TRIES = 16
FULL = 1 << 62
"""What a folder is said to hold that has more entries or levels than any tool needs."""


class Scratch:
    """One process's place for tools' folders, below the one of its user.

    A process locks its place; a place that can be locked belongs to one that is gone, and is removed.
    A folder of that name that is another's, open to others, or a link is left alone: the place is then a
    new folder of a name that nobody can foresee.
    """

    def __init__(self) -> None:
        """Nothing is made before it is wanted."""
        self._place: tuple[int, str] | None = None

    @contextmanager
    def folder(self) -> Iterator[tuple[int, str]]:
        """A new empty folder for one tool, as a descriptor and a path; gone afterwards."""
        place, path = self._placed()
        name = secrets.token_hex(8)
        os.mkdir(name, 0o700, dir_fd=place)
        fd = os.open(name, _FOLDER, dir_fd=place)
        try:
            yield fd, os.path.join(path, name)
        finally:
            empty(fd)
            os.close(fd)
            with suppress(OSError):
                os.rmdir(name, dir_fd=place)

    def _placed(self) -> tuple[int, str]:
        if self._place is None:
            self._place = _below_own() or _unforeseen()
        return self._place

    def close(self) -> None:
        """Remove the place."""
        place, self._place = self._place, None
        if place is not None:
            empty(place[0])
            with suppress(OSError):
                os.rmdir(place[1])
            os.close(place[0])


def _below_own() -> tuple[int, str] | None:
    """A locked place in the user's own folder; None where that is not to be trusted."""
    path = os.path.join(tempfile.gettempdir(), f"stoq-tools-{os.geteuid()}")
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)
    try:
        own = os.open(path, _FOLDER)
    except OSError:
        return None
    try:
        found = os.fstat(own)
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            return None
        _remove_abandoned(own)
        for _ in range(_TRIES):
            name = secrets.token_hex(8)
            os.mkdir(name, 0o700, dir_fd=own)
            place = os.open(name, _FOLDER, dir_fd=own)
            if _lock(place) and os.fstat(place).st_nlink:  # nobody took it for abandoned meanwhile
                return place, os.path.join(path, name)
            os.close(place)
    finally:
        os.close(own)
    return None


def _unforeseen() -> tuple[int, str]:
    path = tempfile.mkdtemp(prefix="stoq-tools-")
    place = os.open(path, _FOLDER)
    _lock(place)
    return place, path


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_abandoned(own: int) -> None:
    """Places whose processes are gone."""
    for name in os.listdir(own):
        with suppress(OSError):
            place = os.open(name, _FOLDER, dir_fd=own)
            try:
                if _lock(place):
                    empty(place)
                    os.rmdir(name, dir_fd=own)
            finally:
                os.close(place)


def empty(folder: int) -> None:
    """Remove all that is in a folder, links as links; what cannot be removed stays.

    A nested folder is first moved up, so that depth does not matter.
    """
    before: list[str] | None = None
    while (names := os.listdir(folder)) and names != before:
        before = names
        for name in names:
            try:
                os.unlink(name, dir_fd=folder)
            except OSError:
                with suppress(OSError):
                    _flatten(folder, name)


def _flatten(folder: int, name: str) -> None:
    """Remove a folder within `folder`; the folders within it are `folder`'s then."""
    with suppress(OSError):
        os.rmdir(name, dir_fd=folder)
        return
    path = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        with suppress(OSError):
            os.chmod(f"/proc/self/fd/{path}", 0o700)
        inner = os.open(f"/proc/self/fd/{path}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(path)
    try:
        for each in os.listdir(inner):
            try:
                os.unlink(each, dir_fd=inner)
            except OSError:
                with suppress(OSError):
                    _open_up(inner, each)
                    os.rename(each, secrets.token_hex(8), src_dir_fd=inner, dst_dir_fd=folder)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=folder)


def _open_up(folder: int, name: str) -> None:
    """A folder is moved to another place only by who may write to it."""
    path = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.chmod(f"/proc/self/fd/{path}", 0o700)
    finally:
        os.close(path)


def held_bytes(folder: int, level: int = 0) -> int:
    """What is in a folder, in bytes on disk or of length, whichever is more; `FULL` for very many or deep."""
    total = entries = 0
    with os.scandir(folder) as listed:
        for each in listed:
            entries += 1
            with suppress(OSError):
                found = os.lstat(each.name, dir_fd=folder)
                length = found.st_size if stat.S_ISREG(found.st_mode) else 0
                total += max(length, found.st_blocks * 512)
                if stat.S_ISDIR(found.st_mode):
                    total += _nested_bytes(folder, each.name, level)
            if entries > _MOST_ENTRIES or total >= FULL:
                return FULL
    return total


def _nested_bytes(folder: int, name: str, level: int) -> int:
    if level >= _DEEPEST:
        return FULL
    inner = os.open(name, _FOLDER, dir_fd=folder)
    try:
        return held_bytes(inner, level + 1)
    finally:
        os.close(inner)
