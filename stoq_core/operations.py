"""What a plugin may have a program do: fixed argument lists, in which only named places are filled.

The broker keeps them from the start on, so that a worker that was taken over can but choose among them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from .errors import PluginError, Reason

_PAYLOAD = "{payload}"
_PLACE = re.compile(r"\{(\w+)\}")
_MOST_CHARS = 4_096
_ENDS = ("\x00", "\n", "\r")
"""What would end an argument, or a line on standard input."""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One way to call a program.

    `words` are its arguments: `{payload}` is the path of the bytes, `-t{kind}` has a parameter behind a
    fixed beginning and is left out where the parameter is not given. `parameters` maps each to the
    regular expression of what it may be. `stdin` names the one that is a line on standard input, where
    no other process sees it. `files` are what the program may leave in its own empty folder. With
    `copied` the payload is a file in that folder, for programs that refuse links under /proc.
    """

    words: tuple[str, ...]
    parameters: dict[str, str] = {}
    stdin: str = ""
    files: tuple[str, ...] = ()
    copied: bool = False

    def __post_init__(self) -> None:
        """Refuse a template that would let a parameter be an option of its own. Raises `ValueError`."""
        for word in self.words:
            places = _PLACE.findall(word)
            if word == _PAYLOAD or not places:
                continue
            if len(places) > 1 or places[0] not in self.parameters or word.startswith("{"):
                message = f"{word!r}: one declared parameter, behind a fixed beginning"
                raise ValueError(message)

    def filled(self, path: str, given: Mapping[str, str]) -> list[str]:
        """The arguments. Raises `PluginError` (`tool_refused`) for a parameter that is not as declared."""
        for name, value in given.items():
            pattern = self.parameters.get(name)
            fits = (
                pattern is not None and len(value) <= _MOST_CHARS and re.fullmatch(pattern, value, re.DOTALL)
            )
            if not fits or any(end in value for end in _ENDS):
                raise refused(f"the parameter {name[:100]!r} is not one that the operation takes")
        words = []
        for word in self.words:
            place = _PLACE.search(word)
            if word == _PAYLOAD:
                words.append(path)
            elif place is None:
                words.append(word)
            elif place[1] in given:
                words.append(word[: place.start()] + given[place[1]] + word[place.end() :])
        return words

    def line(self, given: Mapping[str, str]) -> bytes:
        """What stands on standard input; empty for nothing."""
        return f"{given[self.stdin]}\n".encode("utf-8", "replace") if self.stdin in given else b""


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A program that a plugin runs, by its operations.

    `brings` says how to install it. `reads` are files it needs beside the system's libraries and data:
    absolute paths, or names beside the program itself.
    """

    brings: str
    operations: dict[str, Operation]
    reads: tuple[str, ...] = ()


def refused(why: str) -> PluginError:
    """For a call that is not as the plugin's class declared it."""
    return PluginError("tool_refused", why, reason=Reason.PLUGIN_FAILED)


def operation_of(tools: Mapping[str, Tool], name: str, operation: str) -> Operation | None:
    """The template, or None where no such tool is declared. Raises `PluginError` for another operation."""
    tool = tools.get(name)
    if tool is None:
        return None
    found = tool.operations.get(operation)
    if found is None:
        raise refused(f"{name[:100]!r} has no operation {operation[:100]!r}")
    return found
