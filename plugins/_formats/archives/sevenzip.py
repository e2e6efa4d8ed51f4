"""7z through py7zr, with every byte counted while it is written."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from stoq_core.errors import LimitReached, Reason

from .by_tool import read_by_7z
from .declare import Format, Mark, Source, number
from .entry import MAX_DICTIONARY_BYTES, BadArchive, Entry, Member, WrongPassword, name_of

_SIGNATURE_BYTES = 32
_BLOCK_BYTES = 32 << 20
"""What is decoded at once."""


def _library() -> Any:
    """py7zr, which would read /proc/meminfo to find out how much to decode at once: no child may."""
    import py7zr.py7zr

    py7zr.py7zr.get_memory_limit = lambda: _BLOCK_BYTES
    return py7zr


def end_of_7z(view: memoryview) -> int:
    """Where the archive ends: behind its header (7zFormat.txt, SignatureHeader), or with the bytes."""
    offset, size = struct.unpack_from("<QQ", view, 12) if len(view) >= _SIGNATURE_BYTES else (0, len(view))
    return min(len(view), _SIGNATURE_BYTES + int(offset) + int(size))


class SevenZip:
    """One archive, opened with the first password that its headers accept."""

    def __init__(self, reader: io.BufferedIOBase, passwords: Sequence[str]) -> None:
        """Raises `BadArchive`."""
        self._reader = reader
        self._passwords: list[str | None] = [None, *passwords]
        self.password: str | None = None
        self._archive = self._open()

    def _open(self) -> Any:
        py7zr = _library()
        tried = 0
        for password in self._passwords:
            self._reader.seek(0)
            try:
                archive = py7zr.SevenZipFile(self._reader, "r", password=password)
            except py7zr.PasswordRequired:
                tried += 1
                continue
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - py7zr lets many kinds through on damaged input
                if password is not None:
                    tried += 1
                    continue
                raise BadArchive(Reason.CORRUPT, f"the headers are damaged: {error}") from None
            self.password = password
            self._check_windows(archive)
            return archive
        raise WrongPassword("7z", tried)

    def _check_windows(self, archive: Any) -> None:
        streams = getattr(archive.header, "main_streams", None)
        for folder in streams.unpackinfo.folders if streams else ():
            for coder in folder.coders:
                raw = coder.get("properties") or b""
                window = _window(coder.get("method"), raw)
                if window > MAX_DICTIONARY_BYTES:
                    raise BadArchive(Reason.TOO_LARGE, f"the archive wants a window of {window} bytes")

    def entries(self) -> list[Entry]:
        """The members, without a way to read each: they come together from `extract`."""
        needs = bool(self._archive.needs_password())
        return [
            Entry(
                Member(
                    name=name_of(str(info.filename).encode("utf-8", "backslashreplace")),
                    size=int(info.uncompressed or 0),
                    kind="directory"
                    if info.is_directory
                    else "symlink"
                    if getattr(info, "is_symlink", False)
                    else "file",
                    encrypted=needs,
                    modified=info.creationtime.strftime("%Y-%m-%dT%H:%M:%SZ") if info.creationtime else None,
                )
            )
            for info in self._archive.list()
        ]

    def extract(self, begin: Callable[[], Callable[[str], Callable[[bytes], None]]]) -> None:
        """Write every member: `begin()(name)` gives the function that takes its bytes.

        `begin` is called for each password that is tried: what a wrong one wrote before it was found out
        counts for nothing. What the sink raises passes through; everything else is a `BadArchive`.
        """
        candidates = [self.password] if self.password else self._passwords
        tried = 0
        for password in candidates:
            try:
                self._extract(begin(), password)
            except WrongPassword:
                tried += 1
                continue
            self.password = password
            return
        raise WrongPassword("7z", tried)

    def _extract(self, sink: Callable[[str], Callable[[bytes], None]], password: str | None) -> None:
        py7zr = _library()
        self._reader.seek(0)
        written = _Written(sink)
        encrypted = bool(self._archive.needs_password())
        try:
            with py7zr.SevenZipFile(self._reader, "r", password=password) as archive:
                archive.extractall(factory=written)
        except LimitReached:
            raise
        except py7zr.UnsupportedCompressionMethodError as error:
            raise BadArchive(Reason.UNSUPPORTED_METHOD, str(error)) from None
        except (py7zr.PasswordRequired, MemoryError) as error:
            if isinstance(error, MemoryError):
                raise
            raise WrongPassword("7z", 1) from None
        except Exception as error:  # noqa: BLE001 - as above
            if written.stopped is not None:
                raise written.stopped from None
            if encrypted:
                raise WrongPassword("7z", 1) from None
            raise BadArchive(Reason.CORRUPT, f"the archive is damaged: {error}") from None


def _window(method: Any, properties: bytes) -> int:
    """The dictionary size that LZMA's or LZMA2's properties claim."""
    if method == b"\x03\x01\x01" and len(properties) >= 5:
        return int.from_bytes(properties[1:5], "little")
    if method == b"\x21" and properties:
        bits = properties[0]
        return 0xFFFFFFFF if bits >= 40 else (2 | bits & 1) << (bits // 2 + 11)
    if method == b"\x03\x04\x01" and len(properties) >= 5:
        return int.from_bytes(properties[1:5], "little")
    return 0


class _Written:
    """What py7zr calls a writer factory: one sink a member."""

    def __init__(self, sink: Callable[[str], Callable[[bytes], None]]) -> None:
        self._sink = sink
        self.stopped: LimitReached | None = None

    def create(self, filename: str) -> Any:
        return _Writer(self._sink(filename), self)


class _Writer(io.RawIOBase):
    """Takes a member's bytes as they are decoded."""

    def __init__(self, take: Callable[[bytes], None], owner: _Written) -> None:
        self._take, self._owner, self._size = take, owner, 0

    def write(self, data: Any) -> int:
        try:
            self._take(bytes(data))
        except LimitReached as error:
            self._owner.stopped = error
            raise
        self._size += len(data)
        return len(data)

    def read(self, size: int = -1) -> bytes:
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0

    def flush(self) -> None:
        """Nothing is buffered."""

    def size(self) -> int:
        """Bytes so far."""
        return self._size


def _begins(view: memoryview, offset: int) -> bool:
    """The start header's checksum holds (7zFormat.txt, SignatureHeader)."""
    start = view[offset + 12 : offset + _SIGNATURE_BYTES]
    return len(start) == 20 and zlib.crc32(start) == number(view, offset + 8, 4)


def _end(view: memoryview, offset: int) -> int:
    return offset + end_of_7z(view[offset:])


def _read(source: Source) -> Iterator[Entry]:
    return read_by_7z(source.job, source.payload, "7z", source.passwords)


FORMATS = (Format("7z", _read, (Mark(b"7z\xbc\xaf\x27\x1c"),), _begins, _end),)
