"""Ask TrID, which the user supplies with its definitions, what a file may be; worker and dispatcher share it.

Output as TrID 2.x writes it: one line a guess, `42.7% (.EXE) Win32 Executable (generic) (4508/7/1)`.
"""

from __future__ import annotations

import re
import threading
from typing import Annotated

import msgspec

from stoq_core.errors import PluginError, Reason
from stoq_core.job import Job
from stoq_core.limits import MiB
from stoq_core.operations import Operation, Tool
from stoq_core.options import Options, about
from stoq_core.payload import Payload

_GUESS = re.compile(
    r"^ {0,4}(\d{1,3}(?:\.\d{1,2})?)% \(\.?([^()\r\n]{0,64})\) ([^\r\n]{1,300})", re.MULTILINE
)
_WARNING = re.compile(r"^Warning: ([^\r\n]{1,300})", re.MULTILINE)
_ORDINARY = ("file seems to be plain text/ASCII",)
_MOST_GUESSES = 50

TOOL_ERRORS = {
    "tool_missing": "there is no program of the name in `bin`",
    "timeout": "TrID took too long",
    "too_many_bytes": "TrID wrote more than 1 MiB",
    "trid_failed": "TrID ended with an error, or without its definitions",
    "trid_warning": "TrID warned of something",
}


class TridOptions(Options, frozen=True, kw_only=True):
    """Where the user's TrID is."""

    bin: Annotated[str, about("name of the program; `sandbox.tools.NAME` says where it is", min_length=1)] = (
        "trid"
    )
    defs: Annotated[str, about("absolute path of triddefs.trd; empty for the one beside the program")] = ""


class Guess(msgspec.Struct, frozen=True):
    """One guess: `likely` as TrID writes it (`42.7%`), the same as a number, the `type` in its words."""

    likely: str
    percent: float
    type: str


class _Last(threading.local):
    """A thread's last answer, so that the dispatcher and the worker pay for one run."""

    def __init__(self) -> None:
        self.asked: tuple[str, TridOptions] | None = None
        self.said = ""


_LAST = _Last()


def tools(options: TridOptions) -> dict[str, Tool]:
    """TrID under the name that the option gives it, with its definitions."""
    words = (f"-d:{options.defs}",) if options.defs else ()
    return {
        options.bin: Tool(
            brings="TrID and triddefs.trd from its author's site (not packaged)",
            operations={"guess": Operation(words=(*words, "{payload}"))},
            reads=(options.defs or "triddefs.trd",),
        )
    }


def guesses(payload: Payload, job: Job, options: TridOptions) -> list[tuple[str, Guess]]:
    """Extension (small letters, `unknown` for none) and guess, the likeliest first.

    Raises `PluginError`: `tool_missing`, `timeout`, `too_many_bytes`, `trid_failed`.
    """
    asked = (payload.sha256, options)
    if _LAST.asked != asked:
        _LAST.said = _ask(payload, job, options)
        _LAST.asked = asked
    for warning in _WARNING.findall(_LAST.said):
        if not warning.startswith(_ORDINARY):
            job.error("trid_warning", warning, whole=True)
    return parse(_LAST.said)


def parse(said: str) -> list[tuple[str, Guess]]:
    """The guesses in TrID's output."""
    found = _GUESS.findall(said)[:_MOST_GUESSES]
    made = [
        (extension.lower() or "unknown", Guess(f"{number}%", float(number), kind.strip()))
        for number, extension, kind in found
    ]
    return sorted(made, key=lambda one: -one[1].percent)


def _ask(payload: Payload, job: Job, options: TridOptions) -> str:
    ran = job.tool(options.bin, "guess", payload, output_bytes=MiB)
    said = ran.stdout.content().decode("utf-8", "replace")
    if ran.code and not _GUESS.search(said):
        message = f"exit code {ran.code}: {(ran.stderr or said)[-300:].strip()}"
        raise PluginError("trid_failed", message, reason=Reason.PLUGIN_FAILED)
    return said
