"""The broker's side of `job.tool`: check what a child asks for, run it in a process of its own, answer."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress

from stoq_core.body import Body, anonymous_file, seal, write_all
from stoq_core.errors import LimitReached, PluginError, Reason
from stoq_core.limits import WALL_FACTOR, Clock, RequestLimits
from stoq_core.operations import Operation, Tool, operation_of, refused
from stoq_core.tools import STDERR_BYTES, ToolCall, find, missing, overflow, overtime, plain_name

from . import messages as wire
from .control import Zygote
from .handing import handed, is_sealed, read_only, sealed_copy
from .scratch import FULL, Scratch, held_bytes
from .threads import MOST_THREADS, threads_of
from .wire import Channel, Malformed, Overdue

_LOOK_S = 0.02
_ANSWER_S = 10.0
_MOST_CPU_S = 3_600
_INPUT = ".input"
_PIPE_BYTES = 1 << 16

UNCONFINED = "tools would read and write what this user can: the kernel has no Landlock"
"""Why no tool runs, unless `sandbox.accept_missing` names `tool_files`."""


class Toolbox:
    """Runs the tools that plugins declare, in the ways they declare, and in no others."""

    def __init__(
        self,
        placed: Mapping[str, str],
        *,
        limits: RequestLimits,
        confined: bool = True,
        unconfined_accepted: bool = False,
        clock: Clock = time.monotonic,
    ) -> None:
        """`placed` are paths by name (`sandbox.tools`); `confined` where Landlock holds a tool's files."""
        self._placed = dict(placed)
        self._runs = confined or unconfined_accepted
        self._confined = confined
        self._limits = limits
        self._clock = clock
        self._scratch = Scratch()

    def close(self) -> None:
        """Remove the folder that tools had."""
        self._scratch.close()

    def answer(
        self,
        zygote: Zygote,
        channel: Channel,
        asked: wire.ToolAsked,
        payload: Body,
        declared: Mapping[str, Tool],
        most_ms: float,
    ) -> None:
        """Run what a child asked for and send it the outcome.

        `declared` are the tools of the plugin that runs, and `most_ms` is the time that it has left.
        """
        until = self._clock() + most_ms / 1000
        fds: list[int] = []
        try:
            ran = self._answer(zygote, channel, asked, payload, declared, until, fds)
        except OSError as error:
            message = f"{asked.name} cannot be run here: {error.strerror or error}"
            ran = wire.ToolRan(error=("tool_refused", message, Reason.PLUGIN_FAILED, None))
        except PluginError as error:
            ran = wire.ToolRan(error=(error.code, error.message, error.reason, error.allowed))
        try:
            given = tuple(fds) if ran.error is None else ()
            channel.send(wire.TOOL_RAN, wire.ENCODE(ran), given, _ANSWER_S)
        finally:
            for fd in fds:
                os.close(fd)

    def _answer(
        self,
        zygote: Zygote,
        channel: Channel,
        asked: wire.ToolAsked,
        payload: Body,
        declared: Mapping[str, Tool],
        until: float,
        fds: list[int],
    ) -> wire.ToolRan:
        """All is checked before one byte of a body is taken in."""
        template = operation_of(declared, asked.name, asked.operation)
        path = find(asked.name, self._placed) if template is not None else None
        if template is None or path is None:
            raise missing(asked.name)
        if not self._runs:
            raise PluginError("tool_missing", f"{asked.name}: {UNCONFINED}", reason=Reason.PLUGIN_MISSING)
        template.filled(_INPUT, asked.parameters)
        call = _call_of(asked, template, (until - self._clock()) * 1000, self._limits.held_bytes)
        most = self._limits.payload_bytes
        if asked.size > most:
            raise LimitReached(Reason.TOO_LARGE, f"{asked.size} bytes for {asked.name}", allowed=most)
        body = payload if asked.size < 0 else _body_of(channel, asked.size, until, self._clock)
        tool = declared[asked.name]
        with self._scratch.folder() as (folder, at):
            return _Running(self, zygote, call, (folder, at), until).run(path, tool, body, fds)

    @property
    def clock(self) -> Clock:
        """What time is kept by."""
        return self._clock

    @property
    def confined(self) -> bool:
        """True if a tool that cannot be held to its folder does not start."""
        return self._confined


class _Running:
    """One tool while it runs."""

    def __init__(
        self, toolbox: Toolbox, zygote: Zygote, call: ToolCall, folder: tuple[int, str], until: float
    ) -> None:
        self._toolbox = toolbox
        self._zygote = zygote
        self._call = call
        self._folder, self._at = folder
        self._until = min(until, toolbox.clock() + WALL_FACTOR * call.wall_ms / 1000)
        """Its processor time is bounded where it runs, and what it waits for here."""
        self._inputs = 0
        self._said = bytearray()

    def run(self, path: str, tool: Tool, body: Body, fds: list[int]) -> wire.ToolRan:
        """To its end; standard output and the files that it left are `fds` then."""
        template, given = self._call.template, self._call.parameters
        out = anonymous_file()
        heard, said = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK) if hasattr(os, "pipe2") else os.pipe()
        os.set_blocking(said, True)
        opened = [out, heard, said]
        try:
            opened.append(_stdin(template.line(given)))
            passed = [opened[-1], out, said]
            where = f"./{_INPUT}"
            if template.copied:
                self._inputs = _copy_into(self._folder, body)
            else:
                opened.append(handed(body))
                passed.append(opened[-1])
                where = wire.TOOL_PAYLOAD
            order = wire.RunTool(
                path=path,
                arguments=template.filled(where, given),
                folder=self._at,
                reads=_readable(path, tool),
                output_bytes=self._call.output_bytes,
                cpu_s=min(_MOST_CPU_S, int(self._call.wall_ms / 1000) + 1),
                confined=self._toolbox.confined,
            )
            exited = self._wait(self._zygote.run(order, tuple(passed)), out, heard)
            names = self._outputs(out, fds)
        finally:
            for fd in opened:
                os.close(fd)
        stderr = bytes(self._said[:STDERR_BYTES]).decode("utf-8", "replace")
        return wire.ToolRan(os.waitstatus_to_exitcode(exited.status), stderr, names)

    def _wait(self, pid: int, out: int, heard: int) -> wire.Exited:
        """Until it ends. Time, threads and all that it writes are looked at as it goes on."""
        while True:
            exited = None
            with suppress(Overdue):
                exited = self._zygote.exit_of(pid, _LOOK_S)
            self._listen(heard)
            trouble = self._trouble(pid, out, exited)
            if trouble is not None:
                if exited is None:
                    self._zygote.kill_tool(pid)
                raise trouble
            if exited is not None:
                return exited

    def _trouble(self, pid: int, out: int, exited: wire.Exited | None) -> PluginError | None:
        ended_by = os.WTERMSIG(exited.status) if exited and os.WIFSIGNALED(exited.status) else 0
        held = held_bytes(self._folder)
        written = os.fstat(out).st_size + len(self._said) + (held - self._inputs if held < FULL else FULL)
        if ended_by == signal.SIGXFSZ or written > self._call.output_bytes + STDERR_BYTES:
            return overflow(self._call)
        if ended_by == signal.SIGXCPU or (exited is None and self._toolbox.clock() > self._until):
            return overtime(self._call)
        if exited is None and threads_of(pid) > MOST_THREADS:
            message = f"{self._call.name} began more than {MOST_THREADS} threads"
            return PluginError("memory", message, reason=Reason.MEMORY, allowed=MOST_THREADS)
        return None

    def _listen(self, heard: int) -> None:
        """Take what stands in the pipe of standard error; what is more than is kept is let go."""
        with suppress(BlockingIOError):
            while part := os.read(heard, _PIPE_BYTES):
                self._said += part[: STDERR_BYTES - len(self._said)]
                if len(part) < _PIPE_BYTES:
                    return

    def _outputs(self, out: int, fds: list[int]) -> list[str]:
        """Descriptors of standard output and of each file that is there; the files' names."""
        seal(out)
        if is_sealed(out):
            fds.append(read_only(out))
        else:
            fds.append(sealed_copy(Body.from_fd(os.dup(out))))
        names = []
        for name in self._call.template.files:
            body = _collected(self._folder, name, self._call)
            if body is not None:
                names.append(name)
                fds.append(handed(body))
        return names


def _stdin(line: bytes) -> int:
    return sealed_copy(Body(line)) if line else os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def _copy_into(folder: int, body: Body) -> int:
    """The body as a file that the tool may read; its size."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(_INPUT, flags, 0o644, dir_fd=folder)
    try:
        os.fchmod(fd, 0o644)
        write_all(fd, body.view())
        body.rest()
    finally:
        os.close(fd)
    return held_bytes(folder)


def _readable(path: str, tool: Tool) -> list[str]:
    """Files that the tool needs: absolute paths, or names beside the program."""
    real = os.path.dirname(os.path.realpath(path))
    beside = [name for name in tool.reads if not os.path.isabs(name) and plain_name(name)]
    return [
        *(name for name in tool.reads if os.path.isabs(name)),
        *(os.path.join(folder, name) for name in beside for folder in {os.path.dirname(path), real}),
    ]


def _body_of(channel: Channel, size: int, until: float, clock: Clock) -> Body:
    """What the child sends, once it is told to: BODY frames of together `size` bytes, in its time."""
    channel.send(wire.TOOL_SEND, b"", (), _ANSWER_S)
    fd = anonymous_file()
    try:
        while size > 0:
            frame = channel.receive(until - clock())
            if frame.kind != wire.BODY or not frame.data or len(frame.data) > size:
                raise Malformed("a body that is not as long as it was said to be")
            write_all(fd, frame.data)
            size -= len(frame.data)
            if clock() > until:
                raise Overdue
        seal(fd)
        return Body.from_fd(os.dup(fd))
    finally:
        os.close(fd)


def _call_of(asked: wire.ToolAsked, template: Operation, left_ms: float, most_bytes: int) -> ToolCall:
    if left_ms <= 0 or not asked.wall_ms > 0:  # nor is NaN
        raise refused(f"no time is left for {asked.name}")
    return ToolCall(
        name=asked.name,
        operation=asked.operation,
        template=template,
        body=Body(b""),
        parameters=asked.parameters,
        output_bytes=min(asked.output_bytes, most_bytes),
        wall_ms=min(asked.wall_ms, left_ms),
    )


def _collected(folder: int, name: str, call: ToolCall) -> Body | None:
    """A copy of a regular file that the tool wrote, or None; links are not followed."""
    if not plain_name(name):
        return None
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return None
    copy = -1
    try:
        if not _is_plain(fd):
            return None
        copy = anonymous_file()
        left = call.output_bytes
        while chunk := os.read(fd, 1 << 20):
            left -= len(chunk)
            if left < 0:
                raise overflow(call)
            write_all(copy, chunk)
        seal(copy)
        return Body.from_fd(os.dup(copy))
    finally:
        os.close(fd)
        if copy >= 0:
            os.close(copy)


def _is_plain(fd: int) -> bool:
    import stat

    return stat.S_ISREG(os.fstat(fd).st_mode)
