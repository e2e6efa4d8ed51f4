"""What the core's tests share: workers made of functions, a plugin source, and short ways to scan."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from stoq_core.errors import PluginLoadError
from stoq_core.limits import Deadline, RequestLimits
from stoq_core.options import Options
from stoq_core.payload import Payload, PayloadMeta, Request
from stoq_core.plugin import Dispatcher, Worker
from stoq_core.scan.engine import Engine
from stoq_core.scan.executor import Inline
from stoq_core.scan.journal import Journal, Listener
from stoq_core.scan.report import Scanned
from stoq_core.scan.threads import Threads
from stoq_core.tools import LocalTools

SCAN_ID = "11111111-1111-4111-8111-111111111111"


UNSEARCHED = ("not_identified", "not_searched")
"""For `[verdict] accept`, where what is tried has plugins made of functions alone."""


def worker(scan: Callable[..., Any], **attributes: Any) -> type[Worker[Options]]:
    """A worker class around `scan(payload, job)`."""
    return type("Made", (Worker,), {"scan": lambda _self, payload, job: scan(payload, job), **attributes})


def dispatcher(dispatch: Callable[..., Any], **attributes: Any) -> type[Dispatcher[Options]]:
    """A dispatcher class around `dispatch(payload, job)`."""
    return type("Made", (Dispatcher,), {"dispatch": lambda _self, p, j: dispatch(p, j), **attributes})


class Steps(Listener):
    """Keeps what it hears: a tuple a step, the word first."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.all: list[tuple[Any, ...]] = []

    def round(self, names: list[str]) -> None:
        """Kept."""
        self.all.append(("round", names))

    def start(self, plugin: str) -> None:
        """Kept."""
        self.all.append(("start", plugin))

    def emit(self, plugin: str, emit: Any) -> None:
        """Kept."""
        self.all.append(("emit", plugin, emit))

    def end(self, plugin: str, ms: float, *, failed: bool) -> None:
        """Kept."""
        self.all.append(("end", plugin, ms, failed))

    @property
    def emits(self) -> list[Any]:
        """What was said, whoever said it."""
        return [one[2] for one in self.all if one[0] == "emit"]


def journal_of(steps: Iterable[tuple[Any, ...]]) -> Journal:
    """The journal of these steps."""
    made = Journal()
    for word, *rest in steps:
        if word == "end":
            made.end(rest[0], rest[1], failed=rest[2])
        else:
            getattr(made, word)(*rest)
    return made


class Source:
    """A plugin source over classes, as the registry's `Plugins` is over files."""

    def __init__(self, workers: dict[str, Any], always: Iterable[str] = (), **dispatchers: Any) -> None:
        """`always` names those that run on every payload."""
        self._workers = {name: made(Options(), name) for name, made in workers.items()}
        self.always = tuple(always)
        self.tools = LocalTools()
        self.dispatchers = tuple(made(Options(), name) for name, made in sorted(dispatchers.items()))

    def worker(self, name: str) -> Worker[Any]:
        """As the real one: unknown names raise."""
        if name not in self._workers:
            message = f"no worker is named {name!r}"
            raise PluginLoadError(message)
        return self._workers[name]


def scan(
    source: Source,
    *contents: bytes | Payload,
    limits: RequestLimits | None = None,
    threads: int = 1,
    dedup: bool = True,
    deadline: Deadline | None = None,
    **request: Any,
) -> Scanned:
    """Scan bytes with the engine."""
    executor = Threads(source, threads) if threads > 1 else Inline(source)
    engine = Engine(source, executor, limits or RequestLimits(), dedup=dedup)
    payloads = [one if isinstance(one, Payload) else Payload(one, PayloadMeta()) for one in contents]
    asked = Request(scan_id=SCAN_ID, payloads=payloads, **request)
    return engine.scan(asked, deadline or Deadline.after_ms(60_000))


def split(payload: Payload, job: Any) -> Any:
    """A worker that takes `(a(b)c)`-like bytes apart: each bracketed part one level down is a child."""
    depth, start = 0, 0
    content = payload.content
    for at, byte in enumerate(content):
        if byte == ord("("):
            depth += 1
            if depth == 1:
                start = at + 1
        elif byte == ord(")"):
            depth -= 1
            if depth == 0:
                yield job.child([content[start:at]], name=f"part{start}")
