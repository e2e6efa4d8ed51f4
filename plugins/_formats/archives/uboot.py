"""Images of boot loaders: U-Boot's uImage, device trees and FIT images, TRX, Linux kernels for x86.

u-boot include/image.h; Devicetree Specification 0.4, chapter 5; Linux, Documentation/arch/x86/boot.rst.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from stoq_core.errors import Reason

from .android import stored
from .declare import Format, Mark, Source, number
from .entry import BadArchive, Entry, name_of

_UIMAGE = struct.Struct(">IIIIIIIBBBB32s")
_UIMAGE_BYTES = 64
_MULTI = 4
_BEGIN_NODE, _END_NODE, _PROPERTY, _NOP, _END = 1, 2, 3, 4, 9
_MIN_CHILD_BYTES = 256
_MOST_DEPTH = 64
_SETUP_AT, _SECTOR = 0x1F1, 512
_PAYLOAD_AT, _PAYLOAD_SIZE_AT = 0x248, 0x24C


def read_uimage(source: Source) -> Iterator[Entry]:
    """The image under its name, or each of several."""
    if len(source.view) < _UIMAGE_BYTES:
        raise BadArchive(Reason.TRUNCATED, "the file ends within its header")
    fields = _UIMAGE.unpack_from(source.view)
    size, kind, raw = fields[3], fields[9], fields[11]
    source.account.structure(0, _UIMAGE_BYTES)
    name = name_of(raw.partition(b"\0")[0]) or "image"
    if kind != _MULTI:
        yield stored(source, name, _UIMAGE_BYTES, size)
        return
    sizes: list[int] = []
    at = _UIMAGE_BYTES
    while number(source.view, at, 4) and len(sizes) < 64:
        sizes.append(int.from_bytes(source.view[at : at + 4]))
        at += 4
    source.account.structure(_UIMAGE_BYTES, at + 4 - _UIMAGE_BYTES)
    at += 4
    for place, part in enumerate(sizes):
        yield stored(source, f"{name}-{place}", at, part)
        at += part + 3 & ~3


def read_tree(source: Source) -> Iterator[Entry]:
    """Properties that are longer than settings are: kernels, ramdisks, firmware of a FIT image."""
    view = source.view
    (_, total, structure_at, strings_at, _, _, _, _, strings_size, structure_size) = struct.unpack(
        ">10I", bytes(view[:40]).ljust(40, b"\0")
    )
    source.account.structure(0, 40)
    source.account.structure(strings_at, min(strings_size, len(view)))
    end = min(structure_at + structure_size, len(view))
    at, path = structure_at, list[str]()
    while at + 4 <= end:
        word = int.from_bytes(view[at : at + 4])
        start, at = at, at + 4
        if word == _BEGIN_NODE:
            name = _string(view, at)
            path.append(name_of(name))
            at += len(name) + 4 & ~3
            if len(path) > _MOST_DEPTH:
                raise BadArchive(Reason.TOO_DEEP, "nodes within nodes without end")
        elif word == _PROPERTY:
            size, name_at = struct.unpack(">II", bytes(view[at : at + 8]).ljust(8, b"\0"))
            at += 8
            if size >= _MIN_CHILD_BYTES:
                name = _string(view, strings_at + name_at)
                yield stored(source, "/".join([*path[1:], name_of(name)]), at, size)
                source.account.structure(start, 12)
                start = at = at + (size + 3 & ~3)
                continue
            at += size + 3 & ~3
        elif word == _END_NODE and path:
            path.pop()
        elif word != _NOP:
            break
        source.account.structure(start, min(at, end) - start)
    yield from _outside(source, total)


def _string(view: memoryview, at: int) -> bytes:
    return bytes(view[at : at + 256]).partition(b"\0")[0]


def _outside(source: Source, total: int) -> Iterator[Entry]:
    """Data that FIT images keep behind the tree (`data-position`) follow it in words."""
    at = total + 3 & ~3
    if 40 < at < len(source.view):
        yield stored(source, "external", at, len(source.view) - at)


def read_trx(source: Source) -> Iterator[Entry]:
    """Up to four partitions of a Broadcom router's firmware, to the next one's begin."""
    view = source.view
    total = min(number(view, 4, 4), len(view))
    source.account.structure(0, 28)
    offsets = sorted({number(view, at, 4) for at in (16, 20, 24, 28)} - {0})
    starts = [offset for offset in offsets if 28 <= offset < total]
    for place, (start, end) in enumerate(zip(starts, [*starts[1:], total], strict=False)):
        yield stored(source, f"partition-{place}", start, end - start)
    if number(view, 4, 4) > len(view):
        raise BadArchive(Reason.TRUNCATED, "the firmware is cut short")


def read_kernel(source: Source) -> Iterator[Entry]:
    """The setup code, then the packed kernel that the header points to (from protocol 2.08 on)."""
    view = source.view
    setup = ((number(view, _SETUP_AT, 1) or 4) + 1) * _SECTOR
    start, size = setup + number(view, _PAYLOAD_AT, 4), number(view, _PAYLOAD_SIZE_AT, 4)
    if number(view, 0x206, 2) < 0x0208 or not size or start + size > len(view):
        raise BadArchive(Reason.UNSUPPORTED_METHOD, "the header does not say where the packed kernel is")
    yield stored(source, "vmlinux.packed", start, size)
    source.account.structure(_SETUP_AT, 0x80)


def _is_uimage(view: memoryview, start: int) -> bool:
    """The header's checksum holds."""
    head = bytes(view[start : start + _UIMAGE_BYTES])
    return len(head) == _UIMAGE_BYTES and zlib.crc32(head[:4] + bytes(4) + head[8:]) == int.from_bytes(
        head[4:8]
    )


def _is_tree(view: memoryview, start: int) -> bool:
    total, structure, strings, _, version = (
        int.from_bytes(view[start + at : start + at + 4]) for at in (4, 8, 12, 16, 20)
    )
    return total >= 40 and structure < total and strings <= total and 1 <= version <= 17


FORMATS = (
    Format("uimage", read_uimage, (Mark(b"\x27\x05\x19\x56"),), _is_uimage),
    Format("devicetree", read_tree, (Mark(b"\xd0\x0d\xfe\xed"),), _is_tree),
    Format("trx", read_trx, (Mark(b"HDR0"),), lambda view, start: number(view, start + 4, 4) > 28),
    Format("bzimage", read_kernel),
)
