"""The broker's hold on the zygote: start it, ask it for children, hear of their ends."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any

import msgspec

from stoq_core.config import Config
from stoq_core.errors import PluginLoadError, StoqError

from . import messages as wire
from . import spawn
from .threads import MOST_THREADS, Crowd, threads_of
from .wire import Channel, Closed, Frame, Malformed, Overdue

_FACTS = wire.Said(list[wire.PluginInfo])
_DESCRIBED, _FORKED, _EXITED = wire.Said(wire.PluginInfo), wire.Said(wire.Forked), wire.Said(wire.Exited)
_START_S = 60.0
_ANSWER_S = 30.0
_AHEAD_BYTES = 1 << 20
"""What a child may have said that the broker has not taken in, where the system allows as much."""


class ZygoteGone(StoqError):
    """The zygote ended; a new one is started by whoever needs it."""


class Birth:
    """A child that was asked for: its channel can be used at once, its process id comes later."""

    __slots__ = ("channel", "dismissed", "error", "pid")

    def __init__(self, channel: Channel) -> None:
        """`channel` is the broker's end."""
        self.channel = channel
        self.pid: int | None = None
        self.error = ""
        self.dismissed = False

    def count_threads(self) -> None:
        """Raise `Crowd` for a child that has begun too many."""
        if self.pid is not None and threads_of(self.pid) > MOST_THREADS:
            raise Crowd


class Zygote:
    """One zygote process and the socket to it; every method may be called from any thread."""

    def __init__(self, start: wire.Start, python: str = sys.executable) -> None:
        """Start it, and do not wait for it."""
        self._lock = threading.RLock()
        self._closed = True
        self._settled = False
        self._births: deque[Birth] = deque()
        self._exits: dict[int, wire.Exited] = {}
        self._dismissed: set[int] = set()
        self._alive: set[int] = set()
        self._describing = False
        try:
            self._process = spawn.take(python)
        except OSError as error:
            raise StoqError(f"the sandbox cannot be started with {python}: {error.strerror}") from None
        self._closed = False
        self._channel = Channel(self._process.sock, takes_fds=False)
        with suppress(Closed):  # it died already: told when the first answer is read
            self._channel.send(0, wire.ENCODE(start))

    def classes(self) -> list[wire.PluginInfo]:
        """What the named plugins declare. Raises the zygote's own complaint."""
        return self._facts(self._expect(wire.CLASSES))

    def send_settings(self, config: Config, settings: wire.Settings) -> None:
        """Send the plugins' settings; children can be asked for from now on."""
        settings.config = msgspec.msgpack.encode(config)
        self._channel.send(wire.SETTINGS, wire.ENCODE(settings))

    def loaded(self) -> list[wire.PluginInfo]:
        """The facts of all plugins that were loaded. Raises the zygote's own complaint."""
        facts = self._facts(self._expect(wire.READY))
        self._settled = True
        return facts

    def _expect(self, kind: int) -> Frame:
        try:
            frame = self._channel.receive(_START_S, most=1 << 30)
        except (Closed, Overdue, Malformed) as error:
            self.close()
            raise ZygoteGone(f"the sandbox did not start: {error or 'no answer'}") from None
        if frame.kind == wire.FAILED:
            self.close()
            raise PluginLoadError(frame.data.decode("utf-8", "replace"))
        if frame.kind != kind:
            raise self._distrusted(f"a frame of kind {frame.kind} instead of {kind}")
        return frame

    def _facts(self, frame: Frame) -> list[wire.PluginInfo]:
        try:
            return _FACTS.decode(frame.data)
        except Malformed as error:
            raise self._distrusted(str(error)) from None

    # -- children ---------------------------------------------------------------------------------

    def fork(self) -> Birth:
        """Ask for a child and go on."""
        mine, its = socket.socketpair()
        its.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _AHEAD_BYTES)
        heard, rung = os.pipe()
        birth = Birth(Channel(mine, takes_fds=False, bell=heard, most=wire.MOST_BYTES))
        try:
            with self._lock, its:
                self._catch_up()
                self._births.append(birth)
                self._send(wire.FORK, None, (its.fileno(), rung))
        except StoqError:
            birth.channel.close()
            raise
        finally:
            os.close(rung)
        return birth

    def run(self, asked: wire.RunTool, fds: tuple[int, ...]) -> int:
        """Start a tool; its process id. The descriptors stay the caller's."""
        birth = Birth(self._channel)
        with self._lock:
            self._births.append(birth)
            self._send(wire.RUN_TOOL, asked, fds)
            return self._pid_of(birth)

    def kill(self, birth: Birth) -> wire.Exited:
        """End a child and everything it started; how it ended, which may have been by itself."""
        with self._lock:
            pid = self._pid_of(birth)
            self._send(wire.KILL, pid)
        return self.exit_of(pid, _ANSWER_S)

    def dismiss(self, birth: Birth) -> None:
        """Hang up on a child and have it killed, without waiting: it may have been taken over."""
        birth.channel.close()
        birth.dismissed = True
        with self._lock, suppress(ZygoteGone):
            self._catch_up()
            if birth.pid is not None:
                self._end(birth)

    def _end(self, birth: Birth) -> None:
        assert birth.pid is not None
        if self._exits.pop(birth.pid, None) is None:
            self._dismissed.add(birth.pid)
            self._send(wire.KILL, birth.pid)

    def _catch_up(self) -> None:
        """Take in all that the zygote has said, so that it never waits for this process."""
        if self._closed:
            raise ZygoteGone("the sandbox's zygote is gone")
        while self._settled and self._channel.readable:
            self._hear(_ANSWER_S)

    def end_of(self, birth: Birth, wait_s: float) -> wire.Exited:
        """How a child ended by itself. Raises `Overdue` if it lives on."""
        with self._lock:
            pid = self._pid_of(birth)
        return self.exit_of(pid, wait_s)

    def kill_tool(self, pid: int) -> wire.Exited:
        """The same for a tool."""
        self._send(wire.KILL, pid)
        return self.exit_of(pid, _ANSWER_S)

    def exit_of(self, pid: int, wait_s: float) -> wire.Exited:
        """How a child ended. Raises `Overdue` if it has not."""
        until = time.monotonic() + wait_s
        while True:
            with self._lock:
                if pid in self._exits:
                    return self._exits.pop(pid)
                left = until - time.monotonic()
                if left <= 0:
                    raise Overdue
                with suppress(Overdue):
                    self._hear(min(left, 0.05))

    def describe(self, name: str) -> wire.PluginInfo:
        """The facts of a worker that the config does not name."""
        with self._lock:
            self._send_raw(wire.DESCRIBE, name.encode("utf-8", "replace"))
            until = time.monotonic() + _ANSWER_S
            self._describing = True
            frame = None
            while frame is None:
                frame = self._must_hear(until)
            self._describing = False
            try:
                return _DESCRIBED.decode(frame.data)
            except Malformed as error:
                raise self._distrusted(str(error)) from None

    def _pid_of(self, birth: Birth) -> int:
        until = time.monotonic() + _ANSWER_S
        while birth.pid is None:
            self._must_hear(until)
        if birth.error:
            raise ZygoteGone(birth.error)
        return birth.pid

    def _send(self, kind: int, message: Any, fds: tuple[int, ...] = ()) -> None:
        with self._lock:
            self._send_raw(kind, wire.ENCODE(message), fds)

    def _send_raw(self, kind: int, data: bytes, fds: tuple[int, ...] = ()) -> None:
        try:
            self._channel.send(kind, data, fds, _ANSWER_S)
        except (Closed, Overdue) as error:
            raise ZygoteGone(f"the sandbox's zygote is gone: {error}") from None

    def _must_hear(self, until: float) -> Frame | None:
        try:
            return self._hear(until - time.monotonic())
        except Overdue:
            raise ZygoteGone("the sandbox's zygote does not answer") from None

    def _hear(self, wait_s: float) -> Frame | None:
        """Take in one message; the facts that `describe` waits for, or None.

        A zygote never says what it was not asked for: one that does is not ours any more, and ended.
        """
        try:
            frame = self._channel.receive(wait_s)
            if frame.kind == wire.EXITED:
                self._exited(_EXITED.decode(frame.data))
            elif frame.kind == wire.FORKED:
                self._forked(_FORKED.decode(frame.data))
            elif frame.kind == wire.DESCRIBED and self._describing:
                return frame
            else:
                raise Malformed(f"a frame of kind {frame.kind}: {frame.data[:200]!r}")
        except Closed as error:
            raise ZygoteGone(f"the sandbox's zygote is gone: {error}") from None
        except Malformed as error:
            raise self._distrusted(str(error)) from None
        return None

    def _exited(self, exited: wire.Exited) -> None:
        if exited.pid not in self._alive:
            raise Malformed(f"the end of {exited.pid}, which was never there")
        self._alive.discard(exited.pid)
        if exited.pid in self._dismissed:
            self._dismissed.discard(exited.pid)
        else:
            self._exits[exited.pid] = exited

    def _forked(self, forked: wire.Forked) -> None:
        if not self._births or forked.pid <= 1 or forked.pid in self._alive:
            raise Malformed(f"a process {forked.pid} that nobody asked for")
        birth = self._births.popleft()
        birth.pid, birth.error = forked.pid, forked.error
        self._alive.add(forked.pid)
        self._exits.pop(forked.pid, None)  # of an earlier process that nobody asked about
        if birth.dismissed:
            self._end(birth)

    def _distrusted(self, why: str) -> ZygoteGone:
        """End a zygote that cannot be believed, and all its children; what to raise."""
        self.close()
        return ZygoteGone(f"the sandbox's zygote broke its protocol and was ended: {why}"[:1_000])

    def __del__(self) -> None:
        """Whoever forgot to close it leaves no process behind."""
        if not getattr(self, "_closed", True):
            self.close()

    def close(self) -> None:
        """End it and all its children; once is enough."""
        if self._closed:
            return
        self._closed = True
        self._channel.close()
        spawn.end(self._process)

    @property
    def pid(self) -> int:
        """Of the zygote's process."""
        return self._process.pid
