"""A seccomp filter in classic BPF: an allow list of system calls for workers, and one for tools.

Format: linux/filter.h and linux/seccomp.h. There is no well-kept binding that brings its own libseccomp,
and Lambda has none, so the few instructions are put together here.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import struct
from collections.abc import Iterable

from . import syscalls

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_LOAD, _JUMP_EQUAL, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16

_CLONE_THREAD = 0x00010000
_OPEN_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_SET_NAME, _GET_NAME, _SET_VMA = 15, 16, 0x53564D41  # linux/prctl.h: what threads and allocators ask for
_FCNTL = (0, 1, 2, 3, 1030, 1032, 1033, 1034)
"""fcntl(2) without owners, signals, leases and notices: DUPFD, GETFD, SETFD, GETFL, DUPFD_CLOEXEC,
GETPIPE_SZ, ADD_SEALS, GET_SEALS; SETFL is argued about, and locks are of a file's own."""
_LOCKS = (5, 6, 7, 36, 37, 38)
_SET_FLAGS = 4
_ASYNC = 0x2000  # would have the kernel signal whoever owns the file
_IOCTL = (0x5401, 0x5421, 0x541B, 0x5451)
"""linux/ioctls.h: TCGETS (isatty), FIONBIO, FIONREAD, FIOCLEX."""
_PATH_ONLY = 0x200000  # O_PATH
_NAMELESS = 0x400000  # __O_TMPFILE


_SOME_PID = 0xFFFFFFFE
"""Stands in a template for the process's own id; no process has it."""


def program(pid: int, *, tool: bool) -> bytes:
    """The filter for process `pid`; a tool may become a program and write files (Landlock says which)."""
    own, some = (_instruction(_JUMP_EQUAL, one, 0, 1) for one in (pid, _SOME_PID))
    return template(tool=tool).replace(some, own)


@functools.cache
def template(*, tool: bool) -> bytes:
    """The filter for `_SOME_PID`, put together once."""
    code = [_load(_ARCHITECTURE_AT), *_unless(syscalls.MACHINES[os.uname().machine][1], _KILL_PROCESS)]
    code.append(_load(_NUMBER_AT))
    for name, number in syscalls.argued().items():
        code += _block(number, _argued(name, tool=tool))
    allowed = syscalls.reading()
    if tool:
        allowed |= syscalls.writing() | syscalls.starting()
    for number in allowed.values():
        code += _block(number, [_return(_ALLOW)])
    refused = syscalls.refused() | ({} if tool else syscalls.writing() | syscalls.starting())
    for number in refused.values():
        code += _block(number, [_refuse(errno.EPERM)])
    code.append(_refuse(errno.ENOSYS))
    return b"".join(code)


def apply(code: bytes) -> None:
    """Put this process under the filter, for good. Needs no-new-privileges. Raises `OSError`."""
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
    libc = syscalls.libc()
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.c_char_p(header), 0, 0) != 0:
        raise syscalls.failure("seccomp")


def _argued(name: str, *, tool: bool) -> list[bytes]:
    """The answer to a call that depends on its arguments."""
    if name == "clone3":  # its flags stand in memory; without it, libraries use clone
        return [_refuse(errno.ENOSYS)]
    if name == "clone":
        return _if_any_bit(0, _CLONE_THREAD, _return(_ALLOW), errno.EPERM)
    if name in ("kill", "tgkill"):
        return _if_one_of(0, [_SOME_PID], errno.EPERM)
    if name == "prlimit64":
        return _if_one_of(0, [0], errno.EPERM)
    if name == "prctl":
        return _if_one_of(0, [_SET_NAME, _GET_NAME, _SET_VMA], errno.EPERM)
    if name == "ioctl":
        return _if_one_of(1, _IOCTL, errno.ENOTTY)
    if name == "fcntl":
        setting = [*_if_any_bit(2, _ASYNC, _refuse(errno.EPERM), None)]
        head = [_argument(1), _instruction(_JUMP_EQUAL, _SET_FLAGS, 0, len(setting)), *setting]
        return [*head, *_if_one_of(1, (*_FCNTL, *_LOCKS), errno.EPERM)]
    flags = 1 if name == "open" else 2
    forbidden = _PATH_ONLY | _NAMELESS | (0 if tool else _OPEN_TO_WRITE)
    return _if_any_bit(flags, forbidden, _refuse(errno.EACCES), None)


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _load(offset: int) -> bytes:
    return _instruction(_LOAD, offset)


def _return(action: int) -> bytes:
    return _instruction(_RETURN, action)


def _refuse(number: int) -> bytes:
    return _return(_ERRNO | number)


def _unless(value: int, action: int) -> list[bytes]:
    return [_instruction(_JUMP_EQUAL, value, 1, 0), _return(action)]


def _block(number: int, answer: list[bytes]) -> list[bytes]:
    """For this call, the answer; which ends the program, so the number is still loaded after it."""
    return [_instruction(_JUMP_EQUAL, number, 0, len(answer)), *answer]


def _argument(at: int) -> bytes:
    """Load the lower half of an argument; both machines are little-endian."""
    return _load(_ARGUMENTS_AT + 8 * at)


def _if_one_of(at: int, values: Iterable[int], otherwise: int) -> list[bytes]:
    code = [_argument(at)]
    for value in values:
        code += [_instruction(_JUMP_EQUAL, value, 0, 1), _return(_ALLOW)]
    return [*code, _refuse(otherwise)]


def _if_any_bit(at: int, bits: int, then: bytes, otherwise: int | None) -> list[bytes]:
    last = _return(_ALLOW) if otherwise is None else _refuse(otherwise)
    return [_argument(at), _instruction(_JUMP_ANY_BIT, bits, 0, 1), then, last]
