"""Read compound files (MS-CFB) within bounds: no recursion, no claimed size believed, streams in chunks.

The well-known library reads as many sectors as a stream claims, round and round in a cyclic chain, and
compares every stream with every other; hence this reader. Section numbers are those of MS-CFB.
"""

from __future__ import annotations

import array
import io
import string
import struct
import sys
from collections.abc import Iterator

import msgspec

from stoq_core.errors import PluginError, Reason

MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_END, _MAX_SECTOR, _NO_STREAM = 0xFFFFFFFE, 0xFFFFFFFA, 0xFFFFFFFF
_STORAGE, _STREAM, _ROOT = 1, 2, 5
_ENTRY = struct.Struct("<64sHBBIII16sIQQIQ")
_MAX_DEPTH = 64
_MINI_BELOW = 4_096
_MAX_ENTRIES = 200_000


class BadCompound(PluginError):
    """The file cannot be read as a compound file (further); `reason` is `corrupt` or `truncated`."""

    def __init__(self, reason: Reason, message: str) -> None:
        """The reason is the code."""
        super().__init__(reason.value, message, reason=reason)


class Entry(msgspec.Struct, kw_only=True):
    """One directory entry (2.6.1): its names from the root down, number, size in bytes and first sector."""

    path: tuple[str, ...]
    sid: int
    kind: int
    size: int
    start: int
    clsid: bytes
    orphan: bool = False
    """No storage holds it: only a look at the whole directory finds it."""

    @property
    def shown(self) -> str:
        """The path as text, with control characters as `[5]`."""
        return "/".join(visible(one) for one in self.path)


def visible(name: str) -> str:
    r"""A stream's name without control characters: the first one of `\5SummaryInformation` is `[5]`.

    Windows Installer packs two letters of a name into one, from U+3800 on; they are unpacked.
    """
    if name and all(_PACKED <= ord(one) <= _TABLE for one in name):
        return "".join(map(_unpacked, name))
    return "".join(f"[{ord(one)}]" if ord(one) < 32 or 127 <= ord(one) < 160 else one for one in name)


def _unpacked(letter: str) -> str:
    value = ord(letter) - _PACKED
    if value < 64 * 64:
        return _LETTERS[value & 63] + _LETTERS[value >> 6]
    return _LETTERS[value - 64 * 64] if value < 64 * 65 else "!"


_PACKED, _TABLE = 0x3800, 0x4840  # the last one marks a table of the installer's database
_LETTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase + "._"


class Compound:
    """One file; `entries` are its storages and streams, `problems` what was wrong with it so far."""

    def __init__(self, view: memoryview) -> None:
        """Read header, allocation tables and directory. Raises `BadCompound`."""
        if bytes(view[:8]) != MAGIC:
            raise BadCompound(Reason.CORRUPT, "no compound file")
        if len(view) < 512:
            raise BadCompound(Reason.TRUNCATED, "the header is not complete")
        self.view = view
        self.problems: dict[str, Reason] = {}
        self.tables: list[tuple[int, int]] = []
        """Offset and size of what was read of the allocation tables."""
        self.directory: list[tuple[int, int]] = []
        """Offset and size of each run of the directory's sectors."""
        self.header_words = 0
        """Words of the header's list of table sectors (2.2) that name a sector of the file."""
        self._header()
        self._fat = self._load_fat()
        self.entries = self._load_directory()
        self.by_path = {
            tuple(x.upper() for x in one.path): one for one in self.entries[::-1] if not one.orphan
        }
        self._mini_view: memoryview | None = None
        self._mini_fat = array.array("I")

    def _header(self) -> None:
        """2.2."""
        shift, mini_shift = struct.unpack_from("<HH", self.view, 30)
        if shift not in (9, 12) or mini_shift != 6:
            raise BadCompound(
                Reason.CORRUPT, f"sectors of 2^{shift} and 2^{mini_shift} bytes are not allowed"
            )
        self._size: int = 1 << shift
        self._count = max(0, -(-len(self.view) // self._size) - 1)
        (self._directory_start,) = struct.unpack_from("<I", self.view, 48)
        (self._mini_fat_start,) = struct.unpack_from("<I", self.view, 60)
        (self._difat_start,) = struct.unpack_from("<I", self.view, 68)

    def _sector(self, number: int) -> memoryview:
        at = (number + 1) * self._size
        return self.view[at : at + self._size]

    def _load_fat(self) -> array.array[int]:
        """2.3 and 2.5: at most as many sectors of the table as the file's own sectors need."""
        fat = array.array("I")
        seen: set[int] = set()
        numbers = _words(self.view[76:512])
        self.header_words = max((n for n, one in enumerate(numbers, 1) if one < self._count), default=0)
        following = self._difat_start
        while True:
            for number in numbers:
                if number < self._count and number not in seen:
                    seen.add(number)
                    used = min(self._size, 4 * (self._count - len(fat)))
                    self.tables.append(((number + 1) * self._size, used))
                    fat.frombytes(_padded(self._sector(number), self._size))
                    if len(fat) >= self._count:
                        break
            if len(fat) >= self._count or following >= self._count or following in seen:
                break
            seen.add(following)
            self.tables.append(((following + 1) * self._size, self._size))
            *numbers, following = _words(self._sector(following)) or [_END]
        if sys.byteorder == "big":
            fat.byteswap()
        return fat[: self._count]

    def _problem(self, reason: Reason, message: str) -> None:
        if len(self.problems) < 50:
            self.problems.setdefault(message, reason)

    def _chain(self, start: int, most: int, fat: array.array[int], what: str) -> Iterator[tuple[int, int]]:
        """Runs of neighbouring sectors, (first, count): at most `most` sectors in all."""
        number, done = start, 0
        seen: set[int] = set()
        while done < most and number < len(fat):
            if number in seen:
                self._problem(Reason.CORRUPT, f"{what}: its chain bites its tail")
                return
            first, run = number, 0
            while True:
                run += 1
                following = fat[number]
                if following != number + 1 or done + run >= most or following >= len(fat) or run >= 512:
                    break
                number = following
            yield first, run
            seen.update(range(first, first + run))
            done += run
            number = following
        if done < most and number != _END:
            self._problem(Reason.CORRUPT, f"{what}: its chain leads to sector {number}, which is not there")

    def _load_directory(self) -> list[Entry]:
        """2.6: the entries in tree order, then those that no storage holds."""
        runs = list(self._chain(self._directory_start, self._count, self._fat, "the directory"))
        self.directory = [((first + 1) * self._size, count * self._size) for first, count in runs]
        raw = b"".join(bytes(self._run(first, count)) for first, count in runs)
        count = len(raw) // 128
        if count > _MAX_ENTRIES:
            self._problem(Reason.TOO_MANY_PAYLOADS, f"a directory of {count} entries is not read whole")
        rows = list(_ENTRY.iter_unpack(raw[: min(count, _MAX_ENTRIES) * 128]))
        if not rows or rows[0][2] != _ROOT:
            whole = Reason.CORRUPT if self._directory_start < self._count else Reason.TRUNCATED
            raise BadCompound(whole, "the directory has no root")
        seen: dict[int, Entry] = {0: self._entry(0, rows[0], ())}
        stack: list[tuple[int, tuple[str, ...]]] = [(rows[0][6], ())]
        while stack:
            sid, parent = stack.pop()
            if sid >= len(rows) or sid in seen:
                if sid != _NO_STREAM:
                    self._problem(Reason.CORRUPT, "an entry of the directory is out of range or named twice")
                continue
            seen[sid] = entry = self._entry(sid, rows[sid], parent)
            below = entry.path if len(entry.path) < _MAX_DEPTH else parent
            stack += [(rows[sid][5], parent), (rows[sid][4], parent)]
            if entry.kind == _STORAGE:
                stack.append((rows[sid][6], below))
        lost = [sid for sid, row in enumerate(rows) if row[2] in (_STREAM, _STORAGE) and sid not in seen]
        orphans = [self._entry(sid, rows[sid], (), orphan=True) for sid in lost]
        self.root = seen.pop(0)
        return [*seen.values(), *orphans]

    def _entry(
        self, sid: int, row: tuple[object, ...], parent: tuple[str, ...], *, orphan: bool = False
    ) -> Entry:
        raw, length, kind, _, _, _, _, clsid, _, _, _, start, size = row
        assert isinstance(raw, bytes) and isinstance(length, int) and isinstance(size, int)  # noqa: PT018
        assert isinstance(kind, int) and isinstance(start, int) and isinstance(clsid, bytes)  # noqa: PT018
        name = raw[: max(0, min(length, 64) - 2)].decode("utf-16-le", "replace").rstrip("\0")
        size = size & 0xFFFFFFFF if self._size == 512 else size  # 2.6.1: the upper half may hold anything
        return Entry(
            path=(*parent, name), sid=sid, kind=kind, size=size, start=start, clsid=clsid, orphan=orphan
        )

    def _run(self, first: int, count: int) -> memoryview:
        at = (first + 1) * self._size
        return self.view[at : at + count * self._size]

    @property
    def streams(self) -> list[Entry]:
        """The streams, in the order of the directory's tree, orphans last."""
        return [one for one in self.entries if one.kind == _STREAM]

    @property
    def storages(self) -> list[Entry]:
        """The storages."""
        return [one for one in self.entries if one.kind == _STORAGE]

    def is_mini(self, entry: Entry) -> bool:
        """True for a stream whose bytes stand in the mini stream (2.4)."""
        return entry.kind == _STREAM and entry.size < _MINI_BELOW

    def ranges(self, entry: Entry) -> Iterator[tuple[int, int, int]]:
        """Offset, size and room of each run of a stream, in `mini` for short ones; unlike `chunks` silent.

        The room is what the run's sectors hold: more than the size at a stream's end.
        """
        mini, left = self.is_mini(entry), entry.size
        if mini and left:
            self._load_mini()
        unit, shift = (64, 0) if mini else (self._size, 1)
        said = dict(self.problems)
        fat = self._mini_fat if mini else self._fat
        for first, count in self._chain(entry.start, -(-left // unit) if left else 0, fat, ""):
            yield (first + shift) * unit, min(left, count * unit), count * unit
            left -= min(left, count * unit)
        self.problems = said

    @property
    def sector_bytes(self) -> int:
        """512 or 4,096."""
        return self._size

    @property
    def mini(self) -> memoryview:
        """The mini stream (2.4)."""
        self._load_mini()
        assert self._mini_view is not None
        return self._mini_view

    def chunks(self, entry: Entry) -> Iterator[memoryview]:
        """A stream's bytes; one that is shorter than it claims is noted in `problems`."""
        what, left = entry.shown, entry.size
        mini = self.is_mini(entry)
        if mini and left:
            self._load_mini()
        unit = 64 if mini else self._size
        fat = self._mini_fat if mini else self._fat
        for first, count in self._chain(entry.start, -(-left // unit) if left else 0, fat, what):
            part = self._mini_run(first, count) if mini else self._run(first, count)
            yield part[:left]
            if len(part) < min(left, count * unit):
                self._problem(Reason.TRUNCATED, f"{what}: the file ends before it does")
            left -= min(left, count * unit)
        if left:
            self._problem(Reason.CORRUPT, f"{what}: {left} bytes fewer than it claims")

    def _load_mini(self) -> None:
        """2.4: the mini stream and its table, read when first needed."""
        if self._mini_view is not None:
            return
        size = min(self.root.size, len(self.view))
        runs = self._chain(self.root.start, -(-size // self._size), self._fat, "the mini stream")
        self._mini_view = memoryview(b"".join(bytes(self._run(first, count)) for first, count in runs)[:size])
        most = -(-len(self._mini_view) // 64 * 4 // self._size) + 1
        table = list(self._chain(self._mini_fat_start, min(most, self._count), self._fat, "the mini table"))
        used = 4 * -(-len(self._mini_view) // 64)
        for first, count in table:
            self.tables.append(((first + 1) * self._size, min(used, count * self._size)))
            used -= min(used, count * self._size)
        raw = b"".join(_padded(self._run(first, count), count * self._size) for first, count in table)
        self._mini_fat.frombytes(raw)
        if sys.byteorder == "big":
            self._mini_fat.byteswap()
        self._mini_fat = self._mini_fat[: -(-len(self._mini_view) // 64)]

    def _mini_run(self, first: int, count: int) -> memoryview:
        assert self._mini_view is not None
        return self._mini_view[first * 64 : (first + count) * 64]

    def read(self, entry: Entry, most: int | None = None) -> bytes:
        """A stream's first `most` bytes, or all that the file has of them."""
        made = bytearray()
        for chunk in self.chunks(entry):
            made += chunk
            if most is not None and len(made) >= most:
                return bytes(made[:most])
        return bytes(made)

    def find(self, *path: str) -> Entry | None:
        """The entry at a path from the root; case does not matter (2.6.4)."""
        return self.by_path.get(tuple(one.upper() for one in path))

    def openstream(self, path: str) -> io.BytesIO:
        """A stream by its path with slashes, as the VBA library asks for it. Raises `OSError`."""
        entry = self.find(*path.split("/"))
        if entry is None or entry.kind != _STREAM:
            raise FileNotFoundError(path[:200])
        return io.BytesIO(self.read(entry))


def _words(view: memoryview) -> list[int]:
    return [one for (one,) in struct.iter_unpack("<I", view[: len(view) // 4 * 4])]


def _padded(view: memoryview, size: int) -> bytes:
    return bytes(view).ljust(size, b"\xff")
