"""ACE 1 and 2 through acefile, a bounded decoder in Python; the container image brings it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from stoq_core.body import Body, BodyWriter
from stoq_core.errors import Reason

from .declare import Format, Mark, Source, number
from .entry import MAX_NAME_BYTES, BadArchive, Chunks, Entry, Member, WrongPassword, sliced

_MOST_PASSWORD_BYTES = 50
"""ACE takes no longer ones."""
_MAIN, _FILE = 0, 1
_HAS_DATA, _COMMENT = 1, 2
_MOST_HEADER_BYTES = 512


def read_ace(source: Source) -> Iterator[Entry]:
    """Every member; `plugin_missing` where acefile is not installed."""
    payload, room = source.payload, source.job.total_left
    try:
        import acefile
    except ImportError:
        raise BadArchive(
            Reason.PLUGIN_MISSING, "ACE archives need the library acefile (extra: image)"
        ) from None
    try:
        archive = acefile.open(payload.open())
        members = archive.getmembers()
    except Exception as error:  # noqa: BLE001 - struct, index and value errors beside its own
        raise BadArchive(Reason.CORRUPT, f"the archive is damaged: {error}") from None
    _claim_blocks(source)
    for one in members:
        member = Member(
            name=str(one.filename)[:MAX_NAME_BYTES],
            size=int(one.size),
            kind="directory" if one.is_dir() else "file",
            encrypted=bool(one.is_enc()),
            method=("stored", "lz77", "blocked")[one.comptype] if one.comptype < 3 else "unknown",
            modified=one.datetime.strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        if member.kind == "file" or one.packsize:
            yield Entry(member, _opener(archive, one, member, room))
        else:
            yield Entry(member)


def _claim_blocks(source: Source) -> None:
    """Headers (CRC, size, type, flags) up to the first that does not hold, and the data of files."""
    view, at = source.view, 0
    while at + 7 <= len(view):
        size, kind, flags = number(view, at + 2, 2), number(view, at + 4, 1), number(view, at + 5, 2)
        header = bytes(view[at + 4 : at + 4 + size])
        if size < 3 or not _sum_holds(header, number(view, at, 2)):
            return
        if not flags & _COMMENT and (kind == _MAIN or size <= _MOST_HEADER_BYTES):
            source.account.structure(at, 4 + size)
        data = number(view, at + 7, 4) if flags & _HAS_DATA else 0
        if kind == _FILE:
            source.account.child(at + 4 + size, data)
        at += 4 + size + data


def _sum_holds(header: bytes, expected: int) -> bool:
    """CRC-16: the low half of a CRC-32 without its last turn."""
    return (zlib.crc32(header) ^ 0xFFFFFFFF) & 0xFFFF == expected


def _opener(archive: Any, one: Any, member: Member, room: int) -> Any:
    def opened(passwords: Sequence[str]) -> Chunks:
        if not member.encrypted:
            return _blocks(archive, one, None)
        for password in passwords:
            raw = password.encode("utf-8", "replace")
            if not 0 < len(raw) <= _MOST_PASSWORD_BYTES:
                continue
            body = _kept(_blocks(archive, one, raw), room)
            if body is not None:
                member.password = password
                return sliced(body.view())
        raise WrongPassword(member.name, len(passwords))

    return opened


def _kept(blocks: Chunks, room: int) -> Body | None:
    """What a password gives, up to `room` bytes; None for a wrong one.

    Kept, since reading a member of a solid archive again would begin with the first member.
    """
    writer = BodyWriter()
    try:
        for block in blocks:
            writer.write(block)
            if writer.size > room:
                break
    except WrongPassword:
        return None
    return writer.finish()


def _blocks(archive: Any, one: Any, password: bytes | None) -> Chunks:
    import acefile

    try:
        yield from archive.readblocks(one, pwd=password)
    except acefile.EncryptedArchiveError:
        raise WrongPassword(str(one.filename), 1) from None
    except acefile.UnknownCompressionMethodError as error:
        raise BadArchive(Reason.UNSUPPORTED_METHOD, str(error)) from None
    except acefile.MultiVolumeArchiveError as error:
        raise BadArchive(Reason.TRUNCATED, str(error)) from None
    except (MemoryError, GeneratorExit):
        raise
    except Exception as error:  # noqa: BLE001 - as above
        raise BadArchive(Reason.CORRUPT, f"the member is damaged: {error}") from None


def _begins(view: memoryview, offset: int) -> bool:
    """A main header (type 0) whose checksum holds."""
    size = number(view, offset + 2, 2)
    header = bytes(view[offset + 4 : offset + 4 + size])
    return len(header) == size >= 27 and _sum_holds(header, number(view, offset, 2))


FORMATS = (Format("ace", read_ace, (Mark(b"**ACE**", 7),), _begins),)
