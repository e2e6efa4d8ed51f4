"""Give up everything a child could do harm with, step by step; say which steps this machine allowed."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import stat
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress

import msgspec

from . import landlock, seccomp, syscalls
from .messages import RunTool

_SET_DEATH_SIGNAL, _GET_DUMPABLE, _SET_DUMPABLE, _DROP_BOUND, _NO_NEW_PRIVILEGES = 1, 3, 4, 24, 38
_SUBREAPER = 36
_CAPABILITY_VERSION = 0x20080522  # linux/capability.h, version 3
_FIRST_UID = 61_184
_UIDS = 1_024

SYSTEM_LIBRARIES = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/usr/share/misc",
)
_DEVICES = ("/dev/null", "/dev/urandom", "/dev/zero")
_TOOL_DATA = ("/usr/share", "/usr/local/share", "/etc/perl")

PROTECTIONS = {
    "parent_opaque": "the broker's memory and environment cannot be read",
    "no_network": "no socket can be opened",
    "no_new_privileges": "no program run can gain rights",
    "own_uid": "another user than the broker's",
    "no_capabilities": "no rights of root",
    "rlimits": "memory, processor time, files and processes are bounded",
    "landlock": "only libraries and rules can be read, nothing written, nothing else signalled",
    "tool_files": "tools read their payload and libraries, and write into a folder of their own",
    "seccomp": "only the system calls of a parser; no programs, no processes, no files to write",
}
"""Every protection by the name that `stats.sandbox` and `sandbox.require` use, and what it means."""

_LAST_WORDS_S = 2  # between SIGXCPU, which says what it is for, and SIGKILL, which does not


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """A child's rlimits: bytes, seconds, counts. `base_bytes` is what it maps before any payload."""

    memory_bytes: int
    payload_bytes: int
    cpu_s: int
    file_bytes: int = 0
    files: int = 64
    threads: int = 32


def make_opaque() -> None:
    """No process of the same user may look into this one from now on (prctl(2), PR_SET_DUMPABLE)."""
    if syscalls.supported():
        syscalls.libc().prctl(_SET_DUMPABLE, ctypes.c_ulong(0), *_ZEROS)


def adopt_orphans() -> None:
    """Descendants that lose their parent come to this process (prctl(2), PR_SET_CHILD_SUBREAPER)."""
    if syscalls.supported():
        syscalls.libc().prctl(_SUBREAPER, ctypes.c_ulong(1), *_ZEROS)


def prepare() -> None:
    """In the zygote, while it waits for the config: what each child would do anew after its fork."""
    with suppress(_Unavailable, OSError, KeyError):
        seccomp.template(tool=False)
        _bound_capabilities()


_ZEROS = (ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))


class Protector:
    """What one zygote's children give up; prepared once, applied after each fork."""

    def __init__(self, readable: Iterable[str], broker_pid: int) -> None:
        """In the zygote. `readable` are the folders of libraries, plugins and rules."""
        self.readable = list(readable)
        self._broker_pid = broker_pid
        self._zygote_pid = os.getpid()
        self._count = 0
        self._uid_trouble = _closed_to_others(self.readable) if os.getuid() == 0 else "the broker is not root"
        self._ruleset: landlock.Ruleset | None = None
        self._landlock_trouble = "the kernel has no Landlock"
        with suppress(OSError):
            if landlock.abi():
                self._ruleset = landlock.Ruleset()
                self._ruleset.allow([*SYSTEM_LIBRARIES, *self.readable, *_DEVICES], landlock.READ)

    def next_uid(self) -> int | None:
        """The next child's user, or None where it keeps the broker's."""
        if self._uid_trouble:
            return None
        self._count += 1
        return _FIRST_UID + self._count % _UIDS

    def worker(self, uid: int | None, bounds: Bounds) -> dict[str, str]:
        """Apply everything to this process; what is missing, by name, and why."""
        user: dict[str, Callable[[], object]] = {
            "rlimits": lambda: _limit(bounds, own_user=uid is not None),
            "own_uid": lambda: self._become(uid),
            "no_capabilities": _drop_capabilities,
            "parent_opaque": self._check_opaque,
        }
        kernel: dict[str, Callable[[], object]] = {
            "no_new_privileges": _no_new_privileges,
            "landlock": self._landlock,
            "tool_files": self._landlock_needed,
            "seccomp": lambda: seccomp.apply(seccomp.program(os.getpid(), tool=False)),
            "no_network": _check_network,
        }
        missing = _run(user)
        die_with(self._zygote_pid)  # a change of user would undo it, the filter forbids it
        return missing | _run(kernel)

    def tool(self, uid: int | None, bounds: Bounds, asked: RunTool) -> None:
        """Apply everything that a tool can live with; raises `OSError` where a step that exists fails."""
        rules = self._rules_of(asked)
        _limit(bounds, own_user=uid is not None)
        if uid is not None:
            self._become(uid)
        with suppress(OSError):
            _drop_capabilities()
        die_with(self._zygote_pid)
        if not syscalls.supported():
            return
        _no_new_privileges()
        if rules is not None:
            rules.apply()
        with suppress(_Unavailable):
            seccomp.apply(seccomp.program(os.getpid(), tool=True))

    def _rules_of(self, asked: RunTool) -> landlock.Ruleset | None:
        """Its own folder, what it must read, and no program but itself."""
        if self._ruleset is None:
            if asked.confined:
                raise OSError(errno.EPERM, self._landlock_trouble)
            return None
        rules = landlock.Ruleset()
        rules.allow([*SYSTEM_LIBRARIES, *_TOOL_DATA, *_DEVICES, *asked.reads], landlock.READ)
        rules.allow(["/dev/null"], landlock.READ | landlock.WRITE_FILE)
        rules.allow(programs_of(asked.path), landlock.READ | landlock.EXECUTE)
        rules.allow_writing(asked.folder)
        # what unar's runtime reads at its start: how it was called, and who it is
        rules.allow([f"/proc/{os.getpid()}/cmdline", "/etc/passwd"], landlock.READ)
        return rules

    def _become(self, uid: int | None) -> None:
        if uid is None:
            raise _Unavailable(self._uid_trouble)
        os.setgroups([])
        os.setgid(uid)  # real, effective and saved, since this is root
        os.setuid(uid)

    def _check_opaque(self) -> None:
        """Try it: a broker that is not opaque, or this one's rights, would let us read it."""
        for name in ("environ", "mem"):
            try:
                os.close(os.open(f"/proc/{self._broker_pid}/{name}", os.O_RDONLY))
            except OSError:
                continue
            raise _Unavailable(f"/proc/PARENT/{name} can be read")

    def _landlock(self) -> None:
        self._landlock_needed().apply()

    def _landlock_needed(self) -> landlock.Ruleset:
        if self._ruleset is None:
            raise _Unavailable(self._landlock_trouble)
        return self._ruleset


class _Unavailable(Exception):
    """Not to be had on this machine."""


def _run(steps: dict[str, Callable[[], object]]) -> dict[str, str]:
    missing = {}
    for name, step in steps.items():
        try:
            step()
        except (_Unavailable, OSError, ValueError, AttributeError, KeyError) as error:
            missing[name] = str(error) or type(error).__name__
    return missing


def die_with(parent_pid: int) -> None:
    """SIGKILL when the zygote ends (prctl(2)); after the change of user, which would undo it."""
    if syscalls.supported():
        syscalls.libc().prctl(_SET_DEATH_SIGNAL, ctypes.c_ulong(signal.SIGKILL), *_ZEROS)
    if os.getppid() != parent_pid:  # it ended before this was said
        os._exit(0)


def mapped_bytes() -> int:
    """What this process maps now; 0 where the system does not say."""
    with suppress(OSError), open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
    return 0


def bound_memory(most_bytes: int) -> None:
    """From now on (and up to what was set first) this process may map so much."""
    with suppress(OSError, ValueError):
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        soft = most_bytes if hard == resource.RLIM_INFINITY else min(most_bytes, hard)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _limit(bounds: Bounds, *, own_user: bool) -> None:
    memory = mapped_bytes() + bounds.memory_bytes + bounds.payload_bytes
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: bounds.cpu_s,
        resource.RLIMIT_FSIZE: bounds.file_bytes,
        resource.RLIMIT_NOFILE: bounds.files,
        resource.RLIMIT_AS: memory,
        # no stricter; libraries that find none ask for the machine's free memory, a file that is closed here
        resource.RLIMIT_DATA: memory,
    }
    if own_user:  # counts all processes of a user, so only for one who has no others
        wanted[resource.RLIMIT_NPROC] = bounds.threads
    for which, most in wanted.items():
        hard = resource.getrlimit(which)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        last = (
            value + _LAST_WORDS_S
            if which == resource.RLIMIT_CPU and hard == resource.RLIM_INFINITY
            else value
        )
        resource.setrlimit(which, (value, last))


def _bound_capabilities() -> None:
    """No program that is run gains rights again (capabilities(7), bounding set); own rights stay."""
    if not syscalls.supported():
        raise _Unavailable("only Linux has them")
    for one in range(64):
        if syscalls.libc().prctl(_DROP_BOUND, ctypes.c_ulong(one), *_ZEROS) != 0:
            return  # not root, or the last one


def _drop_capabilities() -> None:
    if not syscalls.supported():
        raise _Unavailable("only Linux has them")
    libc = syscalls.libc()
    header = struct.pack("Ii", _CAPABILITY_VERSION, 0)
    if libc.capset(header, bytes(24)) != 0:
        raise syscalls.failure("capset")


def _no_new_privileges() -> None:
    if not syscalls.supported():
        raise _Unavailable("only Linux has it")
    if syscalls.libc().prctl(_NO_NEW_PRIVILEGES, ctypes.c_ulong(1), *_ZEROS) != 0:
        raise syscalls.failure("no_new_privs")


def _check_network() -> None:
    """Try it."""
    import socket

    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    except OSError:
        return
    raise _Unavailable("a socket can be opened: there is no seccomp filter")


def _closed_to_others(folders: Iterable[str]) -> str:
    """Why another user could not read the libraries, or an empty string."""
    for folder in folders:
        path = os.path.realpath(folder)
        while True:
            try:
                mode = os.stat(path).st_mode
            except OSError:
                break
            wanted = stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IROTH
            if not mode & wanted:
                return f"{path} is closed to other users, and libraries are below it"
            if path == "/":
                break
            path = os.path.dirname(path)
    return ""


def programs_of(path: str) -> list[str]:
    """The program, the interpreter that its first line names, and the loaders of both."""
    real = os.path.realpath(path)
    found = [path, real]
    with suppress(OSError), open(real, "rb") as file:
        first = file.readline(256)
        if first.startswith(b"#!"):
            words = first[2:].split()
            found += [os.path.realpath(os.fsdecode(words[0]))] if words else []
    loaders = ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1", "/lib/ld-musl-x86_64.so.1")
    return [*found, *(os.path.realpath(one) for one in loaders)]
