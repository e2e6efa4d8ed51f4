"""How a zip's members are read: plain, with either encryption, and by 7-Zip what is packed in rare ways."""

from __future__ import annotations

import calendar
import functools
from collections.abc import Callable, Iterator, Sequence

from stoq_core.errors import PluginError, Reason

from .by_tool import read_by_7z
from .declare import Source
from .entry import BadArchive, Chunks, Entry, Member, WrongPassword, chunks_of, name_of, timestamp
from .zip_directory import Record, data_start, extra_field
from .zip_methods import DECODED, METHODS, checked, decompressed
from .zip_records import LOCAL
from .zipcrypt import aes, traditional

_ENCRYPTED, _DESCRIPTOR, _STRONG, _UTF8, _HIDDEN = 1, 8, 64, 2048, 8192
_AES = 99
_GUESSED_MEMBERS = 8
_MOST_GUESSED_BYTES = 1 << 18
_EMPTY_DEFLATE = b"\3\0"
_ENCODINGS = ("utf-8", "cp437", "cp1252", "cp850")
"""What programs of the last decades made of a password; a wrong one is found out at once."""


class Members:
    """The members of one archive; what one password opened is tried first on the next."""

    def __init__(self, view: memoryview, source: Source | None = None) -> None:
        """Without a `source` nothing is encrypted and 7-Zip is not asked: the methods below are all."""
        self._view = view
        self._source = source
        self._worked: list[str] = []
        self._guesses_left = _GUESSED_MEMBERS
        self._by_7z: list[Entry] | PluginError | None = None

    def entry(self, record: Record, index: int, *, contradicts: str = "") -> Entry:
        """A record's member, with the bytes that it says are its own."""
        member = member_of(record)
        if member.kind == "directory" and not record.packed and not record.size:
            return Entry(member)
        if bytes(self._view[record.header : record.header + 4] if record.header >= 0 else b"") != LOCAL:
            return self._unmarked(record, member)
        start = data_start(self._view, record.header)
        taken: list[int] = []
        entry = Entry(
            member, None, start, max(0, min(record.packed, len(self._view) - start)), taken, contradicts
        )

        def opened(passwords: Sequence[str]) -> Chunks:
            data = self._view[start : start + record.packed]
            method = _method(record)
            if method not in DECODED and self._source is not None and not record.flags & (_STRONG | _HIDDEN):
                return self._other(member, index)
            if not record.encrypted:
                return checked(decompressed(data, method, taken), record.crc, record.size)
            if _is_plain(data, record):
                entry.contradicts = entry.contradicts or f"{member.name}: it is called encrypted and is not"
                return checked(decompressed(data, record.method, taken), record.crc, record.size)
            if record.flags & (_STRONG | _HIDDEN):
                raise BadArchive(Reason.ENCRYPTED_ARCHIVE, f"{member.name}: PKWARE's strong encryption")
            if len(data) < record.packed:
                raise BadArchive(Reason.TRUNCATED, f"{member.name}: the archive ends within it")
            return self._decrypted(data, record, member, passwords)

        if member.kind == "directory" and bytes(self._view[start : start + entry.packed]) == _EMPTY_DEFLATE:
            return entry  # packed like any file by some programs
        entry.open = opened
        return entry

    def _unmarked(self, record: Record, member: Member) -> Entry:
        """A member whose header has no mark, which some programs do not ask for: its checksum tells."""
        known = 0 <= record.header <= len(self._view) - 30 and record.packed and not record.encrypted
        start = data_start(self._view, record.header) if known else 0
        data = self._view[start : start + record.packed]
        if not known or not _is_plain(data, record):
            message = f"{member.name}: there is no local header at offset {record.header}"
            return Entry(member, lambda _passwords: _refuse(Reason.CORRUPT, message))

        def opened(_passwords: Sequence[str]) -> Chunks:
            return checked(decompressed(data, record.method, []), record.crc, record.size)

        contradicts = f"{member.name}: its local header has no mark"
        return Entry(member, opened, start, len(data), [], contradicts)

    def _decrypted(
        self, data: memoryview, record: Record, member: Member, passwords: Sequence[str]
    ) -> Chunks:
        """With the first password that fits to the last byte: a wrong one must not yield a single byte."""
        unlocks = _unlocks_aes if record.method == _AES else _unlocks_traditional
        tried = self._candidates(passwords, record)
        for password in tried:
            for raw in dict.fromkeys(password.encode(encoding, "replace") for encoding in _ENCODINGS):
                chunks = unlocks(data, raw, record)
                if chunks is not None:
                    member.password = password
                    self._worked = [password]
                    member.method += " (aes)" if record.method == _AES else ""
                    return chunks()
        raise WrongPassword(member.name, len(tried))

    def _candidates(self, passwords: Sequence[str], record: Record) -> list[str]:
        """Guesses are tried on the first members only, and where a wrong one costs little.

        One in 256 passes the check of traditional encryption: then data that are not packed have to be
        decrypted to their end. WinZip's derives each key by a thousand rounds.
        """
        guesses: Sequence[str] = ()
        if self._source is not None and self._guesses_left > 0 and not self._worked:
            self._guesses_left -= _GUESSED_MEMBERS if record.method == _AES else 1
            if record.method != 0 or record.packed <= _MOST_GUESSED_BYTES:
                guesses = self._source.guesses
        return list(dict.fromkeys((*self._worked, *passwords, *guesses)))

    def _other(self, member: Member, index: int) -> Chunks:
        """What no library decompresses, by 7-Zip, which is run once for all such members."""
        assert self._source is not None
        if self._by_7z is None:
            passwords = [*self._worked, *self._source.passwords]
            try:
                self._by_7z = list(
                    read_by_7z(self._source.job, self._source.payload, "zip", passwords, accounts=False)
                )
            except PluginError as error:
                self._by_7z = error
        if isinstance(self._by_7z, PluginError):
            raise self._by_7z
        entry = self._by_7z[index] if index < len(self._by_7z) else None
        if entry is None or entry.open is None or entry.member.name != member.name:
            raise BadArchive(
                Reason.UNSUPPORTED_METHOD, f"{member.name}: compression {member.method} is not read"
            )
        member.password = entry.member.password
        return chunks_of(entry.open(()))


def member_of(record: Record) -> Member:
    """What a record lists."""
    utf8 = record.flags & _UTF8 or _is_utf8(record.name)
    name = name_of(record.name, "utf-8" if utf8 else "cp437")
    mode = record.attributes >> 16 if record.system == 3 else 0
    kind = "file"
    if name.endswith(("/", "\\")):
        kind = "directory"
    elif mode & 0o170000 == 0o120000:
        kind = "symlink"
    method = _method(record)
    return Member(
        name=name,
        size=record.size,
        kind=kind,
        encrypted=record.encrypted,
        method=METHODS.get(method, f"method {method}"),
        modified=_dos_time(record.date, record.time),
        mode=f"{mode & 0o7777:04o}" if mode else None,
    )


def _method(record: Record) -> int:
    """The compression, within WinZip's encryption, too."""
    field = extra_field(record.extra, 0x9901) if record.method == _AES else b""
    return int.from_bytes(field[5:7], "little") if len(field) >= 7 else record.method


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


@functools.lru_cache(maxsize=1_024)
def _dos_time(date: int, time: int) -> str | None:
    """4.4.6; local time of whoever made it, given as if it were UTC."""
    fields = ((date >> 9) + 1980, date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, (time & 31) * 2)
    if not (1 <= fields[1] <= 12 and 1 <= fields[2] <= 31):
        return None
    return timestamp(calendar.timegm(fields))


def _refuse(reason: Reason, message: str) -> Iterator[bytes]:
    raise BadArchive(reason, message)
    yield b""


def _is_plain(data: memoryview, record: Record) -> bool:
    """True if what is called encrypted can be read as it stands: its checksum says so."""
    if record.method not in DECODED or (record.method == 0 and len(data) != record.size):
        return False
    return _holds(checked(decompressed(data, record.method, []), record.crc, record.size))


def _holds(chunks: Chunks) -> bool:
    try:
        for _ in chunks:
            pass
    except BadArchive:
        return False
    return True


def _unlocks_aes(data: memoryview, password: bytes, record: Record) -> Callable[[], Chunks] | None:
    field = extra_field(record.extra, 0x9901)
    plain = aes(data, password, field[4]) if len(field) >= 7 else None
    if plain is None:
        return None
    check = record.crc if field[0] == 1 else None
    return lambda: checked(decompressed(plain, _method(record), []), check, record.size)


def _unlocks_traditional(data: memoryview, password: bytes, record: Record) -> Callable[[], Chunks] | None:
    """A check of one byte, then the whole: the first lets one in 256 wrong passwords through."""
    byte = record.time >> 8 if record.flags & _DESCRIPTOR else record.crc >> 24
    plain = traditional(data, password, byte)
    if plain is None or not _holds(checked(decompressed(plain, record.method, []), record.crc, record.size)):
        return None
    again = traditional(data, password, byte)
    assert again is not None
    return lambda: checked(decompressed(again, record.method, []), record.crc, record.size)
