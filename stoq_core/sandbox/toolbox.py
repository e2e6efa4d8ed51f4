"""The broker's side of `job.tool`: check what a child asks for, run it in a process of its own, answer."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from stoq_core.body import Body, anonymous_file, seal, write_all
from stoq_core.errors import PluginError
from stoq_core.limits import WALL_FACTOR
from stoq_core.tools import STDERR_BYTES, ToolCall, find, missing, overflow, overtime

from . import messages as wire
from .control import Zygote
from .wire import Channel, Malformed, Overdue

_LOOK_S = 0.02
_MOST_CPU_S = 3_600
_PREFIX = "stoq-tools-"


class Toolbox:
    """Runs the tools that plugins declare, and no others."""

    def __init__(self, placed: Mapping[str, str], allowed: Callable[[], set[str]]) -> None:
        """`placed` are paths by name (`sandbox.tools`)."""
        self._placed = dict(placed)
        self._allowed = allowed
        self._place: str | None = None

    def _folder(self) -> str:
        """The place of this process for tools' folders; places of processes that are gone are removed."""
        if self._place is None:
            with suppress(OSError):
                for one in os.scandir(tempfile.gettempdir()):
                    pid = one.name.removeprefix(_PREFIX).partition("-")[0]
                    if one.name.startswith(_PREFIX) and pid.isdigit() and not _alive(int(pid)):
                        shutil.rmtree(one.path, ignore_errors=True)
            self._place = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-")
            os.chmod(self._place, 0o711)  # noqa: S103 - a tool of another user passes through to its folder
        return self._place

    def close(self) -> None:
        """Remove it."""
        if self._place is not None:
            shutil.rmtree(self._place, ignore_errors=True)
            self._place = None

    def answer(
        self, zygote: Zygote, channel: Channel, asked: wire.ToolAsked, payload: Body, most_ms: float
    ) -> None:
        """Run what a child asked for and send it the outcome; `most_ms` is what its plugin has left."""
        bodies = _Bodies()
        fds: list[int] = []
        try:
            bodies.take(channel, asked, payload)
            ran = self._run(zygote, _call_of(asked, most_ms), asked, bodies, fds)
        except PluginError as error:
            ran = wire.ToolRan(error=(error.code, error.message, error.reason, error.allowed))
        finally:
            bodies.close()
        try:
            given = tuple(fds) if ran.error is None else ()
            channel.send(wire.TOOL_RAN, wire.ENCODE(ran), given, 10.0)
        finally:
            for fd in fds:
                os.close(fd)

    def _run(
        self, zygote: Zygote, call: ToolCall, asked: wire.ToolAsked, bodies: _Bodies, fds: list[int]
    ) -> wire.ToolRan:
        path = find(call.name, self._placed) if call.name in self._allowed() else None
        if path is None:
            raise missing(call.name)
        out, err = anonymous_file(), anonymous_file()
        folder = tempfile.mkdtemp(dir=self._folder())
        fds.append(out)
        try:
            paths: Iterator[str | int] = iter(range(len(bodies.fds)))
            room = call.output_bytes
            if asked.copied:
                paths, room = iter(_copies(folder, bodies.fds)), room + sum(map(_size, bodies.fds))
            words = [next(paths) if one is None else one for one in asked.arguments]
            cpu_s = min(_MOST_CPU_S, int(call.wall_ms / 1000) + 1)
            order = wire.RunTool(path, words, folder, call.output_bytes, cpu_s)
            pid = zygote.run(order, (out, err, *bodies.fds))
            exited = self._wait(zygote, pid, call, folder, room)
            seal(out)
            names = []
            for name in call.files:
                fd = _collect(folder, name, call)
                if fd is not None:
                    names.append(name)
                    fds.append(fd)
            code = os.waitstatus_to_exitcode(exited.status)
            return wire.ToolRan(code, os.pread(err, STDERR_BYTES, 0).decode("utf-8", "replace"), names)
        finally:
            os.close(err)
            shutil.rmtree(folder, ignore_errors=True)

    def _wait(self, zygote: Zygote, pid: int, call: ToolCall, folder: str, room: int) -> wire.Exited:
        """Until it ends: its processor time is bounded where it runs, and what it waits for here."""
        until = time.monotonic() + WALL_FACTOR * call.wall_ms / 1000
        while True:
            try:
                exited = zygote.exit_of(pid, _LOOK_S)
            except Overdue:
                late, full = time.monotonic() > until, _folder_bytes(folder) > room
                if not late and not full:
                    continue
                zygote.kill_tool(pid)
                raise overtime(call) if late else overflow(call) from None
            if os.WIFSIGNALED(exited.status) and os.WTERMSIG(exited.status) == signal.SIGXFSZ:
                raise overflow(call)
            if os.WIFSIGNALED(exited.status) and os.WTERMSIG(exited.status) == signal.SIGXCPU:
                raise overtime(call)
            return exited


def _copies(folder: str, fds: list[int]) -> list[str]:
    """Each body as a file that the tool may read; where they are."""
    paths = []
    for at, fd in enumerate(fds):
        path = os.path.join(folder, f".input-{at}")
        with open(path, "xb") as file:
            os.fchmod(file.fileno(), 0o644)
            offset = 0
            while chunk := os.pread(fd, 1 << 20, offset):
                file.write(chunk)
                offset += len(chunk)
        paths.append(path)
    return paths


def _size(fd: int) -> int:
    return os.fstat(fd).st_size


class _Bodies:
    """Descriptors of the bodies among a tool's arguments."""

    def __init__(self) -> None:
        self.fds: list[int] = []
        self._opened: list[int] = []

    def take(self, channel: Channel, asked: wire.ToolAsked, payload: Body) -> None:
        """The payload's own, and those that the child sends."""
        if sum(one is None for one in asked.arguments) != len(asked.bodies):
            raise Malformed("a tool's bodies and arguments differ in number")
        for size in asked.bodies:
            if size >= 0:
                fd = anonymous_file()
                self._opened.append(fd)
                receive_into(channel, fd, size)
            elif payload.fd is None:
                fd = anonymous_file()
                self._opened.append(fd)
                write_all(fd, payload.view())
            else:
                fd = payload.fd
            self.fds.append(fd)

    def close(self) -> None:
        for fd in self._opened:
            os.close(fd)


def receive_into(channel: Channel, fd: int, size: int, most: int = 1 << 30) -> None:
    """Write BODY frames of together `size` bytes into a file."""
    if size > most:
        raise Malformed(f"a body of {size} bytes")
    while size > 0:
        frame = channel.receive(30.0)
        if frame.kind != wire.BODY or not frame.data or len(frame.data) > size:
            raise Malformed("a body that is not as long as it was said to be")
        write_all(fd, frame.data)
        size -= len(frame.data)


def _call_of(asked: wire.ToolAsked, most_ms: float) -> ToolCall:
    return ToolCall(
        name=asked.name,
        arguments=[],
        files=asked.files,
        output_bytes=min(asked.output_bytes, 1 << 30),
        wall_ms=min(asked.wall_ms, most_ms / WALL_FACTOR),
    )


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _folder_bytes(folder: str) -> int:
    """What a tool's folder takes on disk, without following links; stops at 10,000 entries."""
    total = seen = 0
    for at, folders, names in os.walk(folder):
        for name in (*folders, *names):
            seen += 1
            with suppress(OSError):
                found = os.lstat(os.path.join(at, name))
                total += max(found.st_size if stat.S_ISREG(found.st_mode) else 0, found.st_blocks * 512)
            if seen > 10_000:
                return 1 << 62
    return total


def _collect(folder: str, name: str, call: ToolCall) -> int | None:
    """A copy of a regular file that the tool wrote, or None; links are not followed."""
    if not name or "/" in name or "\x00" in name or name in (".", ".."):
        return None
    try:
        fd = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    copy = anonymous_file()
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(copy)
            return None
        left = call.output_bytes
        while chunk := os.read(fd, 1 << 20):
            left -= len(chunk)
            if left < 0:
                os.close(copy)
                raise overflow(call)
            write_all(copy, chunk)
    finally:
        os.close(fd)
    seal(copy)
    return copy
