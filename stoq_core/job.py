"""What a worker is handed for one payload, and what it may yield about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from .account import Account, Coverage
from .body import Body, BodyWriter, as_chunks
from .errors import ErrorReport, PluginError, Reason, Unread
from .limits import Budget, Deadline, MiB
from .operations import Tool, operation_of
from .payload import Payload, PayloadMeta
from .tools import ToolCall, ToolRun, ToolRunner, missing

if TYPE_CHECKING:
    from pathlib import Path


_MEMBER_TIME = 0.75
"""Of the time that is left one child may take so much, so that those behind it come to their turn, too."""
_REASONS = frozenset(reason.value for reason in Reason)
_OWN_WORDS = {"malformed": Reason.CORRUPT, "checksum": Reason.CORRUPT}


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """A payload taken out of this one; make it with `job.child`, which counts its bytes."""

    body: Any
    meta: PayloadMeta = PayloadMeta()
    truncated: Reason | None = None


class Dispatch(msgspec.Struct, frozen=True):
    """Another worker for this payload; `meta` reaches it in `job.dispatch_meta`."""

    plugin: str
    meta: dict[str, Any] = {}


class Finding(msgspec.Struct, frozen=True):
    """One scored reason. `attack` holds ATT&CK technique ids such as `T1059.005`."""

    name: str
    score: int
    detail: str = ""
    attack: tuple[str, ...] = ()


class On(msgspec.Struct, frozen=True):
    """A decorator's finding about one payload; a bare `Finding` of a decorator is the first root's."""

    payload_id: str
    finding: Finding


class Hint(msgspec.Struct, frozen=True):
    """Something that helps with related payloads; kind `password` is the one in use."""

    kind: Literal["password"]
    value: str


class Archive(msgspec.Struct, frozen=True):
    """A dispatcher's word on whether this payload's bytes are archived (`save = "false"` in YARA)."""

    keep: bool


class Job:
    """What a worker may use while it works on one payload; counts what it spends."""

    __slots__ = (
        "_account",
        "_budget",
        "_declared",
        "_errors",
        "_gave_reason",
        "_partial",
        "_results",
        "_scratch",
        "_size",
        "_tools",
        "_unread",
        "accounts",
        "deadline",
        "dispatch_meta",
        "passwords",
        "plugin",
    )

    def __init__(
        self,
        plugin: str,
        *,
        budget: Budget,
        deadline: Deadline,
        results: Mapping[str, Any] | None = None,
        dispatch_meta: Iterable[dict[str, Any]] = (),
        passwords: Iterable[str] = (),
        scratch: Path | None = None,
        tools: ToolRunner | None = None,
        declared: Mapping[str, Tool] | None = None,
        size: int = 0,
        accounts: Sequence[Account] = (),
    ) -> None:
        """`results` are those of the workers that ran before, by name; `size` is the payload's, in bytes.

        `accounts` are those of this payload that openers have kept before, and ended in order.
        """
        self.plugin = plugin
        self.deadline = deadline
        self.dispatch_meta = list(dispatch_meta)
        self.passwords = list(passwords)
        self._budget = budget
        self._results = results if results is not None else {}
        self._errors: list[ErrorReport] = []
        self._unread: list[Unread] = []
        self._partial: ErrorReport | None = None
        self._gave_reason = False
        self._scratch = scratch
        self._tools = tools
        self._declared = declared or {}
        self._size = size
        self.accounts = accounts
        self._account: Account | None = None

    @property
    def account(self) -> Account:
        """Where an opener claims each range of its payload; what is left becomes children when it ends."""
        if self._account is None:
            self._account = Account(self._size)
        return self._account

    def unclaimed(self, view: memoryview) -> Iterator[Child]:
        """A child a range that an account was opened for but nobody claimed; none without an account."""
        if self._account is not None:
            for gap in self._account.gaps(view):
                yield self.child([view[gap.offset : gap.offset + gap.size]], name=gap.name, offset=gap.offset)

    def coverage(self) -> Coverage:
        """What the account says each byte was; only with an account."""
        return self.account.coverage()

    def child(
        self,
        chunks: Any,
        *,
        name: str | None = None,
        should_scan: bool = True,
        should_archive: bool = True,
        dispatch_to: Iterable[str] = (),
        **extra: Any,
    ) -> Child:
        """Write `chunks` (bytes, a `Body`, an iterable of bytes, or a reader) into a child payload.

        Bytes are counted while they are written: at the limit the child ends there and is marked
        truncated with the reason. Raises `LimitReached` when no further child is allowed at all.
        `name` becomes `extra_data.filename`; `extra` is the rest of the child's `extra_data`.
        An exception of the iterable passes through, and nothing of that child is kept: catch it
        and yield `job.child` of what you have, or use `job.salvage`.
        """
        child, error = self._write(chunks, name, should_scan, should_archive, dispatch_to, extra)
        if error is not None:
            raise error
        return child

    def salvage(
        self, chunks: Any, *, name: str | None = None, **extra: Any
    ) -> tuple[Child, Exception | None]:
        """As `child`, but an `Exception` of the iterable ends the child there and is returned.

        For data that turns out corrupt half-way: what could be read is scanned. A child cut short
        by an exception is marked `corrupt`.
        """
        return self._write(chunks, name, True, True, (), extra)  # noqa: FBT003 - private, positional

    def _write(
        self,
        chunks: Any,
        name: str | None,
        should_scan: bool,  # noqa: FBT001 - private, positional
        should_archive: bool,  # noqa: FBT001 - private, positional
        dispatch_to: Iterable[str],
        extra: dict[str, Any],
    ) -> tuple[Child, Exception | None]:
        self._budget.check()
        room, reason = self._budget.room()
        writer = BodyWriter(self._scratch)
        cut: Reason | None = None
        error: Exception | None = None
        if isinstance(chunks, Body) and chunks.size <= room:
            self._budget.spend(chunks.size)
            return Child(body=chunks, meta=_meta(name, should_scan, should_archive, dispatch_to, extra)), None
        enough_ms = self.deadline.left_ms * (1 - _MEMBER_TIME)
        try:
            for chunk in as_chunks(chunks.view() if isinstance(chunks, Body) else chunks):
                view = memoryview(chunk)
                if writer.size + view.nbytes > room:
                    writer.write(view[: room - writer.size])
                    cut = reason
                    break
                if view.nbytes:
                    writer.write(chunk)
                if self.deadline.left_ms <= enough_ms:
                    cut = Reason.TIMEOUT
                    break
        except Exception as raised:  # noqa: BLE001 - what was read stays; the caller gets the error
            cut, error = Reason.CORRUPT, raised
        self._budget.spend(writer.size)
        meta = _meta(name, should_scan, should_archive, dispatch_to, extra)
        return Child(body=writer.finish(), meta=meta, truncated=cut), error

    def tool(
        self,
        name: str,
        operation: str,
        payload: Payload | Body,
        *,
        output_bytes: int = 64 * MiB,
        **parameters: str,
    ) -> ToolRun:
        """Run a program that the class names in `tools`, in one of the ways that stand there.

        It finds the payload's bytes at a path and works in an empty folder of its own, within this job's
        time, without a shell and without network. `parameters` are those of the operation; `output_bytes`
        bounds all that it writes. Raises `PluginError`: `tool_missing`, `tool_refused`, `timeout`,
        `too_many_bytes`.
        """
        if self._tools is None:
            raise PluginError("tool_missing", "no tools can be run here", reason=Reason.PLUGIN_MISSING)
        template = operation_of(self._declared, name, operation)
        if template is None:
            raise missing(name)
        return self._tools.run(
            ToolCall(
                name=name,
                operation=operation,
                template=template,
                body=payload.body if isinstance(payload, Payload) else payload,
                parameters=parameters,
                output_bytes=output_bytes,
                wall_ms=self.deadline.left_ms,
            )
        )

    def result_of(self, worker: str) -> Any:
        """The result of a worker that ran before on this payload (see `requires`), or None."""
        return self._results.get(worker)

    def error(self, code: str, message: str, *, whole: bool = False, **facts: Any) -> None:
        """Report an error and go on; `facts` are `observed`, `allowed`, `retryable`.

        With `whole` the payload was read to its end all the same. Otherwise a worker that is essential and
        never says `unread` has not read it whole, and the error's code becomes the reason.
        """
        report = ErrorReport(plugin=self.plugin, code=code, message=message, **facts)
        self._errors.append(report)
        if not whole and self._partial is None:
            self._partial = report

    def unread(self, reason: Reason, message: str = "") -> None:
        """Say that some bytes were not examined; the verdict is then not `clean`."""
        self._unread.append(Unread(reason=reason, plugin=self.plugin, message=message))
        self._gave_reason = True

    @property
    def partial(self) -> Unread | None:
        """The reason that an error without one stands for; None where there is none, or it was given."""
        if self._partial is None or self._gave_reason:
            return None
        code = self._partial.code
        reason = Reason(code) if code in _REASONS else _OWN_WORDS.get(code, Reason.PLUGIN_FAILED)
        return Unread(reason=reason, plugin=self.plugin, message=self._partial.message)

    @property
    def children_left(self) -> int:
        """How many more children are taken from this worker."""
        return self._budget.children_left

    @property
    def total_left(self) -> int:
        """How many bytes all further children may have together."""
        budget = self._budget
        by_ratio = max(budget.ratio_left, budget.member_bytes)
        return max(0, min(budget.bytes_left, by_ratio, budget.limits.held_bytes))

    @property
    def bytes_left(self) -> int:
        """How many bytes the next child may have."""
        return self._budget.room()[0]

    @property
    def has_account(self) -> bool:
        """True if the worker has opened an account of its payload."""
        return self._account is not None

    @property
    def has_reports(self) -> bool:
        """True if `drain` would give any."""
        return bool(self._errors or self._unread)

    def drain(self) -> list[ErrorReport | Unread]:
        """What was reported since the last call; for the engine."""
        reported: list[ErrorReport | Unread] = [*self._errors, *self._unread]
        self._errors.clear()
        self._unread.clear()
        return reported


def _meta(
    name: str | None,
    should_scan: bool,  # noqa: FBT001 - private, positional
    should_archive: bool,  # noqa: FBT001 - private, positional
    dispatch_to: Iterable[str],
    extra: dict[str, Any],
) -> PayloadMeta:
    return PayloadMeta(
        should_scan=should_scan,
        should_archive=should_archive,
        dispatch_to=list(dispatch_to),
        extra_data={"filename": name, **extra} if name is not None else extra,
    )
