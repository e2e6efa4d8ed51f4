"""What TrID takes a file for; you supply TrID and its definitions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plugins._rules.trid import TOOL_ERRORS, Guess, TridOptions, guesses, tools
from stoq_core.job import Job
from stoq_core.payload import Payload
from stoq_core.plugin import Worker


class Trid(Worker[TridOptions]):
    """The result maps an extension to its guesses, each with `likely`, `percent` and `type`.

    TrID's licence does not let others pass it on, so it is in no bundle: place it with
    `sandbox.tools.trid`, and its definitions with `defs`.
    """

    tools = tools(TridOptions())
    errors = TOOL_ERRORS
    essential = False

    def __init__(self, options: TridOptions, name: str) -> None:
        """The tool is called what the option says."""
        super().__init__(options, name)
        self.tools = tools(options)  # type: ignore[misc]

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield one mapping, where TrID has a guess."""
        found: dict[str, list[Guess]] = {}
        for extension, guess in guesses(payload, job, self.options):
            found.setdefault(extension, []).append(guess)
        if found:
            yield found
