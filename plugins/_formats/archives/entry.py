"""What every reader yields: one entry a member, with a way to read it in chunks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence

import msgspec

from stoq_core.errors import PluginError, Reason
from stoq_core.limits import KiB, MiB

CHUNK_BYTES = 256 * KiB
MAX_NAME_BYTES = 4_096
MAX_DICTIONARY_BYTES = 256 * MiB
"""Decoders that want a larger window are refused: their memory is the file's wish, not ours."""


class Member(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One member as listed: claimed size in bytes, method, time (RFC 3339), mode in octal."""

    name: str
    size: int = 0
    kind: str = "file"
    encrypted: bool = False
    method: str = ""
    modified: str | None = None
    mode: str | None = None
    password: str | None = None
    """The one that opened it."""


Chunks = Iterator[bytes | memoryview]


class Entry(msgspec.Struct):
    """A member and, for files, how to read it; `open` takes the passwords to try."""

    member: Member
    open: Callable[[Sequence[str]], Chunks] | None = None
    offset: int | None = None


class BadArchive(PluginError):
    """The archive or one member cannot be read (further); `reason` says why."""

    def __init__(self, reason: Reason, message: str) -> None:
        """The reason is the code."""
        super().__init__(reason.value, message, reason=reason)


class WrongPassword(BadArchive):
    """Nothing that was tried opens the member."""

    def __init__(self, name: str, tried: int) -> None:
        """`tried` passwords did not fit."""
        super().__init__(Reason.ENCRYPTED_ARCHIVE, f"{name}: none of {tried} passwords opens it")


def name_of(raw: bytes, encoding: str = "utf-8") -> str:
    """A member's name as text; bytes that are no text are escaped, and it is cut at 4,096."""
    return raw[:MAX_NAME_BYTES].decode(encoding, "backslashreplace")


def timestamp(seconds: float) -> str | None:
    """Unix seconds as RFC 3339, or None for nonsense."""
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat()[:19] + "Z"
    except (OverflowError, ValueError, OSError):
        return None


def trailing(view: memoryview, at: int) -> Iterator[Entry]:
    """What stands behind an archive's end mark, past the zeros that pad it, as one more member."""
    while at < len(view):
        chunk = bytes(view[at : at + CHUNK_BYTES])
        zeros = len(chunk) - len(chunk.lstrip(b"\0"))
        at += zeros
        if zeros < len(chunk):
            break
    data = view[at:]
    if len(data):
        member = Member(name="trailing", size=len(data), method="stored")
        yield Entry(member, lambda _passwords: sliced(data), at)


def sliced(view: memoryview) -> Chunks:
    """A view in chunks."""
    for at in range(0, len(view), CHUNK_BYTES):
        yield view[at : at + CHUNK_BYTES]


def refuse(reason: Reason, message: str) -> Chunks:
    """No bytes but a reason."""
    raise BadArchive(reason, message)
    yield b""
