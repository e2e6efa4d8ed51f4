"""ARJ archives (ARJ technical information, 2.8): stored and methods 1 to 4, the old encryption."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from stoq_core.account import Account
from stoq_core.errors import Reason

from .checks import checked, fits
from .declare import Format, Mark, Source, number
from .dostime import dos_time
from .entry import (
    CHUNK_BYTES,
    BadArchive,
    Chunks,
    Entry,
    Member,
    WrongPassword,
    counted,
    is_field,
    name_of,
    refuse,
    sliced,
    timestamp,
)
from .lzhuf import fastest, lzhuf

_MAGIC = b"\x60\xea"
_GARBLED, _VOLUME, _CONTINUED = 1, 4, 8
_MAIN = 2
_MAX_HEADER_BYTES = 2_600
_KINDS = {3: "directory", 4: "label", 5: "label"}
_UNIX_HOSTS = frozenset({2, 8})
_WINDOW, _SLOTS, _SLOT_BITS = 26_624, 17, 5
_GOST = 2
"""Encryption versions from here on are GOST, which only ARJ itself reads."""
_METHODS = {0: "stored", 1: "lzhuf", 2: "lzhuf", 3: "lzhuf", 4: "fastest"}


def read_arj(source: Source) -> Iterator[Entry]:
    """Every member of the volume; one that goes on in the next volume is `truncated`.

    Passwords are tried on at most as many bytes as the job has left.
    """
    view, account, room = source.view, source.account, source.job.total_left
    header, at = _header(view, 0, account)
    if header is None or header[6] != _MAIN:
        raise BadArchive(Reason.CORRUPT, "the archive does not begin with a main header")
    gost = len(header) > 28 and header[28] >= _GOST
    while True:
        header, at = _header(view, at, account)
        if header is None:
            return
        if len(header) < 30:
            raise BadArchive(Reason.CORRUPT, "a header is too short")
        packed = int.from_bytes(header[12:16], "little")
        data = view[at : at + packed]
        yield _entry(header, data, at, None if gost else room)
        if len(data) < packed:
            raise BadArchive(Reason.TRUNCATED, "the archive ends within a member")
        at += packed


def _header(view: memoryview, at: int, account: Account) -> tuple[bytes | None, int]:
    """The next header without its magic and size, and where the data behind it begins."""
    if bytes(view[at : at + 2]) != _MAGIC:
        reason = Reason.TRUNCATED if at + 4 > len(view) else Reason.CORRUPT
        raise BadArchive(reason, f"there is no header at offset {at}")
    size = int.from_bytes(view[at + 2 : at + 4], "little")
    if not size:
        account.structure(at, 4)
        return None, at + 4
    header = bytes(view[at + 4 : at + 4 + size])
    end = at + 4 + size
    if end + 6 > len(view):
        raise BadArchive(Reason.TRUNCATED, "the archive ends within a header")
    if zlib.crc32(header) != int.from_bytes(view[end : end + 4], "little"):
        raise BadArchive(Reason.CORRUPT, f"the header at offset {at} has a wrong checksum")
    account.structure(at, 4 + min(size, header[0]))
    if is_field(header[header[0] :]):  # name and comment
        account.structure(at + 4 + header[0], size - header[0])
    account.structure(end, 6)
    end += 4
    while extension := int.from_bytes(view[end : end + 2], "little"):
        end += 2 + extension + 4
        if end + 2 > len(view):
            raise BadArchive(Reason.TRUNCATED, "the archive ends within a header")
    return header, end + 2


def _entry(header: bytes, data: memoryview, offset: int, room: int | None) -> Entry:
    first, _, _, host, flags, method, kind, modifier = header[:8]
    time, date, _, size, crc = struct.unpack_from("<HHIII", header, 8)
    member = Member(
        name=name_of(header[first:].partition(b"\0")[0], "utf-8").replace("\\", "/"),
        size=size,
        kind=_KINDS.get(kind, "file"),
        encrypted=bool(flags & _GARBLED),
        method=_METHODS.get(method, f"method {method}"),
        modified=timestamp(date << 16 | time) if host in _UNIX_HOSTS else dos_time(date, time),
    )
    if host in _UNIX_HOSTS:
        member.mode = f"{int.from_bytes(header[26:28], 'little') & 0o7777:04o}"
    if member.kind != "file" and not len(data):
        return Entry(member)
    if flags & (_VOLUME | _CONTINUED):
        message = f"{member.name}: part of it is in another volume"
        return Entry(member, lambda _passwords: refuse(Reason.TRUNCATED, message), offset, len(data))

    taken: list[int] = []

    def opened(passwords: Sequence[str]) -> Chunks:
        if not member.encrypted or not len(data):
            return _plain(data, method, crc, size, taken)
        if room is None:
            raise BadArchive(Reason.ENCRYPTED_ARCHIVE, f"{member.name}: encrypted with GOST")
        return _decrypted(data, _Lock(member, method, crc, modifier, room), passwords)

    return Entry(member, opened, offset, len(data), taken)


def _plain(data: memoryview, method: int, crc: int, size: int, taken: list[int]) -> Chunks:
    if method == 0:
        chunks = sliced(data)
    elif method in (1, 2, 3):
        decoding = lzhuf(data, size, window=_WINDOW, slots=_SLOTS, slot_bits=_SLOT_BITS)
        chunks = counted(decoding, taken)
    elif method == 4:
        chunks = counted(fastest(data, size), taken)
    else:
        return refuse(Reason.UNSUPPORTED_METHOD, f"the method {method} is not read")
    return checked(chunks, zlib.crc32, crc, size)


class _Lock(NamedTuple):
    """What a password must fit: the member's data give this checksum, in at most `room` bytes."""

    member: Member
    method: int
    crc: int
    modifier: int
    room: int


def _decrypted(data: memoryview, lock: _Lock, passwords: Sequence[str]) -> Chunks:
    """With the first password whose data gives the right checksum: only that tells it from others."""
    member = lock.member
    for password in passwords:
        key = bytes(byte + lock.modifier & 0xFF for byte in password.encode("utf-8", "replace"))
        if not key:
            continue
        plain = memoryview(_xor(data, key))
        if fits(lambda p=plain: _plain(p, lock.method, lock.crc, member.size, []), lock.room):  # type: ignore[misc]
            member.password = password
            return _plain(plain, lock.method, lock.crc, member.size, [])
    raise WrongPassword(member.name, len(passwords))


def _xor(data: memoryview, key: bytes) -> bytes:
    out = bytearray()
    step = CHUNK_BYTES // len(key) * len(key) or len(key)
    for at in range(0, len(data), step):
        chunk = data[at : at + step]
        stream = (key * (len(chunk) // len(key) + 1))[: len(chunk)]
        mixed = int.from_bytes(chunk, "big") ^ int.from_bytes(stream, "big")
        out += mixed.to_bytes(len(chunk), "big")
    return bytes(out)


def _begins(view: memoryview, offset: int) -> bool:
    """A main header whose checksum holds."""
    size = number(view, offset + 2, 2)
    header = bytes(view[offset + 4 : offset + 4 + size])
    if not 30 <= size <= _MAX_HEADER_BYTES or len(header) < size or header[6] != _MAIN:
        return False
    return zlib.crc32(header) == number(view, offset + 4 + size, 4)


FORMATS = (Format("arj", read_arj, (Mark(_MAGIC),), _begins),)
