"""Landlock by its three system calls: which paths a process may read or run, no TCP, no foreign signals.

Source: linux/landlock.h and Documentation/userspace-api/landlock.rst, ABI 1 to 7.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from contextlib import suppress

from . import syscalls

_CREATE, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE = 1 << 14
_FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | _TRUNCATE
READ = READ_FILE | READ_DIR
_REMOVE_AND_MAKE = 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 12  # folders, files and links, no devices
_ALL_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_NO_TCP, _NO_TCP_SINCE = 0b11, 4
_SCOPED, _SCOPED_SINCE = 0b11, 6  # abstract Unix sockets, signals


def abi() -> int:
    """The kernel's version of Landlock, 0 without it."""
    if not syscalls.supported():
        return 0
    return max(0, int(syscalls.libc().syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION_FLAG)))


class Ruleset:
    """Everything is refused but what is allowed here; made once, applied in each child."""

    def __init__(self) -> None:
        """An empty ruleset. Raises `OSError` where the kernel has no Landlock."""
        self.abi = abi()
        handled = max(rights for since, rights in _ALL_BY_ABI.items() if since <= max(1, self.abi))
        self._handled = handled
        attributes = struct.pack(
            "QQQ",
            handled,
            _NO_TCP if self.abi >= _NO_TCP_SINCE else 0,
            _SCOPED if self.abi >= _SCOPED_SINCE else 0,
        )
        size = 8 if self.abi < _NO_TCP_SINCE else 16 if self.abi < _SCOPED_SINCE else 24
        self.fd = int(syscalls.libc().syscall(_CREATE, attributes, ctypes.c_size_t(size), 0))
        if self.fd < 0:
            raise syscalls.failure("landlock")

    def allow(self, paths: Iterable[str], rights: int) -> None:
        """Allow `rights` on files, and on folders with all below; a path that is not there is passed over."""
        for path in paths:
            with suppress(OSError):
                fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
                try:
                    self._add(fd, rights if os.path.isdir(path) else rights & _FILE_RIGHTS)
                finally:
                    os.close(fd)

    def allow_writing(self, folder: str) -> None:
        """Allow what a program does to files in its own folder; no devices and no sockets."""
        self.allow([folder], READ | WRITE_FILE | _REMOVE_AND_MAKE | _TRUNCATE)

    def _add(self, fd: int, rights: int) -> None:
        rule = struct.pack("=Qi", rights & self._handled, fd)
        if syscalls.libc().syscall(_ADD_RULE, self.fd, _PATH_BENEATH, rule, 0) != 0:
            raise syscalls.failure("landlock_add_rule")

    def apply(self) -> None:
        """Put this process under the rules, for good. Needs no-new-privileges. Raises `OSError`."""
        if syscalls.libc().syscall(_RESTRICT_SELF, self.fd, 0) != 0:
            raise syscalls.failure("landlock_restrict_self")
