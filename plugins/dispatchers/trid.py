"""From TrID's likeliest guess to workers; you supply TrID and its definitions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from plugins._rules.trid import TOOL_ERRORS, TridOptions, guesses, tools
from stoq_core.job import Dispatch, Job
from stoq_core.options import about
from stoq_core.payload import Payload
from stoq_core.plugin import Dispatcher

_SHIPPED = {
    "peinfo": ("exe", "dll", "sys", "scr", "ocx", "cpl", "drv"),
    "lief": ("o", "so", "elf", "ko", "macho"),
    "symhash": ("macho",),
    "javaclass": ("class",),
    "decompress": ("zip", "jar", "apk", "docx", "xlsx", "pptx", "7z", "tar", "gz", "bz2", "xz"),
}


class TridDispatchOptions(TridOptions, frozen=True, kw_only=True):
    """Where TrID is, and which workers its guesses need."""

    routes: Annotated[
        dict[str, list[str]], about("workers by extension; these go over the shipped ones")
    ] = {}
    min_percent: Annotated[float, about("a less likely guess names no worker", ge=0, le=100)] = 30.0


class Trid(Dispatcher[TridDispatchOptions]):
    """The likeliest guess alone counts.

    Its `extension`, `likely`, `percent` and `type` reach the worker as meta.
    """

    tools = tools(TridOptions())
    errors = TOOL_ERRORS
    essential = False

    def __init__(self, options: TridDispatchOptions, name: str) -> None:
        """The tool is called what the option says; the user's routes go over the shipped ones."""
        super().__init__(options, name)
        self.tools = tools(options)  # type: ignore[misc]
        self._routes = {
            **_shipped(),
            **{key.lower().lstrip("."): value for key, value in options.routes.items()},
        }
        self._asking = TridOptions(bin=options.bin, defs=options.defs)

    def dispatch(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield a `Dispatch` for each worker of the likeliest guess."""
        for extension, guess in guesses(payload, job, self._asking)[:1]:
            if guess.percent < self.options.min_percent:
                return
            # TrID writes `EXE/DLL` where several extensions share a definition
            for worker in dict.fromkeys(w for one in extension.split("/") for w in self._routes.get(one, ())):
                yield Dispatch(worker, {"extension": extension, **msgspec.to_builtins(guess)})


def _shipped() -> dict[str, list[str]]:
    """The shipped table by extension."""
    routes: dict[str, list[str]] = {}
    for worker, extensions in _SHIPPED.items():
        for one in extensions:
            routes.setdefault(one, []).append(worker)
    return routes
