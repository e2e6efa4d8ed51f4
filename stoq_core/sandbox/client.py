"""The executor that examines payloads in sandboxed children, and outlives whatever happens to them."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from stoq_core.config import Config
from stoq_core.errors import ConfigError, StoqError
from stoq_core.limits import MiB
from stoq_core.options import did_you_mean

from . import messages as wire
from .control import Birth, Zygote, ZygoteGone
from .index import Index
from .protect import PROTECTIONS, make_opaque
from .wire import Closed, Malformed, Overdue

if TYPE_CHECKING:
    from stoq_core.examine import PluginSource, Task
    from stoq_core.executor import Inline
    from stoq_core.journal import Entry

    from .toolbox import Toolbox

_HELLO_S = 30.0
_LAST_WORDS_S = 1.0
_MOST_STILLBORN = 20
_SURELY_ALIVE_S = 0.005  # one that spoke just now; should it be dead, its payload goes to another
_MOST_ZYGOTES = 5
_RESERVATIONS = 256 * MiB
"""Address space that threads and allocators reserve but do not use."""


_MOVING = threading.Lock()


class Seat:
    """One child and what it has done so far."""

    __slots__ = ("birth", "greeted", "owner", "payloads", "seen_at", "zygote")

    def __init__(self, zygote: Zygote, birth: Birth) -> None:
        """A child that has been asked for."""
        self.zygote = zygote
        self.birth = birth
        self.greeted = False
        self.owner: str | None = None
        self.payloads = 0
        self.seen_at = 0.0


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
        self._lock = threading.RLock()
        self._idle: list[Seat] = []
        self._busy: set[Seat] = set()
        self._zygotes = 0
        self._missing: dict[str, str] | None = None
        self._broker: Inline | None = None
        self._pid = os.getpid()
        self._start = wire.Start(
            shipped=str(shipped),
            extra=[str(one) for one in extra],
            workers=sorted({*config.scan.always, *config.scan.start, *config.worker}),
            dispatchers=list(config.scan.dispatchers),
            readable=_readable(config, shipped, extra),
            broker_pid=os.getpid(),
        )
        self.children = config.sandbox.children or _cores()
        self.ahead = max(0, self.children - 1)
        self._zygote = self._new_zygote()
        self._old: list[Zygote] = []
        self.index = Index((), (), _nothing)
        self._broker_facts: list[wire.Facts] = []
        self._toolbox: Toolbox | None = None

    # -- starting ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Have the zygote load its plugins and fork children, without waiting for that."""
        self._settle()
        with suppress(ZygoteGone):  # `ready` hears why
            while len(self._idle) < self.children:
                self._idle.append(Seat(self._zygote, self._zygote.fork()))

    def ready(self) -> None:
        """Wait for the zygote. Raises what a bad deployment raises: `PluginLoadError`, `ConfigError`."""
        try:
            if not self._idle:
                self.begin()
            self._learn()
            seat = self._greeted(None)
        except BaseException:
            self.close()
            raise
        with self._lock:
            self._idle.insert(0, seat)

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
            self._lock = threading.RLock()
            for seat in (*self._idle, *self._busy):
                seat.birth.channel.close()  # this process's copy of the socket
            self._idle, self._busy, self._old = [], set(), []
            self._zygote.close()
            make_opaque()
            self._start = msgspec.structs.replace(self._start, broker_pid=os.getpid())
            self._toolbox = None  # its place belongs to the process that this one was forked from
            self._zygotes = 0
            self._zygote = self._new_zygote()
            self._settle()
            self._learn()
            self._pid = os.getpid()

    def _settle(self) -> None:
        """Send the settings of the sandbox's own plugins, once it is known which those are."""
        self._broker_facts = [one for one in self._zygote.classes() if one.runs == "broker"]
        limits = self._config.limits
        settings = wire.Settings(
            config=b"",
            memory_bytes=limits.sandbox_bytes + _RESERVATIONS,
            payload_bytes=limits.payload_bytes,
            cpu_s=2 * limits.request_wall_ms // 1000 + 60,
        )
        self._zygote.settle(_for_zygote(self._config, self.broker_workers), settings)

    def _learn(self) -> None:
        loaded = self._zygote.loaded()
        self.index = Index(self._config.scan.always, [*loaded, *self._broker_facts], self._described)

    @property
    def broker_workers(self) -> list[str]:
        """The configured workers that run in the broker, by name."""
        return [one.name for one in self._broker_facts]

    def _described(self, name: str) -> wire.Facts:
        facts = self._zygote.describe(name)
        if facts.threads:  # it started one, and a process with two must not fork
            with self._lock:
                self._again()
        return facts

    def _declared_tools(self) -> set[str]:
        return self.index.tools()

    @property
    def toolbox(self) -> Toolbox:
        """What runs tools; made for the first one that is asked for."""
        with self._lock:
            if self._toolbox is None:
                from .toolbox import Toolbox

                self._toolbox = Toolbox(self._config.sandbox.tools, self._declared_tools)
            return self._toolbox

    def attend(self, broker: PluginSource) -> None:
        """The plugins of the broker's own, for the last round of each payload."""
        from stoq_core.executor import Inline

        self._broker = Inline(broker)

    @property
    def facts(self) -> dict[str, Any]:
        """What `stats.sandbox` says: the protections in force, what is missing and why."""
        missing = self._missing or {}
        held = [name for name in PROTECTIONS if name not in missing]
        return {"mode": "process", "protections": held, "missing": missing, "children": self.children}

    # -- children ---------------------------------------------------------------------------------

    def take(self, owner: str) -> Seat:
        """A child for a payload of request `owner`; a new one where none is idle."""
        if self._pid != os.getpid():
            self._move_in()
        seat = self._greeted(owner)
        seat.owner = owner
        with self._lock:
            self._busy.add(seat)
        return seat

    def _greeted(self, owner: str | None) -> Seat:
        """A child that has said what protects it."""
        for _ in range(_MOST_STILLBORN):
            seat = self._take_idle(owner)
            if seat.greeted or self._greet(seat):
                return seat
        raise ZygoteGone("children end before they begin; `stoq doctor` may say why")

    def _take_idle(self, owner: str | None) -> Seat:
        shared = self._config.sandbox.share_children
        with self._lock:
            for seat in list(self._idle):
                if shared or seat.owner in (None, owner):
                    self._idle.remove(seat)
                    fresh = time.monotonic() - seat.seen_at < _SURELY_ALIVE_S
                    if fresh or not seat.birth.channel.hung_up:
                        return seat
                    self.retire(seat)  # it was killed while it had nothing to do
            return self._born()

    def _born(self) -> Seat:
        for _ in range(2):
            try:
                return Seat(self._zygote, self._zygote.fork())
            except ZygoteGone:
                self._again()
        raise ZygoteGone("the sandbox's zygote ends at once")

    def _again(self) -> None:
        """A new zygote; the old one, if it lives, ends with the last of its children that is at work."""
        for seat in self._idle:
            self.retire(seat)
        self._idle.clear()
        self._old.append(self._zygote)
        self._zygote = self._new_zygote()
        self._settle()
        self._learn()
        self._end_old()

    def _end_old(self) -> None:
        at_work = {id(seat.zygote) for seat in self._busy}
        for zygote in [one for one in self._old if id(one) not in at_work]:
            self._old.remove(zygote)
            zygote.close()

    def _greet(self, seat: Seat) -> bool:
        """Hear a new child's first word; false if there is none. Raises for a protection that must be."""
        try:
            frame = seat.birth.channel.receive(_HELLO_S)
            hello = msgspec.msgpack.decode(frame.data, type=wire.Hello)
        except (Closed, Overdue, Malformed, msgspec.MsgspecError):
            self.bury(seat)
            return False
        seat.greeted = True
        self._missing = hello.missing
        lacking = [one for one in self._config.sandbox.require or () if one in hello.missing]
        lacking = [one for one in lacking if one not in self._config.sandbox.accept_missing]
        if lacking:
            self.retire(seat)
            why = "; ".join(f"{one} ({PROTECTIONS[one]}): {hello.missing[one]}" for one in lacking)
            raise StoqError(
                f"this machine cannot protect what it must: {why}. Name it in sandbox.accept_missing to scan"
                " all the same, or see `stoq doctor`"
            )
        return True

    def give_back(self, seat: Seat, done: wire.Done) -> None:
        """A child has done its payload: it may have the next one, unless it has had enough."""
        with self._lock:
            self._busy.discard(seat)
        self._zygotes = 0
        seat.payloads += 1
        seat.seen_at = time.monotonic()
        settings = self._config.sandbox
        grown = done.resident_bytes > settings.recycle_bytes
        if grown or seat.payloads >= settings.recycle_payloads or seat.zygote is not self._zygote:
            self.retire(seat)
        else:
            with self._lock:
                self._idle.insert(0, seat)

    def retire(self, seat: Seat) -> None:
        """A child has had enough."""
        seat.zygote.dismiss(seat.birth)

    def bury(self, seat: Seat, *, hung_up: bool = False) -> wire.Exited | None:
        """Kill a child; how it ended, or None if nobody can say or it was alive when it `hung_up`."""
        with self._lock:
            self._busy.discard(seat)
        try:
            if hung_up:
                with suppress(Overdue):
                    return seat.zygote.end_of(seat.birth, _LAST_WORDS_S)
                seat.zygote.kill(seat.birth)
                return None
            return seat.zygote.kill(seat.birth)
        except (StoqError, Overdue):
            return None
        finally:
            seat.birth.channel.close()

    def rest(self, owner: str) -> None:
        """A request is over: no child that saw its bytes sees another's, unless the config says so."""
        with self._lock:
            left = [seat for seat in self._busy if seat.owner == owner]
        for seat in left:  # it worked ahead, and time ran out
            self.bury(seat)
        with self._lock:
            self._end_old()
        if self._config.sandbox.share_children:
            return
        with self._lock:
            used = [seat for seat in self._idle if seat.owner == owner]
            self._idle = [seat for seat in self._idle if seat.owner != owner]
            for seat in used:
                self.retire(seat)
            with suppress(StoqError):  # whoever needs a child says it
                self._fill()

    def _fill(self) -> None:
        """Have children ready for the next request."""
        while len(self._idle) < self.children:
            self._idle.append(self._born())

    # -- Executor ---------------------------------------------------------------------------------

    def start(self, task: Task) -> Iterator[Entry]:
        """Begin at once in a child; a broker worker's round runs here."""
        if task.runs == "broker":
            assert self._broker is not None
            return self._broker.start(task)
        from .run import Run

        return Run(self, task)

    def close(self) -> None:
        """End everything."""
        with self._lock:
            for seat in (*self._idle, *self._busy):
                self.retire(seat)
            self._idle.clear()
            self._busy.clear()
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


def _nothing(name: str) -> wire.Facts:
    return wire.Facts("worker", name, error="the sandbox is not ready")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _readable(config: Config, shipped: Path, extra: tuple[Path, ...]) -> list[str]:
    """Folders that children read: the interpreter's, the libraries', the plugins', the rules'."""
    found = [sys.prefix, sys.base_prefix, *(one for one in sys.path if one), str(shipped), *map(str, extra)]
    found += [config.rules.path] if config.rules.path else []
    existing = dict.fromkeys(os.path.abspath(one) for one in found if os.path.exists(one))
    home = os.path.abspath(os.path.expanduser("~"))
    return [one for one in existing if one not in ("/", home)]


def _for_zygote(config: Config, broker_workers: list[str]) -> Config:
    """The settings of the sandbox's plugins alone: no store's, no service's, no passwords."""
    ours = {name: options for name, options in config.worker.items() if name not in broker_workers}
    scan = msgspec.structs.replace(
        config.scan, passwords=(), archivers=(), connectors=(), decorators=(), fetch={}
    )
    return msgspec.structs.replace(
        config, scan=scan, worker=ours, decorator={}, archiver={}, connector={}, provider={}, trigger={}
    )
