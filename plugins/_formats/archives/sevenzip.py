"""7z through py7zr, with every byte counted while it is written."""

from __future__ import annotations

import io
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from stoq_core.body import Body, BodyWriter
from stoq_core.errors import LimitReached, Reason

from .by_tool import read_by_7z
from .declare import Format, Mark, Source, number
from .entry import MAX_DICTIONARY_BYTES, BadArchive, Chunks, Entry, Member, WrongPassword, name_of, sliced
from .stream import zstd_decoder

_SIGNATURE_BYTES = 32
_ENCODED_HEADER = b"\x17\x06"
_MOST_HEADER_STREAMS = 64
_BLOCK_BYTES = 32 << 20
"""What is decoded at once."""


def _library() -> Any:
    """py7zr, which would read /proc/meminfo to find out how much to decode at once: no child may.

    Its zstd ends with the first frame and has no bound on its window.
    """
    import py7zr.compressor
    import py7zr.py7zr

    py7zr.py7zr.get_memory_limit = lambda: _BLOCK_BYTES
    table = py7zr.compressor.algorithm_class_map
    table[py7zr.FILTER_ZSTD] = (table[py7zr.FILTER_ZSTD][0], _Zstd)
    return py7zr


class _Zstd:
    """Frame after frame, a bounded part at a time, as py7zr's chain of decoders asks for it."""

    def __init__(self, _properties: bytes, _block_bytes: int) -> None:
        self._decoder, self._pending = zstd_decoder(), b""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """At most `max_length` bytes; what is given is kept until it is used."""
        self._pending += bytes(data)
        while True:
            if self._decoder.eof:
                self._pending = self._decoder.unused_data + self._pending
                if not self._pending:
                    return b""
                self._decoder = zstd_decoder()
            given, self._pending = self._pending, b""
            out: bytes = self._decoder.decompress(given, max_length)
            if out or not self._decoder.eof:
                return out


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
                    name=_name(str(info.filename)),
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

    @property
    def packed(self) -> list[tuple[int, int]]:
        """Offsets and sizes of the packed streams, from the end of the signature header."""
        streams = getattr(self._archive.header, "main_streams", None)
        if streams is None or streams.packinfo is None:
            return []
        at, places = streams.packinfo.packpos, []
        for size in streams.packinfo.packsizes:
            places.append((at, size))
            at += size
        return places

    @property
    def surplus(self) -> int:
        """How many bytes come out of the packed streams that no member has."""
        streams = getattr(self._archive.header, "main_streams", None)
        if streams is None or streams.unpackinfo is None:
            return 0
        made = sum(int(folder.get_unpack_size()) for folder in streams.unpackinfo.folders)
        return made - sum(int(info.uncompressed or 0) for info in self._archive.list())

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


def _name(text: str) -> str:
    return name_of(text.encode("utf-8", "backslashreplace"))


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


def read_7z(source: Source) -> Iterator[Entry]:
    """The members as py7zr pushes them out, once all are through or a limit says stop.

    7-Zip reads the methods that py7zr does not, and what stands in members that are called folders.
    """
    try:
        archive = SevenZip(source.payload.open(), source.passwords)
    except BadArchive:
        source.account.unread(0, end_of_7z(source.view))
        raise
    listed = [entry.member for entry in archive.entries()]
    if any(member.kind == "directory" and member.size for member in listed):
        yield from _by_7z(source, archive.password)
        return
    sinks, problem = _Sinks(source.job.total_left), None
    try:
        archive.extract(sinks.anew)
    except (BadArchive, LimitReached) as error:
        problem = error
    if problem is not None and problem.reason is Reason.UNSUPPORTED_METHOD:
        yield from _by_7z(source, archive.password)
        return
    _claim(source, archive, whole=problem is None)
    bodies = {} if isinstance(problem, WrongPassword) else sinks.bodies()
    for member in listed:
        waiting = bodies.get(member.name)
        member.password = archive.password if member.encrypted else None
        yield _entry(member, waiting.popleft(), problem) if waiting else Entry(member)
    if problem is None and archive.surplus > 0:
        problem = BadArchive(Reason.CORRUPT, f"{archive.surplus} bytes of the data belong to no member")
    for name, left in bodies.items():
        yield from (_entry(Member(name=name, size=body.size), body, problem) for body in left)
    if problem is not None:
        raise problem


def _by_7z(source: Source, password: str | None) -> Iterator[Entry]:
    passwords = [password, *source.passwords] if password is not None else source.passwords
    return read_by_7z(source.job, source.payload, "7z", passwords)


def _entry(member: Member, body: Body, problem: BadArchive | LimitReached | None) -> Entry:
    """What came out; less or more than is listed is damage, unless something else stopped it."""
    if problem is not None or body.size == member.size:
        return Entry(member, lambda _passwords: body)

    def opened(_passwords: Sequence[str]) -> Chunks:
        yield from sliced(body.view())
        raise BadArchive(Reason.CORRUPT, f"{body.size} bytes came out where {member.size} are listed")

    return Entry(member, opened)


def _claim(source: Source, archive: SevenZip, *, whole: bool) -> None:
    """The signature header, the packed streams, and the header that stands behind them."""
    view, account = source.view, source.account
    end = end_of_7z(view)
    account.structure(0, _SIGNATURE_BYTES)
    header = _SIGNATURE_BYTES + number(view, 12, 8)
    account.structure(header, end - header)
    for start, size in archive.packed:
        (account.child if whole else account.unread)(_SIGNATURE_BYTES + start, size)
    for start, size in _header_streams(bytes(view[header:end])):
        account.structure(_SIGNATURE_BYTES + start, size)


def _header_streams(header: bytes) -> list[tuple[int, int]]:
    """Where an encoded header's packed streams lie (7zFormat.txt, PackInfo); none for a plain one."""
    if header[:2] != _ENCODED_HEADER:
        return []
    start, at = _uint64(header, 2)
    count, at = _uint64(header, at)
    places = []
    if header[at : at + 1] == b"\x09" and count <= _MOST_HEADER_STREAMS:
        at += 1
        for _ in range(count):
            size, at = _uint64(header, at)
            places.append((start, size))
            start += size
    return places


def _uint64(raw: bytes, at: int) -> tuple[int, int]:
    """7z's numbers: the first byte's leading ones count the bytes that follow it."""
    first = raw[at] if at < len(raw) else 0
    extra = next((n for n in range(8) if not first & 0x80 >> n), 8)
    value = int.from_bytes(raw[at + 1 : at + 1 + extra], "little")
    if extra < 8:
        value |= (first & (0x7F >> extra)) << 8 * extra
    return value, at + 1 + extra


class _Sinks:
    """Takes what py7zr pushes, up to a number of bytes altogether."""

    def __init__(self, room: int) -> None:
        self._writers: list[tuple[str, BodyWriter]] = []
        self._all = self._room = room

    def bodies(self) -> dict[str, deque[Body]]:
        """What came out, by name."""
        found: dict[str, deque[Body]] = {}
        for name, writer in self._writers:
            found.setdefault(_name(name), deque()).append(writer.finish())
        return found

    def anew(self) -> Callable[[str], Callable[[bytes], None]]:
        """Forget what a wrong password wrote."""
        self._writers.clear()
        self._room = self._all
        return self._begin

    def _begin(self, name: str) -> Callable[[bytes], None]:
        writer = BodyWriter()
        self._writers.append((name, writer))

        def take(data: bytes) -> None:
            if len(data) > self._room:
                writer.write(data[: self._room])
                raise LimitReached(Reason.TOO_MANY_BYTES, "the 7z expands beyond the limits; see [limits]")
            self._room -= len(data)
            writer.write(data)

        return take


FORMATS = (Format("7z", read_7z, (Mark(b"7z\xbc\xaf\x27\x1c"),), _begins, _end),)
