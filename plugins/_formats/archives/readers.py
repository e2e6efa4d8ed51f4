"""Which reader opens which format: in this process, or by a program where that is the only sane way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from stoq_core.job import Job
from stoq_core.payload import Payload

from .ace import read_ace
from .arj import read_arj
from .by_tool import read_by_7z, read_rar, unpack_upx
from .cab import read_cab
from .disk import read_disk
from .dmg import LZFSE, dmg_partitions, read_dmg
from .entry import Entry, trailing
from .installshield import read_installshield
from .iso import read_iso
from .lzh import read_lzh
from .nsis import read_nsis
from .rarvolume import end_of_rar
from .rpm import read_rpm
from .singles import read_single
from .squashfs import read_squashfs, squashfs_method
from .stream import read_stream
from .szdd import read_szdd
from .tar import read_tar
from .udf import read_udf
from .unix import read_ar, read_cpio
from .vdisk import read_vhd, read_vhdx
from .xar import read_xar


class Source(NamedTuple):
    """An archive to open: its bytes, the job it belongs to, the passwords to try."""

    view: memoryview
    payload: Payload
    job: Job
    passwords: Sequence[str]


Reader = Callable[[Source], Iterator[Entry]]


def _stream(kind: str) -> Reader:
    return lambda source: read_stream(source.view, kind, source.payload.name)


def _single(kind: str) -> Reader:
    return lambda source: read_single(source.view, kind, source.payload.name)


def _by_7z(kind: str) -> Reader:
    return lambda source: read_by_7z(source.job, source.payload, kind, source.passwords)


def _dmg(source: Source) -> Iterator[Entry]:
    """In process but for LZFSE, which only 7-Zip reads."""
    partitions = dmg_partitions(source.view)
    if any(run.kind == LZFSE for partition in partitions for run in partition.runs):
        return _by_7z("dmg")(source)
    return read_dmg(source.view, partitions)


def _squashfs(source: Source) -> Iterator[Entry]:
    """In process but for old versions and LZO, which 7-Zip reads."""
    method = squashfs_method(source.view)
    if method is None:
        return _by_7z("squashfs")(source)
    return read_squashfs(source.view, method)


def _rar(source: Source) -> Iterator[Entry]:
    """What stands behind the end block, which the programs do not read, and then what they do."""
    end = end_of_rar(source.view)
    if end is not None:
        yield from trailing(source.view, end)
    yield from read_rar(source.job, source.payload, source.passwords)


READERS: dict[str, Reader] = {
    "tar": lambda source: read_tar(source.view),
    "cpio": lambda source: read_cpio(source.view),
    "ar": lambda source: read_ar(source.view),
    "deb": lambda source: read_ar(source.view),
    "rpm": lambda source: read_rpm(source.view),
    "cab": lambda source: read_cab(source.view, source.job),
    "arj": lambda source: read_arj(source.view, source.job.total_left),
    "lzh": lambda source: read_lzh(source.view),
    "ace": lambda source: read_ace(source.payload, source.job.total_left),
    "xar": lambda source: read_xar(source.view),
    "iso": lambda source: read_iso(source.view),
    "udf": lambda source: read_udf(source.view),
    "vhd": lambda source: read_vhd(source.view),
    "vhdx": lambda source: read_vhdx(source.view),
    "disk": lambda source: read_disk(source.view),
    "dmg": _dmg,
    "installshield": lambda source: read_installshield(source.view),
    "szdd": lambda source: read_szdd(source.view, source.payload.name),
    "nsis": lambda source: read_nsis(source.payload, source.view, source.job),
    "squashfs": _squashfs,
    "rar": _rar,
    "upx": lambda source: unpack_upx(source.job, source.payload),
    **{kind: _stream(kind) for kind in ("gzip", "bzip2", "xz", "lzma", "zstd", "lz4")},
    **{kind: _single(kind) for kind in ("compress", "brotli", "lz4-legacy")},
    **{kind: _by_7z(kind) for kind in ("wim", "ntfs", "fat", "ext", "hfs", "apfs")},
}
