"""The descriptors that leave the broker: of sealed bytes, opened to read and for nothing else."""

from __future__ import annotations

import fcntl
import os

from stoq_core.body import Body, anonymous_file, seal, write_all

_GET_SEALS = getattr(fcntl, "F_GET_SEALS", None)
_NO_WRITES = 0x0002 | 0x0004 | 0x0008  # linux/fcntl.h: neither shrunk, nor grown, nor written


def handed(body: Body) -> int:
    """A new descriptor of a body's bytes, which nobody who gets it can change; the caller closes it.

    What lies on a disk is sealed by nothing, so it is copied into memory that is.
    """
    fd = body.fd
    if fd is not None and not body.on_disk and is_sealed(fd):
        return read_only(fd)
    return sealed_copy(body)


def sealed_copy(body: Body) -> int:
    """The same bytes in a sealed memory file, opened to read."""
    fd = anonymous_file()
    try:
        write_all(fd, body.view())
        body.rest()
        seal(fd)
        return read_only(fd)
    finally:
        os.close(fd)


def is_sealed(fd: int) -> bool:
    """True if the kernel lets nobody change this file any more."""
    if _GET_SEALS is None:
        return True  # there are no memory files here, and nothing better
    try:
        return fcntl.fcntl(fd, _GET_SEALS) & _NO_WRITES == _NO_WRITES
    except OSError:
        return False


def read_only(fd: int) -> int:
    """The same file, opened anew to read: with a position, flags and rights of its own. Raises `OSError`."""
    if _GET_SEALS is None:
        return os.dup(fd)
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
