"""What file systems of flash chips have in common: files as logs of nodes, put together by their versions."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from stoq_core.errors import Reason
from stoq_core.limits import MiB

from .declare import Source
from .entry import BadArchive, Chunks, Entry, Member, name_of
from .lzo import unlzo

_MOST_NODE_BYTES = 16 * MiB
_MOST_HOLE_BYTES = 16 * MiB
_MOST_DEPTH = 64
_CHUNK_BYTES = 65_536


class Node(NamedTuple):
    """A piece of a file: version, offset in it, where its data stand, packed and plain size, method."""

    version: int
    offset: int
    at: int
    packed: int
    plain: int
    method: str


class Files:
    """Inode → its nodes, and where it is named; `cut` if a node does not end within the image."""

    def __init__(self) -> None:
        self.cut = False
        self._nodes: dict[int, list[Node]] = {}
        self._names: dict[int, tuple[int, str]] = {}

    def add(self, inode: int, node: Node) -> None:
        """A piece of a file."""
        self._nodes.setdefault(inode, []).append(node)

    def name(self, inode: int, parent: int, raw: bytes) -> None:
        """A name in a folder; the last one that is told counts."""
        self._names[inode] = (parent, name_of(raw))

    def _path(self, inode: int) -> str:
        parts: list[str] = []
        whole = inode
        while inode in self._names and len(parts) < _MOST_DEPTH:
            inode, name = self._names[inode]
            parts.append(name)
            if inode == whole:
                break
        return "/".join(reversed(parts)) or f"inode-{whole}"

    def entries(self, source: Source) -> Iterator[Entry]:
        """A member a file, then one for each older piece of it that newer ones cover."""
        for inode, nodes in self._nodes.items():
            name = self._path(inode)
            current, covered = _arrange(sorted(nodes))
            member = Member(name=name, method=nodes[-1].method)
            member.size = sum(node.plain for node in current)
            yield _entry(source, member, current)
            for node in covered:
                was = Member(name=f"{name}@{node.version}", size=node.plain, method=node.method)
                yield _entry(source, was, [node._replace(offset=0)])
        if self.cut:
            raise BadArchive(Reason.TRUNCATED, "the image ends within a node")


def _entry(source: Source, member: Member, nodes: list[Node]) -> Entry:
    return Entry(member, lambda _passwords: _joined(source.view, nodes), nodes[0].at)


def _arrange(nodes: list[Node]) -> tuple[list[Node], list[Node]]:
    """The newest node at each offset, in order; and those that would be hidden behind another one."""
    newest: dict[int, Node] = {}
    covered = []
    for node in nodes:
        if node.offset in newest:
            covered.append(newest[node.offset])
        newest[node.offset] = node
    current, end = [], 0
    for node in sorted(newest.values(), key=lambda node: node.offset):
        if node.offset < end:
            covered.append(node)
            continue
        current.append(node)
        end = node.offset + node.plain
    return current, covered


def _joined(view: memoryview, nodes: list[Node]) -> Chunks:
    """Holes between pieces are zeros, bounded; pieces that cannot be read are told at the end."""
    at = 0
    problem: BadArchive | None = None
    for node in nodes:
        if node.offset > at:
            yield bytes(min(node.offset - at, _MOST_HOLE_BYTES))
            at = node.offset
        try:
            data = _plain(view, node)
        except BadArchive as error:
            problem = problem or error
            continue
        yield data
        at += len(data)
    if problem is not None:
        raise problem


def _plain(view: memoryview, node: Node) -> bytes:
    data = bytes(view[node.at : node.at + node.packed])
    unpack = _METHODS.get(node.method)
    if node.plain > _MOST_NODE_BYTES or unpack is None:
        raise BadArchive(Reason.UNSUPPORTED_METHOD, f"a node of {node.plain} bytes by {node.method}")
    return unpack(data, node.plain)


def _inflated(data: bytes, most: int) -> bytes:
    """Whole zlib streams, or such without their checksum."""
    problem = ""
    for window, skip in ((15, 0), (-15, 2)):
        try:
            return zlib.decompressobj(window).decompress(data[skip:], most)
        except zlib.error as error:
            problem = str(error)
    raise BadArchive(Reason.CORRUPT, f"a node is damaged: {problem}")


def _raw_inflated(data: bytes, most: int) -> bytes:
    try:
        return zlib.decompressobj(-15).decompress(data, most)
    except zlib.error as error:
        raise BadArchive(Reason.CORRUPT, f"a node is damaged: {error}") from None


def _unrtime(data: bytes, size: int) -> bytes:
    """Pairs of a letter and how many bytes to repeat from behind where it last stood."""
    made, last, at = bytearray(), [0] * 256, 0
    while len(made) < size and at + 1 < len(data):
        letter, repeat = data[at], data[at + 1]
        at += 2
        made.append(letter)
        start = last[letter]
        last[letter] = len(made)
        for n in range(repeat):
            made.append(made[start + n])
    return bytes(made[:size])


def _unzstd(data: bytes, size: int) -> bytes:
    from .stream import zstd_decoder

    try:
        made: bytes = zstd_decoder().decompress(data, size)
    except Exception as error:  # noqa: BLE001 - the library's own type is imported where it is used
        raise BadArchive(Reason.CORRUPT, f"a node is damaged: {error}") from None
    return made


_METHODS: dict[str, Callable[[bytes, int], bytes]] = {
    "stored": lambda data, _size: data,
    "zero": lambda _data, size: bytes(size),
    "rtime": _unrtime,
    "zlib": _inflated,
    "deflate": _raw_inflated,
    "lzo": unlzo,
    "zstd": _unzstd,
}


def next_mark(view: memoryview, at: int, mark: bytes, step: int) -> int:
    """Where a mark stands next at a multiple of `step`, or the end; linear."""
    while at < len(view):
        chunk = bytes(view[at : at + _CHUNK_BYTES])
        found = chunk.find(mark)
        while found >= 0 and (at + found) % step:
            found = chunk.find(mark, found + 1)
        if found >= 0:
            return at + found
        at += max(1, len(chunk) - len(mark) + 1)
    return at
