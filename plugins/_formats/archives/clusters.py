"""Disks that are stored in clusters, plain or packed one by one, as one raw image."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from stoq_core.errors import Reason
from stoq_core.limits import MiB

from .declare import Source
from .entry import BadArchive, Chunks, Entry, Member, refuse, sliced
from .extents import zeros

_TIMES = 2
_SPARE_BYTES = MiB
_MAX_WHOLE_BYTES = 256 * MiB
_MAX_WHOLE_TIMES = 100
_MAX_CLUSTERS = 4_000_000
_RAW_DEFLATE, _ZLIB = -15, 15


class Cluster(NamedTuple):
    """`size` plain bytes of the disk: a hole (`offset` None), stored, or `packed` bytes by a method."""

    offset: int | None
    size: int
    packed: int = 0
    method: str = ""


def disk_entry(source: Source, clusters: Iterable[Cluster], size: int, name: str = "disk.img") -> Entry:
    """The disk as a member, holes joined; one much larger than its file ends with its last cluster.

    Every stored range is claimed as a child's. Clusters that are named again and again are `ratio`.
    """
    kept = list(_joined(clusters, size, len(source.view)))
    whole = len(source.view)
    stored = 0
    for cluster in kept:
        if cluster.offset is not None:
            length = cluster.packed or cluster.size
            source.account.child(cluster.offset, length)
            stored += max(0, min(length, whole - cluster.offset))
    packed = any(cluster.packed for cluster in kept)
    member = Member(name=name, size=sum(cluster.size for cluster in kept))
    member.method = "deflate" if packed else "stored"
    if stored > _TIMES * whole + _SPARE_BYTES:
        message = "the disk's clusters are used again and again"
        return Entry(member, lambda _passwords: refuse(Reason.RATIO, message))
    return Entry(member, lambda _passwords: _chunks(source.view, kept))


def _joined(clusters: Iterable[Cluster], size: int, stored: int) -> Iterator[Cluster]:
    left, hole, count = size, 0, 0
    for cluster in clusters:
        count += 1
        if left <= 0 or count > _MAX_CLUSTERS:
            break
        length = min(cluster.size, left)
        left -= length
        if cluster.offset is None:
            hole += length
            continue
        if hole:
            yield Cluster(None, hole)
            hole = 0
        yield cluster._replace(size=length)
    hole += max(0, left)
    if hole and size <= min(_MAX_WHOLE_BYTES, _MAX_WHOLE_TIMES * stored):
        yield Cluster(None, hole)


def _chunks(view: memoryview, clusters: Sequence[Cluster]) -> Chunks:
    """A cluster that cannot be read is zeros; the first such is the problem that is told at the end."""
    problem: BadArchive | None = None
    for cluster in clusters:
        if cluster.offset is None:
            yield from zeros(cluster.size)
            continue
        data = view[cluster.offset : cluster.offset + (cluster.packed or cluster.size)]
        try:
            made = unpacked(data, cluster) if cluster.packed else None
        except BadArchive as error:
            problem = problem or error
            yield from zeros(cluster.size)
            continue
        if made is not None:
            yield made
        else:
            yield from sliced(data)
        missing = cluster.size - (len(data) if made is None else len(made))
        if missing > 0:
            if made is not None or not len(data):  # the last stored one may end with its file: zeros follow
                problem = problem or BadArchive(Reason.TRUNCATED, "a cluster of the disk is cut short")
            yield from zeros(missing)
    if problem is not None:
        raise problem


def unpacked(data: memoryview, cluster: Cluster) -> bytes:
    """The plain bytes of a packed cluster, at most its size; raises `BadArchive`."""
    if cluster.method == "zstd":
        from .stream import zstd_decoder

        try:
            made: bytes = zstd_decoder().decompress(bytes(data), cluster.size)
        except Exception as error:  # noqa: BLE001 - the library's own type is imported where it is used
            raise BadArchive(Reason.CORRUPT, f"a cluster is damaged: {error}") from None
        return made
    decoder = zlib.decompressobj(_ZLIB if cluster.method == "zlib" else _RAW_DEFLATE)
    try:
        return decoder.decompress(data, cluster.size)
    except zlib.error as error:
        raise BadArchive(Reason.CORRUPT, f"a cluster is damaged: {error}") from None
