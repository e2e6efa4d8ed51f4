"""What broker, zygote and children say to each other, as msgpack; what a child says has sizes."""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

import msgspec

from stoq_core.errors import Reason
from stoq_core.limits import RequestLimits
from stoq_core.operations import Tool
from stoq_core.plugin import Accepts

from .wire import Malformed

T = TypeVar("T")

# Frames from the broker to a child.
TASK, TOOL_RAN, TOOL_SEND = 1, 2, 3
# Frames from a child to the broker.
ENTRIES, BODY, TOOL, DONE, HELLO = 1, 2, 3, 4, 5
# Frames between the broker and the zygote.
CLASSES, SETTINGS, READY, FAILED, FORK, FORKED, KILL, EXITED, DESCRIBE, DESCRIBED, RUN_TOOL = range(10, 21)

INLINE_BYTES = 64 * 1024
"""A body of a child up to this size stands in its entry; a longer one comes before it in BODY frames."""

PART_BYTES = 1024 * 1024
"""A BODY frame's size at the most."""

MOST_BYTES = {ENTRIES: 2 * 1024 * 1024, BODY: PART_BYTES, TOOL: 16 * 1024, DONE: 64, HELLO: 16 * 1024}
"""What a child may say in one frame, by its kind; every other kind is refused before it is read."""

TOOL_PAYLOAD = "/proc/self/fd/20"
"""Where a tool finds its payload."""

_Name = Annotated[str, msgspec.Meta(max_length=400)]
_Text = Annotated[str, msgspec.Meta(max_length=4_200)]
_Names = Annotated[list[_Name], msgspec.Meta(max_length=1_000)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class Task(msgspec.Struct, array_like=True):
    """One payload for a child. `content` is None where a descriptor comes with the frame.

    `until_s` is the deadline on the system's monotonic clock: a child may come to it later.
    """

    payload_id: str
    sha256: str
    content: bytes | None
    extra_data: dict[str, Any]
    dispatch_to: list[str]
    depth: int
    extracted_from: str | None
    extracted_by: str | None
    limits: RequestLimits
    until_s: float
    bytes_left: int
    children_left: int
    start: list[str]
    passwords: list[str]
    names: list[str] | None
    prior: dict[str, Any]
    asked: dict[str, list[dict[str, Any]]]
    journal: list[Entry]


class RoundStarted(msgspec.Struct, frozen=True, array_like=True, tag="b"):
    """journal.Dispatched."""

    names: _Names


class PluginStarted(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """journal.Started."""

    plugin: _Name


class Finished(msgspec.Struct, frozen=True, array_like=True, tag="f"):
    """journal.Finished."""

    plugin: _Name
    ms: float
    failed: bool


class Result(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """A part of a worker's result."""

    plugin: _Name
    values: dict[str, Any]


class ChildMade(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    """A child payload. `content` is None where its bytes came in BODY frames (or stay with the broker)."""

    plugin: _Name
    content: bytes | None
    size: _Count
    should_scan: bool
    should_archive: bool
    dispatch_to: _Names
    extra_data: dict[str, Any]
    truncated: Reason | None


class DispatchRequested(msgspec.Struct, frozen=True, array_like=True, tag="w"):
    """A Dispatch."""

    plugin: _Name
    worker: _Text
    meta: dict[str, Any]


class Found(msgspec.Struct, frozen=True, array_like=True, tag="n"):
    """A Finding."""

    plugin: _Name
    name: _Text
    score: int
    detail: _Text
    attack: Annotated[list[_Name], msgspec.Meta(max_length=100)]


class Hinted(msgspec.Struct, frozen=True, array_like=True, tag="h"):
    """A Hint."""

    plugin: _Name
    value: _Text


class Kept(msgspec.Struct, frozen=True, array_like=True, tag="k"):
    """An Archive."""

    plugin: _Name
    keep: bool


class Covered(msgspec.Struct, frozen=True, array_like=True, tag="v"):
    """A Coverage."""

    plugin: _Name
    structure: _Count
    child: _Count
    padding: _Count
    media: _Count
    plain: _Count
    unread: _Count


class Unread(msgspec.Struct, frozen=True, array_like=True, tag="u"):
    """errors.Unread, without the payload's id, which the broker knows."""

    plugin: _Name
    reason: Reason
    message: _Text


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="e"):
    """errors.ErrorReport, without the payload's id."""

    plugin: _Name
    code: _Name
    message: _Text
    retryable: bool
    observed: int | None
    allowed: int | None


Entry = (
    RoundStarted
    | PluginStarted
    | Finished
    | Result
    | ChildMade
    | DispatchRequested
    | Found
    | Hinted
    | Kept
    | Covered
    | Unread
    | Failed
)


class Hello(msgspec.Struct, array_like=True):
    """A child's first word, before it has seen any payload: which protections are missing, and why."""

    missing: dict[str, str]


class ToolAsked(msgspec.Struct, array_like=True):
    """A worker wants a tool to do something with the payload (`size` -1), or with bytes that it sends.

    Those come in BODY frames once the broker says TOOL_SEND.
    """

    name: _Name
    operation: _Name
    parameters: Annotated[dict[_Name, _Text], msgspec.Meta(max_length=8)]
    size: Annotated[int, msgspec.Meta(ge=-1, le=2**40)]
    output_bytes: _Count
    wall_ms: Annotated[float, msgspec.Meta(ge=0)]


class ToolRan(msgspec.Struct, array_like=True):
    """How a tool ended; its outputs come as descriptors, standard output first, then `files` by name."""

    code: int = 0
    stderr: str = ""
    files: list[str] = []
    error: tuple[str, str, Reason | None, int | None] | None = None


class Done(msgspec.Struct, array_like=True):
    """The payload is examined; `resident_bytes` is the child's peak."""

    resident_bytes: _Count


class Start(msgspec.Struct, array_like=True):
    """To a new zygote: where plugins are, and which to load."""

    shipped: str
    extra: list[str]
    workers: list[str]
    dispatchers: list[str]
    readable: list[str]
    broker_pid: int


class Settings(msgspec.Struct, array_like=True):
    """To the zygote: the config of its own plugins, and nobody else's."""

    config: bytes
    memory_bytes: int
    payload_bytes: int
    cpu_s: int


class PluginInfo(msgspec.Struct, array_like=True):
    """What the broker must know of a sandbox plugin without importing it."""

    kind: str
    name: str
    runs: str = "sandbox"
    essential: bool = True
    reads_meta: bool = False
    reads_results: bool = False
    wall_ms: int | None = None
    tools: dict[str, Tool] = {}
    ruleset: str | None = None
    threads: bool = False
    error: str = ""
    warnings: list[str] = []
    roles: list[str] = []
    accepts: Accepts = Accepts()


class Forked(msgspec.Struct, array_like=True):
    """From the zygote: the child's process id, or why it cannot fork."""

    pid: int
    error: str = ""


class Exited(msgspec.Struct, array_like=True):
    """From the zygote: a child ended, as waitpid(2) tells it, with its peak resident bytes."""

    pid: int
    status: int
    resident_bytes: int


class RunTool(msgspec.Struct, array_like=True):
    """To the zygote: run a program.

    With it come descriptors for standard input, output and error, and perhaps of the payload, which is at
    `TOOL_PAYLOAD` then. `reads` are paths beside the system's; one that must be `confined` does not start
    without Landlock.
    """

    path: str
    arguments: list[str]
    folder: str
    reads: list[str]
    output_bytes: int
    cpu_s: int
    confined: bool


ENCODE = msgspec.msgpack.Encoder().encode


class Said(Generic[T]):
    """Decodes what a child says."""

    def __init__(self, kind: type[T]) -> None:
        """`kind` is the message's type."""
        self._decode = msgspec.msgpack.Decoder(kind).decode

    def decode(self, data: bytes | bytearray) -> T:
        """The message; raises `Malformed`, whatever stands in the bytes: text that is none, too deep."""
        try:
            return self._decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
            message = f"{type(error).__name__}: {error}"
            raise Malformed(message[:1_000]) from None


ENTRIES_SAID: Said[list[Entry]] = Said(list[Entry])
