"""A payload's bytes: in memory while small, in an anonymous file once large, never under a name."""

from __future__ import annotations

import fcntl
import hashlib
import io
import mmap
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from .limits import MiB

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Buffer

SPOOL_BYTES = 4 * MiB
"""From this size on, a body that is being written moves to an anonymous file (memfd on Linux)."""

_READ_BYTES = MiB
_MOST_CHUNKS = 4_096  # of which each takes 40 bytes beside its own
_SEALS = 0x000F
"""F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW and F_SEAL_WRITE (linux/fcntl.h)."""


class Body:
    """Immutable bytes of known size; large ones are a file descriptor that is mapped when read."""

    __slots__ = ("_bytes", "_fd", "_map", "_released", "_sha256", "on_disk", "size")

    def __init__(self, content: bytes | bytearray) -> None:
        """Hold `content` itself, without a copy; nobody may change it from now on."""
        self._bytes: bytes | bytearray | None = content
        self._fd: int | None = None
        self._map: mmap.mmap | None = None
        self._sha256: str | None = None
        self._released = False
        self.size = len(content)
        self.on_disk = False

    @staticmethod
    def from_fd(fd: int, *, on_disk: bool = False) -> Body:
        """Take over `fd`, whose file must not change any more; it is closed with the body."""
        return _FileBody(fd, on_disk=on_disk)

    @property
    def fd(self) -> int | None:
        """The descriptor of a large body, for libraries that take a path (`/proc/self/fd/N`)."""
        return self._fd

    def view(self) -> memoryview:
        """The bytes without a copy."""
        if self._bytes is not None:
            return memoryview(self._bytes).toreadonly()
        return memoryview(self._mapped())

    def content(self) -> bytes:
        """The bytes as `bytes`; a copy each time for a large body, so prefer `view`."""
        if self._bytes is None:
            return bytes(self._mapped())
        return self._bytes if isinstance(self._bytes, bytes) else bytes(self._bytes)

    def open(self) -> io.BufferedReader:
        """A new seekable reader over the bytes, without a copy of the whole."""
        return io.BufferedReader(_ViewReader(self.view()), 64 * 1024)

    @property
    def sha256(self) -> str:
        """Hex digest, worked out once."""
        if self._sha256 is None:
            self._sha256 = hashlib.sha256(self.view()).hexdigest()
        return self._sha256

    def know(self, sha256: str) -> None:
        """Take over the digest from whoever has worked it out already, and is trusted."""
        self._sha256 = sha256

    def _mapped(self) -> mmap.mmap:
        if self._map is None:
            if self._fd is None:
                msg = "this body was released; its bytes are gone"
                raise ValueError(msg)
            self._map = mmap.mmap(self._fd, self.size, access=mmap.ACCESS_READ)
        return self._map

    def rest(self) -> None:
        """Take a large body's pages out of this process; they come back by themselves when read.

        For a plugin that hands `fd` to a library: each mapping of the same bytes counts anew in what
        the process is charged for.
        """
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    @property
    def released(self) -> bool:
        """True once the bytes are gone."""
        return self._released

    def release(self) -> None:
        """Let the bytes go; `size` and a known `sha256` stay."""
        self._released = True
        self._bytes = None if self.size else b""
        fd, self._fd = self._fd, None
        self._map = None  # unmapped when the last view is gone
        if fd is not None:
            os.close(fd)


class _FileBody(Body):
    """One that has a descriptor."""

    __slots__ = ()

    def __init__(self, fd: int, *, on_disk: bool) -> None:
        """Own `fd`."""
        super().__init__(b"")
        self._fd = fd
        self.size = os.fstat(fd).st_size
        self.on_disk = on_disk
        if self.size:
            self._bytes = None

    def __del__(self) -> None:
        """Close it if nobody did."""
        if getattr(self, "_fd", None) is not None:
            self.release()


class BodyWriter:
    """Collect chunks into a `Body`; nothing is copied twice and nothing large stays on the heap."""

    __slots__ = ("_chunks", "_fd", "_heap", "_scratch", "size")

    def __init__(self, scratch: Path | None = None) -> None:
        """With `scratch` (a folder on a real disk), large bodies go there, unlinked at once."""
        self._chunks: list[bytes | bytearray] = []
        self._fd: int | None = None
        self._heap: bytearray | None = None
        self._scratch = scratch
        self.size = 0

    def write(self, chunk: Buffer) -> None:
        """Add a chunk."""
        data = chunk if isinstance(chunk, (bytes, bytearray)) else memoryview(chunk).cast("B")
        self.size += len(data)
        if self._fd is not None:
            write_all(self._fd, data)
            return
        if self._heap is not None:
            self._heap += data
            return
        self._chunks.append(data if isinstance(data, bytes) else bytes(data))
        if len(self._chunks) > 1 and (self.size >= SPOOL_BYTES or len(self._chunks) > _MOST_CHUNKS):
            self._spool()

    def take(self, chunk: bytearray) -> None:
        """Add a chunk that nobody else has, and nobody will change: kept as it is if it is the only one."""
        if self.size or len(chunk) >= SPOOL_BYTES:
            self.write(chunk)
        else:
            self.size = len(chunk)
            self._chunks.append(chunk)

    def _spool(self) -> None:
        """Out of the list into a file; in a sandbox's child, which may make none, into one growing buffer."""
        held, self._chunks = self._chunks, []
        try:
            self._fd = anonymous_file(self._scratch)
        except OSError:
            self._heap = bytearray()
        for chunk in held:
            if self._fd is not None:
                write_all(self._fd, chunk)
            elif self._heap is not None:
                self._heap += chunk

    def finish(self) -> Body:
        """The body; the writer is used up."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            if self._scratch is None:
                seal(fd)
            return Body.from_fd(fd, on_disk=self._scratch is not None)
        if self._heap is not None:
            heap, self._heap = self._heap, None
            return Body(heap)
        chunks, self._chunks = self._chunks, []
        return Body(chunks[0] if len(chunks) == 1 else b"".join(chunks))

    def __del__(self) -> None:
        """Close what an interrupted writer left open."""
        if self._fd is not None:
            os.close(self._fd)


def anonymous_file(scratch: Path | None = None) -> int:
    """A descriptor of a file without a name: on disk in `scratch`, else in memory where it can be."""
    if scratch is None and hasattr(os, "memfd_create"):
        return os.memfd_create("stoq", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    import tempfile

    with tempfile.TemporaryFile(dir=scratch) as file:
        return os.dup(file.fileno())


def seal(fd: int) -> None:
    """Nobody who gets this file, however it is opened, can change it any more (memfd_create(2), sealing)."""
    if hasattr(fcntl, "F_ADD_SEALS"):
        with suppress(OSError):  # a file on disk, where there is no memfd
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)


def spill(body: Body, scratch: Path) -> Body:
    """The same bytes in an unlinked file on disk, so that they no longer cost memory."""
    fd = anonymous_file(scratch)
    view = body.view()
    try:
        for start in range(0, len(view), _READ_BYTES):
            write_all(fd, view[start : start + _READ_BYTES])
    except OSError:
        os.close(fd)
        raise
    finally:
        view.release()
    digest = body.sha256
    body.release()
    spilled = Body.from_fd(fd, on_disk=True)
    spilled.know(digest)
    return spilled


def read_chunks(reader: io.BufferedIOBase | io.RawIOBase, size: int = _READ_BYTES) -> Iterator[bytes]:
    """What a reader gives, in chunks of at most `size` bytes."""
    while chunk := reader.read(size):
        yield chunk


def as_chunks(source: Buffer | Iterable[Buffer] | io.BufferedIOBase) -> Iterable[Buffer]:
    """Bytes, an iterable of bytes, or a reader, as an iterable of chunks."""
    if isinstance(source, (bytes, bytearray, memoryview, mmap.mmap)):
        return (source,)
    if isinstance(source, (io.BufferedIOBase, io.RawIOBase)):
        return read_chunks(source)
    return source  # type: ignore[return-value]


def write_all(fd: int, data: Buffer) -> None:
    """Write all of `data`, however many calls it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class _ViewReader(io.RawIOBase):
    """Raw reader over a memoryview."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        with memoryview(buffer).cast("B") as into:
            part = self._view[self._at : self._at + len(into)]
            into[: len(part)] = part
        self._at += len(part)
        return len(part)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = (0, self._at, len(self._view))[whence]
        if base + offset < 0:
            msg = f"cannot seek to {base + offset}"
            raise ValueError(msg)
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at
