"""The zygote: started by exec with nothing, loads the sandbox plugins, forks children that share them.

It reads what the broker says and never what a child says; it touches no payload.
"""

from __future__ import annotations

import fcntl
import gc
import itertools
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from stoq_core.config import Config
from stoq_core.errors import PluginLoadError, StoqError
from stoq_core.registry import Plugins, Registry

from . import child, protect
from . import messages as wire
from .plugin_info import info_of
from .wire import Channel, Closed, Frame

_STDERR = 2
_TOOL_FDS = (0, 1, _STDERR, int(wire.TOOL_PAYLOAD.rpartition("/")[2]))
_FIRST_SPARE_FD = 64
_LAST_FD = 65_536


def main(fd: int) -> NoReturn:
    """The process's whole life; `fd` is its end of the broker's socket."""
    os.setsid()
    os.chdir("/")
    os.set_inheritable(fd, False)  # noqa: FBT003 - positional; it came by exec, and no tool may have it
    _silence(fd)
    protect.make_opaque()
    protect.adopt_orphans()
    protect.prepare()
    channel = Channel(socket.socket(fileno=fd), takes_fds=True)
    try:
        _Zygote(channel).run()
    except Closed:
        os._exit(0)
    except StoqError as error:
        channel.send(wire.FAILED, str(error).encode())
    except Exception as error:  # noqa: BLE001 - it is told to the broker, which is all that listens
        channel.send(wire.FAILED, f"the sandbox did not start: {type(error).__name__}: {error}".encode())
    os._exit(1)


def _silence(fd: int) -> None:
    """Nothing inherited stays open, and what C libraries print goes nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for one in (0, 1, _STDERR):
        os.dup2(nowhere, one)
    os.closerange(3, fd)
    os.closerange(fd + 1, _LAST_FD)


class _Zygote:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        start = msgspec.msgpack.decode(channel.receive().data, type=wire.Start)
        self._protector = protect.Protector(start.readable, start.broker_pid)
        registry = Registry(Path(start.shipped), tuple(Path(one) for one in start.extra))
        wanted = [("worker", name) for name in start.workers]
        wanted += [("dispatcher", name) for name in start.dispatchers]
        classes = [info_of(kind, name, registry.load(kind, name)) for kind, name in wanted]
        channel.send(wire.CLASSES, wire.ENCODE(classes))
        settings = msgspec.msgpack.decode(channel.receive(most=1 << 30).data, type=wire.Settings)
        config = msgspec.msgpack.decode(settings.config, type=Config)
        self._bounds = protect.Bounds(
            memory_bytes=settings.memory_bytes, payload_bytes=settings.payload_bytes, cpu_s=settings.cpu_s
        )
        self._plugins = Plugins(registry, config, side="sandbox")
        self._registry = registry
        self._warm()
        loaded = [info_of("worker", one.name, type(one), one) for one in self._plugins.loaded()]
        loaded += [info_of("dispatcher", one.name, type(one), one) for one in self._plugins.dispatchers]
        self._alive: set[int] = set()
        self._tools: set[int] = set()
        self._wake, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        gc.freeze()  # the collector was off since the start (`spawn`): nothing has been looked through
        gc.enable()
        channel.send(wire.READY, wire.ENCODE(loaded))

    def _warm(self) -> None:
        """Bring what the plugins need. One that starts a thread makes every later fork unsafe: refused."""
        plugins: list[Any] = [*self._plugins.dispatchers, *self._plugins.loaded()]
        for plugin in plugins:
            plugin.warm()
            if _threads() > 1:
                raise PluginLoadError(
                    f"{plugin.kind} {plugin.name!r} starts a thread when it is loaded or warmed up, and no"
                    " child can be forked then; let it do that in scan()"
                )

    def run(self) -> None:
        poll = select.poll()
        poll.register(self._channel.sock, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            if not self._channel.pending:
                poll.poll()
            with suppress(BlockingIOError):
                while os.read(self._wake, 4_096):
                    pass
            self._reap()
            if self._channel.readable:
                self._answer(self._channel.receive(most=1 << 30))

    def _answer(self, frame: Frame) -> None:
        if frame.kind == wire.FORK:
            self._fork(*frame.fds)
        elif frame.kind == wire.KILL:
            self._kill(msgspec.msgpack.decode(frame.data, type=int))
        elif frame.kind == wire.DESCRIBE:
            self._describe(frame.data.decode())
        elif frame.kind == wire.RUN_TOOL:
            self._tool(msgspec.msgpack.decode(frame.data, type=wire.RunTool), frame.fds)

    # -- children ---------------------------------------------------------------------------------

    def _fork(self, *fds: int) -> None:
        uid = self._protector.next_uid()
        pid = self._begin()
        if pid == 0:
            self._become_child(*fds, uid=uid)
        for fd in fds:
            os.close(fd)
        self._channel.send(wire.FORKED, wire.ENCODE(wire.Forked(pid)))

    def _begin(self) -> int:
        pid = os.fork()
        if pid:
            self._alive.add(pid)
            return pid
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        return 0

    def _become_child(self, fd: int, bell: int, *, uid: int | None) -> NoReturn:
        try:
            missing = self._protector.worker(uid, self._bounds)
            bell = os.dup(bell)  # so that it is not 3
            os.dup2(fd, 3, inheritable=False)
            os.dup2(bell, 4, inheritable=False)
            os.closerange(5, _LAST_FD)
            channel = Channel(socket.socket(fileno=3), takes_fds=True)
            child.run(child.Outbox(channel, 4), self._plugins, self._bounds, missing)
        finally:
            os._exit(72)

    def _kill(self, pid: int) -> None:
        if pid in self._alive:
            with suppress(ProcessLookupError):
                if pid in self._tools:
                    os.killpg(pid, signal.SIGKILL)
                os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._alive:
                self._alive.discard(pid)
                if pid in self._tools:
                    self._tools.discard(pid)
                    self._end_strays(pid)
                peak = used.ru_maxrss if sys.platform == "darwin" else used.ru_maxrss * 1024
                self._channel.send(wire.EXITED, wire.ENCODE(wire.Exited(pid, status, peak)))

    def _end_strays(self, group: int) -> None:
        """Kill what a tool left running: its group, which it cannot leave; its orphans, which come here."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        for _ in range(100):
            strays = _children() - self._alive
            if not strays:
                return
            for pid in strays:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
                with suppress(ChildProcessError):
                    os.waitpid(pid, 0)

    # -- plugins ----------------------------------------------------------------------------------

    def _describe(self, name: str) -> None:
        """Say what a worker is that the config does not name; later children are forked with it."""
        facts = self._described(name)
        gc.freeze()
        self._channel.send(wire.DESCRIBED, wire.ENCODE(facts))

    def _described(self, name: str) -> wire.PluginInfo:
        try:
            worker = self._plugins.worker(name)
            if worker.runs == "sandbox":
                worker.warm()
        except StoqError as error:
            return wire.PluginInfo("worker", name, error=str(error))
        except Exception as error:  # noqa: BLE001 - a plugin's own code; told to whoever asked for it
            return wire.PluginInfo("worker", name, error=f"worker {name!r}: {type(error).__name__}: {error}")
        facts = info_of("worker", name, type(worker), worker)
        facts.threads = _threads() > 1
        return facts

    # -- tools ------------------------------------------------------------------------------------

    def _tool(self, asked: wire.RunTool, fds: tuple[int, ...]) -> None:
        uid = self._protector.next_uid()
        pid = self._begin()
        if pid == 0:
            self._become_tool(asked, fds, uid)
        self._tools.add(pid)
        for fd in fds:
            os.close(fd)
        self._channel.send(wire.FORKED, wire.ENCODE(wire.Forked(pid)))

    def _become_tool(self, asked: wire.RunTool, fds: tuple[int, ...], uid: int | None) -> NoReturn:
        from stoq_core.tools import environment

        try:
            os.setsid()
            for one in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores
                signal.signal(one, signal.SIG_DFL)
            _keep_only(fds)
            os.chdir(asked.folder)
            if uid is not None:
                os.chown(asked.folder, uid, uid)
            bounds = msgspec.structs.replace(
                self._bounds, file_bytes=asked.output_bytes, cpu_s=asked.cpu_s, files=256, threads=64
            )
            self._protector.tool(uid, bounds, asked)
            # no shell; its folder is where it is, whoever may pass through those above
            os.execve(asked.path, [asked.path, *asked.arguments], environment("."))  # noqa: S606
        except BaseException as error:  # noqa: BLE001 - said where the broker looks for it
            os.write(_STDERR, f"cannot be run: {error}".encode())
        finally:
            os._exit(127)


def _keep_only(fds: tuple[int, ...]) -> None:
    """Standard input, output and error and the payload's descriptor, and nothing else, stay open.

    The zygote's socket above all: who has it speaks to the broker as the zygote.
    """
    spare = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_SPARE_FD) for fd in fds]
    for fd, number in zip(spare, _TOOL_FDS, strict=False):
        os.dup2(fd, number, inheritable=True)
    kept = [-1, *_TOOL_FDS[: len(fds)], _LAST_FD]
    for before, after in itertools.pairwise(kept):
        if before + 1 < after:  # an empty range up to 0 would be all
            os.closerange(before + 1, after)


def _threads() -> int:
    with suppress(OSError):
        return len(os.listdir("/proc/self/task"))
    import threading

    return threading.active_count()


def _children() -> set[int]:
    with suppress(OSError), open(f"/proc/self/task/{os.getpid()}/children") as file:
        return {int(one) for one in file.read().split()}
    return set()
