"""What a child has said but not sent: memory that the broker reads once the child is dead.

A frame costs both sides more than what stands in it, so a child sends several entries at once. Those that
wait stand here meanwhile, where a process that dies leaves them. The broker believes them no more than
frames, and it reads a copy, so that nothing changes under its eyes.
"""

from __future__ import annotations

import mmap
import os
import struct

from stoq_core.body import anonymous_file

SIZE = 128 * 1024
_HEAD = struct.Struct("<IIQ")  # frames sent so far, entries since the last one, where they end
_LIST = struct.Struct(">BI")  # msgpack's array 32


def make() -> int:
    """A descriptor of memory for one child's draft."""
    fd = anonymous_file()
    os.ftruncate(fd, SIZE)
    return fd


class Draft:
    """The child's side: encoded entries one after the other, until they are sent as one frame."""

    def __init__(self, fd: int) -> None:
        """Map `fd`, which may be closed afterwards, and so may the copy of it that the map keeps."""
        self._map = mmap.mmap(fd, SIZE)
        self._sent = self._count = 0
        self._end = _HEAD.size

    def add(self, entry: bytes) -> bool:
        """Append an encoded entry; false if there is no room."""
        end = self._end + len(entry)
        if end > SIZE:
            return False
        self._map[self._end : end] = entry
        self._count += 1
        self._end = end
        _HEAD.pack_into(self._map, 0, self._sent, self._count, end)  # last: what it counts stands there
        return True

    def __len__(self) -> int:
        """How many entries wait."""
        return self._count

    def frame(self) -> bytes:
        """All that waits, as one msgpack array."""
        return _LIST.pack(0xDD, self._count) + self._map[_HEAD.size : self._end]

    def sent(self) -> None:
        """A frame was sent, and nothing waits any more."""
        self._sent += 1
        self._count = 0
        self._end = _HEAD.size
        _HEAD.pack_into(self._map, 0, self._sent, 0, self._end)


def one(entry: bytes) -> bytes:
    """A frame of one entry that has no room in a draft."""
    return _LIST.pack(0xDD, 1) + entry


def left_behind(fd: int, frames: int) -> bytes:
    """What a dead child had not sent, as one msgpack array: empty if it sent other than `frames` frames."""
    content = os.pread(fd, SIZE, 0).ljust(_HEAD.size, b"\0")
    sent, count, end = _HEAD.unpack_from(content)
    if sent != frames or not _HEAD.size <= end <= len(content):
        count, end = 0, _HEAD.size
    return _LIST.pack(0xDD, count) + content[_HEAD.size : end]
