"""What every reader yields: one entry a member, with a way to read it in chunks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Generator, Iterator, Sequence

import msgspec

from stoq_core.body import Body
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
Decoding = Generator[bytes, None, int]
"""Plain bytes; returns how many packed ones were taken."""
FREE_BYTES = 32
"""What a format leaves free and is no longer holds no file, packed or not."""
_MAX_TEXT_BYTES = 1_024
_UNREADABLE = bytes(set(range(32)) - {9, 10, 13})


class Entry(msgspec.Struct):
    """A member and how to read it, if it has bytes at all; `open` takes the passwords to try.

    `packed` bytes from `offset` on are what it is made of: whoever reads it claims them, as the child that
    it gives or as unread. Readers that find out while reading claim for themselves and leave it 0.
    A way of reading that may end before its data do appends to `taken` how many bytes it took.
    `contradicts` says what else another record of the archive makes of these bytes.
    """

    member: Member
    open: Callable[[Sequence[str]], Chunks | Body] | None = None
    offset: int | None = None
    packed: int = 0
    taken: list[int] = []
    contradicts: str = ""


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


def is_text(raw: bytes | memoryview, most: int = _MAX_TEXT_BYTES) -> bool:
    """True for what a person may have written, such as a name: short, without control bytes.

    Packed data of more than `FREE_BYTES` have some. Text stands in the payload as it is, where it is seen.
    """
    data = bytes(raw[: most + 1])
    return len(data) <= most and len(data.translate(None, _UNREADABLE)) == len(data)


def is_field(raw: bytes) -> bool:
    """True for texts, ended or padded with zeros, or for too little to hide anything in."""
    return len(raw.strip(b"\0")) <= 8 or is_text(raw.replace(b"\0", b""))


def stored(member: Member, data: memoryview, offset: int) -> Entry:
    """A member whose bytes stand in the payload as they are."""
    return Entry(member, lambda _passwords: sliced(data), offset, len(data))


def sliced(view: memoryview) -> Chunks:
    """A view in chunks."""
    for at in range(0, len(view), CHUNK_BYTES):
        yield view[at : at + CHUNK_BYTES]


def chunks_of(content: Chunks | Body) -> Chunks:
    """Bytes in chunks, however an entry gave them."""
    return sliced(content.view()) if isinstance(content, Body) else content


def counted(decoding: Decoding, taken: list[int]) -> Chunks:
    """The plain bytes; `taken` gets how many packed ones they were made of, once all are out."""
    taken.append((yield from decoding))


def refuse(reason: Reason, message: str) -> Chunks:
    """No bytes but a reason."""
    raise BadArchive(reason, message)
    yield b""


def find(view: memoryview, mark: bytes, start: int) -> int:
    """Where `mark` next stands, or -1; searched piece by piece, so that nothing large is copied."""
    step = 4_096
    while start < len(view):
        at = bytes(view[start : start + step + len(mark) - 1]).find(mark)
        if at >= 0:
            return start + at
        start += step
        step = min(4 * CHUNK_BYTES, 2 * step)
    return -1


def behind_zeros(view: memoryview, at: int) -> int:
    """The first byte from `at` on that is not zero, or the end."""
    step = 512
    while at < len(view):
        chunk = bytes(view[at : at + step])
        rest = chunk.lstrip(b"\0")
        at += len(chunk) - len(rest)
        if rest:
            break
        step = min(CHUNK_BYTES, 2 * step)
    return at
