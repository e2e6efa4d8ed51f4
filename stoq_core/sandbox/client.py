"""The executor that examines payloads in sandboxed children, and outlives whatever happens to them."""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from stoq_core.config import Config
from stoq_core.errors import ConfigError
from stoq_core.limits import MiB
from stoq_core.options import did_you_mean

from . import landlock
from . import messages as wire
from .control import Zygote, ZygoteGone
from .holdings import EarlyBytes, Holdings
from .index import Index
from .pool import ProcessPool, SandboxProcess
from .protect import PROTECTIONS, make_opaque
from .reading import readable

if TYPE_CHECKING:
    from stoq_core.payload import Payload
    from stoq_core.scan.examine import Ahead, PluginSource, Task
    from stoq_core.scan.executor import Inline
    from stoq_core.scan.journal import Journal, Listener

    from .toolbox import Toolbox

_MOST_ZYGOTES = 5
_RESERVATIONS = 256 * MiB
"""Address space that threads and allocators reserve but do not use."""


_WAITING_BYTES = MiB
"""A payload in memory that is larger waits where it is until a child has nothing to do."""

_MOVING = threading.Lock()


class Sandbox:
    """An `Executor` over a zygote and its children; `begin` and `ready` before the first payload.

    Made early in a cold start: after `begin` the zygote loads its plugins and forks while the broker
    imports the engine and opens its own plugins. So nothing is imported here before it is used.
    """

    def __init__(
        self, config: Config, shipped: Path, extra: tuple[Path, ...], *, python: str = sys.executable
    ) -> None:
        """Become opaque and start the zygote, without waiting for it."""
        _check_names(config)
        make_opaque()
        self._config = config
        self._python = python
        self._zygotes = 0
        self._begun = self._ready = False
        self._broker: Inline | None = None
        self._pid = os.getpid()
        self._start = wire.Start(
            shipped=str(shipped),
            extra=[str(one) for one in extra],
            workers=sorted({*config.scan.always, *config.scan.start, *config.worker}),
            dispatchers=list(config.scan.dispatchers),
            readable=readable(config, shipped, extra),
            broker_pid=os.getpid(),
        )
        self.processes = config.sandbox.processes or _cores()
        self.pool = ProcessPool(config.sandbox, self.processes, self._born)
        self.works_ahead = True
        self.early = EarlyBytes()
        self.holdings = Holdings(config.limits.request_result_bytes * 7 // 8)
        self._zygote = self._new_zygote()
        self._old: list[Zygote] = []
        self.index = Index((), (), _nothing)
        self._broker_facts: list[wire.PluginInfo] = []
        self._toolbox: Toolbox | None = None

    # -- starting ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Have the zygote load its plugins and fork children, without waiting for that."""
        self._send_settings()
        self._begun = True
        with suppress(ZygoteGone):  # `ready` hears why
            self.pool.fill()

    def ready(self) -> None:
        """Wait for the zygote. Raises what a bad deployment raises: `PluginLoadError`, `ConfigError`."""
        try:
            if not self._begun:
                self.begin()
            self._learn()
            self.pool.handshake_one()
        except BaseException:
            self.close()
            raise

    def _new_zygote(self) -> Zygote:
        self._zygotes += 1
        if self._zygotes > _MOST_ZYGOTES:
            raise ZygoteGone(
                f"the sandbox's zygote ended {_MOST_ZYGOTES} times in a row; `stoq doctor` may say why"
            )
        return Zygote(self._start, self._python)

    def _move_in(self) -> None:
        """Begin anew in a process that was forked from the one that started, as gunicorn does."""
        with _MOVING:
            if self._pid == os.getpid():
                return
            self.pool.abandon()
            self.pool = ProcessPool(self._config.sandbox, self.processes, self._born)
            self._old = []
            self._zygote.close()
            make_opaque()
            self._start = msgspec.structs.replace(self._start, broker_pid=os.getpid())
            self._toolbox = None  # its place belongs to the process that this one was forked from
            self._zygotes = 0
            self._zygote = self._new_zygote()
            self._send_settings()
            self._learn()
            self._pid = os.getpid()

    def _send_settings(self) -> None:
        """Send the settings of the sandbox's own plugins, once it is known which those are."""
        self._broker_facts = [one for one in self._zygote.classes() if one.runs == "broker"]
        limits = self._config.limits
        settings = wire.Settings(
            config=b"",
            memory_bytes=limits.sandbox_bytes + _RESERVATIONS,
            payload_bytes=limits.payload_bytes,
            cpu_s=2 * limits.request_wall_ms // 1000 + 60,
        )
        self._zygote.send_settings(_for_zygote(self._config, self.broker_workers), settings)

    def _learn(self) -> None:
        loaded = self._zygote.loaded()
        self.index = Index(self._config.scan.always, [*loaded, *self._broker_facts], self._described)
        self._ready = True

    @property
    def broker_workers(self) -> list[str]:
        """The configured workers that run in the broker, by name."""
        return [one.name for one in self._broker_facts]

    def _described(self, name: str) -> wire.PluginInfo:
        facts = self._zygote.describe(name)
        if facts.threads:  # it started one, and a process with two must not fork
            with self.pool.lock:
                self._again()
        return facts

    @property
    def toolbox(self) -> Toolbox:
        """What runs tools; made for the first one that is asked for."""
        with self.pool.lock:
            if self._toolbox is None:
                from .toolbox import Toolbox

                self._toolbox = Toolbox(
                    self._config.sandbox.tools,
                    limits=self._config.limits,
                    confined=bool(landlock.abi()),
                    unconfined_accepted="tool_files" in self._config.sandbox.accept_missing,
                )
            return self._toolbox

    def attend(self, broker: PluginSource) -> None:
        """The plugins of the broker's own, for the last round of each payload."""
        from stoq_core.scan.executor import Inline

        self._broker = Inline(broker)

    @property
    def facts(self) -> dict[str, Any]:
        """What `stats.sandbox` says: the protections in force, what is missing and why."""
        missing = self.pool.missing
        held = [name for name in PROTECTIONS if name not in missing]
        return {"mode": "process", "protections": held, "missing": missing, "processes": self.processes}

    # -- children ---------------------------------------------------------------------------------

    def _born(self) -> SandboxProcess:
        """A new child, of a new zygote where there must be one."""
        for _ in range(2):
            try:
                return SandboxProcess(self._zygote, self._zygote.fork())
            except ZygoteGone:
                if not self._ready:
                    raise
                self._again()
        raise ZygoteGone("the sandbox's zygote ends at once")

    def _again(self) -> None:
        """A new zygote; the old one, if it lives, ends with the last of its children that is at work."""
        self.pool.retire_idle()
        self._old.append(self._zygote)
        self._zygote = self._new_zygote()
        self._send_settings()
        self._learn()
        self._end_old()

    def _end_old(self) -> None:
        at_work = self.pool.at_work()
        for zygote in [one for one in self._old if one not in at_work]:
            self._old.remove(zygote)
            zygote.close()

    def done(self, process: SandboxProcess, done: wire.Done) -> None:
        """A child has examined a payload to its end."""
        self._zygotes = 0
        self.pool.give_back(process, done, self._zygote)

    def rest(self, request: str) -> None:
        """A request is over (`ProcessPool.rest`)."""
        self.pool.rest(request)
        self.early.forget(request)
        self.holdings.forget(request)
        with self.pool.lock:
            self._end_old()

    @functools.cached_property
    def _runs(self) -> Any:
        from . import run

        return run

    # -- Executor ---------------------------------------------------------------------------------

    def run(self, task: Task, listener: Listener) -> Journal:
        """In a child; a broker worker's round runs here."""
        if task.runs == "broker":
            assert self._broker is not None
            return self._broker.run(task, listener)
        process = None if self.holdings.full(task.request) else self.take(task.request)
        run: Journal = self._runs.SandboxRun(self, task, process).finish(listener)
        return run

    def start_ahead(self, payload: Payload, request: str, task: Callable[[], Task]) -> Ahead | None:
        """Begin in a child that is idle, or give the payload to one that comes to it next."""
        if self._pid != os.getpid():
            self._move_in()
        if self.holdings.full(request):
            return None
        body = payload.body
        costs = body.size if body.fd is None else 0  # what waits is a copy then
        if self.early.due(request) and (several := self.pool.several(request)):
            self._runs.hear_early(several)
        process = self.pool.join(request, in_queue=costs <= _WAITING_BYTES)
        if process is None:
            return None

        begun = task()
        return begun, self._runs.SandboxRun(self, begun, process)

    def take(self, request: str) -> SandboxProcess:
        """A child that begins at once."""
        if self._pid != os.getpid():
            self._move_in()
        return self.pool.take(request)

    def close(self) -> None:
        """End everything."""
        self.pool.close()
        with self.pool.lock:
            self._end_old()
            self._zygote.close()
            if self._toolbox is not None:
                self._toolbox.close()


def _check_names(config: Config) -> None:
    """Refuse a protection that there is not: it would protect nobody."""
    for option in ("require", "accept_missing"):
        for name in getattr(config.sandbox, option) or ():
            if name not in PROTECTIONS:
                hint = did_you_mean(name, PROTECTIONS) or f" There are: {', '.join(PROTECTIONS)}."
                raise ConfigError(f"sandbox.{option}: no protection is named {name!r}.{hint}")


def _nothing(name: str) -> wire.PluginInfo:
    return wire.PluginInfo("worker", name, error="the sandbox is not ready")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _for_zygote(config: Config, broker_workers: list[str]) -> Config:
    """The settings of the sandbox's plugins alone: no store's, no service's, no passwords."""
    ours = {name: options for name, options in config.worker.items() if name not in broker_workers}
    scan = msgspec.structs.replace(
        config.scan, passwords=(), archivers=(), connectors=(), decorators=(), fetch={}
    )
    return msgspec.structs.replace(
        config, scan=scan, worker=ours, decorator={}, archiver={}, connector={}, provider={}, trigger={}
    )
