"""Programs that workers may run on a payload: by name from an allow list, under limits, without a shell."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Protocol

import msgspec

from .body import Body, BodyWriter, anonymous_file, write_all
from .errors import LimitReached, PluginError, Reason
from .limits import MiB
from .operations import Operation

if TYPE_CHECKING:  # what only running a tool needs is imported there: a tenth of a cold start
    import subprocess

SEARCHED = (
    *("/usr/lib/7zip", "/usr/lib/p7zip"),
    *("/usr/local/bin", "/usr/bin", "/bin", "/opt/bin", "/opt/homebrew/bin"),
)
"""Where a tool is looked for that `sandbox.tools` does not place; the caller's PATH is not asked.

Debian's /usr/bin/7z is a script that starts another program, which the sandbox lets no tool do: the
program itself comes first.
"""

STDERR_BYTES = 64 * 1024
"""What is kept of what a tool says on standard error."""

_READ_BYTES = 1 << 16
_GRACE_S = 5.0


class ToolRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool left: exit code (negative: the signal that ended it), outputs, the files asked for."""

    code: int
    stdout: Body
    stderr: str = ""
    files: dict[str, Body] = {}


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call: a program, one of its operations by name and as its plugin declared it, and the bytes.

    `output_bytes` bounds all that the tool writes: its outputs and the files in its folder together.
    """

    name: str
    operation: str
    template: Operation
    body: Body
    parameters: Mapping[str, str] = {}
    output_bytes: int = 64 * MiB
    wall_ms: float = 30_000


class ToolRunner(Protocol):
    """Runs tools for a worker: here in a process of this one's, in the sandbox through the broker."""

    def run(self, call: ToolCall) -> ToolRun:
        """Run to the end. Raises `PluginError`: `tool_missing`, `timeout`, or `too_many_bytes`."""


def find(name: str, placed: Mapping[str, str]) -> str | None:
    """The program's absolute path, as `sandbox.tools` places it or where systems keep theirs."""
    import shutil

    path = placed.get(name) or shutil.which(name, path=":".join(SEARCHED))
    return path if path and os.path.isabs(path) and os.access(path, os.X_OK) else None


def environment(folder: str) -> dict[str, str]:
    """All that a tool learns from its environment: English, UTC, and its own folder."""
    return {"PATH": ":".join(SEARCHED), "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": folder, "TMPDIR": folder}


def missing(name: str) -> PluginError:
    """For a tool that nobody can find or that no plugin declared."""
    advice = f"install it or place it with sandbox.tools.{name}; `stoq doctor` shows what is there"
    return PluginError("tool_missing", f"no tool {name!r}: {advice}", reason=Reason.PLUGIN_MISSING)


def overtime(call: ToolCall) -> PluginError:
    """For a tool that was stopped."""
    message = f"{call.name} was stopped after {call.wall_ms:.0f} ms"
    return PluginError("timeout", message, reason=Reason.TIMEOUT, allowed=int(call.wall_ms))


def overflow(call: ToolCall) -> LimitReached:
    """For a tool that wrote more than it may."""
    message = f"{call.name} wrote more than {call.output_bytes} bytes"
    return LimitReached(Reason.TOO_MANY_BYTES, message, allowed=call.output_bytes)


class LocalTools:
    """Tools as processes of this process (inline mode): own session, own folder, no inherited anything."""

    def __init__(self, placed: Mapping[str, str] | None = None, allowed: Sequence[str] | None = None) -> None:
        """`placed` are paths by name (`sandbox.tools`); None for `allowed` lets any name through."""
        self._placed = dict(placed or {})
        self._allowed = allowed

    def run(self, call: ToolCall) -> ToolRun:
        """See `ToolRunner`."""
        import subprocess
        import tempfile

        allowed = self._allowed is None or call.name in self._allowed
        path = find(call.name, self._placed) if allowed else None
        if path is None:
            raise missing(call.name)
        template, line = call.template, call.template.line(call.parameters)
        with (
            tempfile.TemporaryDirectory(prefix="stoq-tool-") as folder,
            _path(call, folder) as (where, fds),
            _stdin(line) as stdin,
        ):
            process = subprocess.Popen(  # noqa: S603 - the program comes from the allow list
                [path, *template.filled(where, call.parameters)],
                cwd=folder,
                env=environment(folder),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=fds,
                start_new_session=True,
            )
            with process:
                try:
                    stdout, stderr = _collect(process, call)
                finally:
                    _end(process)
            files = {
                name: _read(os.path.join(folder, name), call) for name in template.files if plain_name(name)
            }
        found = {name: body for name, body in files.items() if body is not None}
        return ToolRun(code=process.returncode, stdout=stdout, stderr=stderr, files=found)


def plain_name(name: str) -> bool:
    """True for a name of an output that is one: no path, no place."""
    return bool(name) and "/" not in name and name not in (".", "..") and "\x00" not in name


@contextmanager
def _stdin(line: bytes) -> Iterator[int]:
    """A descriptor that this is read from."""
    fd = anonymous_file() if line else os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        write_all(fd, line)
        if line:
            os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _path(call: ToolCall, folder: str) -> Iterator[tuple[str, list[int]]]:
    """Where the call's bytes are to be read, and the descriptors that this path needs."""
    if call.template.copied or not os.path.isdir("/proc/self/fd"):
        path = os.path.join(folder, ".input")
        with open(path, "wb") as file:
            file.write(call.body.view())
        yield path, []
        return
    fd = call.body.fd
    own = anonymous_file() if fd is None else None
    try:
        if own is not None:
            write_all(own, call.body.view())
        fd = own if fd is None else fd
        assert fd is not None
        yield f"/proc/self/fd/{fd}", [fd]
    finally:
        if own is not None:
            os.close(own)


def _collect(process: subprocess.Popen[bytes], call: ToolCall) -> tuple[Body, str]:
    """Read both pipes until the tool closes them; counted while it writes."""
    import selectors
    import subprocess

    until = time.monotonic() + call.wall_ms / 1000
    writer, said = BodyWriter(), bytearray()
    out, err = process.stdout, process.stderr
    assert out is not None
    assert err is not None
    with selectors.DefaultSelector() as ready:
        ready.register(out, selectors.EVENT_READ)
        ready.register(err, selectors.EVENT_READ)
        while ready.get_map():
            left = until - time.monotonic()
            if left <= 0:
                raise overtime(call)
            for key, _ in ready.select(left):
                chunk = os.read(key.fd, _READ_BYTES)
                if not chunk:
                    ready.unregister(key.fileobj)
                elif key.fileobj is err:
                    said += chunk[: STDERR_BYTES - len(said)]
                elif writer.size + len(chunk) > call.output_bytes:
                    raise overflow(call)
                else:
                    writer.write(chunk)
    try:
        process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise overtime(call) from None
    return writer.finish(), said.decode("utf-8", "replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the tool and what it started, unless that is over by itself."""
    import signal

    with suppress(ProcessLookupError, PermissionError):  # nothing is left of its group
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_GRACE_S)


def _read(path: str, call: ToolCall) -> Body | None:
    """A regular file that the tool wrote, or None; links are not followed."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    with os.fdopen(fd, "rb") as file:
        return _kept(file, call)


def _kept(file: IO[bytes], call: ToolCall) -> Body:
    writer = BodyWriter()
    while chunk := file.read(_READ_BYTES):
        if writer.size + len(chunk) > call.output_bytes:
            raise overflow(call)
        writer.write(chunk)
    return writer.finish()
