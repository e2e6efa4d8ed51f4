"""rpm packages (RPM file format 4.x): the payload, decompressed, and the scripts of the header."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from stoq_core.errors import Reason
from stoq_core.limits import MiB

from .declare import Format, Mark, Source
from .entry import BadArchive, Entry, Member, is_field, name_of, sliced, stored
from .stream import stream_entries

_LEAD_BYTES = 96
_HEADER_MAGIC = b"\x8e\xad\xe8\x01"
_MAX_INDEX = 65_536
_MAX_STORE_BYTES = 256 * MiB
_BINARY = 7
_MOST_DIGEST_BYTES = 64
_SIGNATURES = frozenset({257, 259, 260, 261, 262, 267, 268, 1002, 1003, 1005, 1006})
_STRING_TYPES = frozenset({6, 8, 9})
_NAME, _VERSION, _FORMAT, _COMPRESSOR = 1000, 1001, 1124, 1125
_SCRIPTS = {
    1023: "prein", 1024: "postin", 1025: "preun", 1026: "postun", 1079: "verify", 1151: "pretrans",
    1152: "posttrans",
}  # fmt: skip
# rpm trusts the tag; the bytes are asked as well, since a tag may lie
_COMPRESSED = {
    b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstd", b"\x5d\x00": "lzma",
}  # fmt: skip


def read_rpm(source: Source) -> Iterator[Entry]:
    """The scripts of the main header, then the payload (a cpio, which is opened as a child of its own)."""
    view, account = source.view, source.account
    at, _ = _header(view, _LEAD_BYTES)
    account.structure(0, 10)  # what the lead says; the name that follows is free
    if is_field(bytes(view[10 : _LEAD_BYTES - 16])):
        account.structure(10, _LEAD_BYTES - 10)
    account.structure(_LEAD_BYTES, at - _LEAD_BYTES)
    begun = -(-at // 8) * 8
    at, tags = _header(view, begun)
    account.structure(begun, at - begun)
    for tag, name in _SCRIPTS.items():
        if tags.get(tag):
            yield _script(f"scripts/{name}", tags[tag])
    for place in (_LEAD_BYTES, begun):
        yield from _blobs(view, place)
    title = b"-".join(part for part in (tags.get(_NAME, b""), tags.get(_VERSION, b"")) if part)
    data = view[at:]
    method = _COMPRESSED.get(bytes(data[:2]), "stored")
    form = tags.get(_FORMAT, b"cpio")
    member = Member(name=f"{name_of(title or b'payload')}.{name_of(form)[:16]}", method=method)
    if not len(data):
        raise BadArchive(Reason.TRUNCATED, "the package ends before its payload")
    if method == "stored" and bytes(data[:5]) != b"07070":
        compressor = name_of(tags.get(_COMPRESSOR, b"unknown"))
        raise BadArchive(Reason.UNSUPPORTED_METHOD, f"the payload is compressed with {compressor!r}")
    # what stands behind a plain cpio is told by its own reader
    if method == "stored":
        yield stored(member, data, at)
    else:
        yield from stream_entries(view, method, member, account, at)


def _script(name: str, data: bytes) -> Entry:
    member = Member(name=name, size=len(data), method="stored")
    return Entry(member, lambda _passwords: sliced(memoryview(data)))


def _blobs(view: memoryview, at: int) -> Iterator[Entry]:
    """Tags of bytes that are no signature and longer than a digest."""
    count, size = struct.unpack_from(">II", view, at + 8)
    store = at + 16 + 16 * count
    left = size
    for n in range(count):
        tag, kind, offset, length = struct.unpack_from(">IIII", view, at + 16 + 16 * n)
        if kind == _BINARY and _MOST_DIGEST_BYTES < length <= left and tag not in _SIGNATURES:
            left -= length
            data = view[store + offset : min(store + offset + length, store + size)]
            yield stored(
                Member(name=f"tag {tag}", size=length, kind="tag", method="stored"), data, store + offset
            )


def _header(view: memoryview, at: int) -> tuple[int, dict[int, bytes]]:
    """A header structure: where it ends, and the string tags that are of use here."""
    if bytes(view[at : at + 4]) != _HEADER_MAGIC:
        reason = Reason.TRUNCATED if at + 4 > len(view) else Reason.CORRUPT
        raise BadArchive(reason, f"there is no rpm header at offset {at}")
    if at + 16 > len(view):
        raise BadArchive(Reason.TRUNCATED, "the package ends within a header")
    count, size = struct.unpack_from(">II", view, at + 8)
    if count > _MAX_INDEX or size > _MAX_STORE_BYTES:
        raise BadArchive(Reason.CORRUPT, f"the header at offset {at} claims {count} tags of {size} bytes")
    store = at + 16 + 16 * count
    end = store + size
    if end > len(view):
        raise BadArchive(Reason.TRUNCATED, "the package ends within a header")
    wanted = {_NAME, _VERSION, _FORMAT, _COMPRESSOR, *_SCRIPTS}
    tags: dict[int, bytes] = {}
    for n in range(count):
        tag, kind, offset, _ = struct.unpack_from(">IIII", view, at + 16 + 16 * n)
        if tag in wanted and kind in _STRING_TYPES and offset < size:
            tags.setdefault(tag, _string(view, store + offset, end))
    return end, tags


def _string(view: memoryview, start: int, end: int) -> bytes:
    """Up to the NUL; at most 1 MiB of it."""
    return bytes(view[start : min(end, start + MiB)]).partition(b"\0")[0]


def _begins(view: memoryview, offset: int) -> bool:
    """The lead's version, and the signature header behind it."""
    at = offset + _LEAD_BYTES
    return (
        bytes(view[offset + 4 : offset + 5]) in (b"\3", b"\4") and bytes(view[at : at + 4]) == _HEADER_MAGIC
    )


FORMATS = (Format("rpm", read_rpm, (Mark(b"\xed\xab\xee\xdb"),), _begins),)
