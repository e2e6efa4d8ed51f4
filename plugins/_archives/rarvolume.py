"""RAR volumes (RAR 5.0 archive format; RAR 4 technical note): one alone is opened as if it were the whole."""

from __future__ import annotations

import zlib

from stoq_core.body import Body

_RAR5 = b"Rar!\x1a\x07\x01\x00"
_MAIN4, _MAIN5 = 0x73, 1
_VOLUME = 1
_HEAD_BYTES = 64


def alone(body: Body) -> Body:
    """The archive without the flag that makes programs look for its other volumes beside it.

    There is nothing beside it, but programs try: 7-Zip counts up the number of the descriptor that it
    was given. Other archives come back as they are.
    """
    head = bytes(body.view()[:_HEAD_BYTES])
    patched = _rar5(head) if head.startswith(_RAR5) else _rar4(head)
    if patched is None:
        return body
    return Body(patched + bytes(body.view()[_HEAD_BYTES:]))


def _rar4(head: bytes) -> bytes | None:
    """Marker (7), then the main header: CRC (2), type, flags (2), size (2)."""
    if len(head) < 20 or head[9] != _MAIN4 or not head[10] & _VOLUME:
        return None
    size = int.from_bytes(head[12:14], "little")
    if not 7 < size <= len(head) - 7:
        return None
    header = head[9:10] + bytes((head[10] & ~_VOLUME & 0xFF,)) + head[11 : 7 + size]
    crc = zlib.crc32(header) & 0xFFFF
    return head[:7] + crc.to_bytes(2, "little") + header + head[7 + size :]


def _rar5(head: bytes) -> bytes | None:
    """Signature (8), CRC-32 (4), then as variable integers size, type, flags, extra size, archive flags."""
    at = 12
    size, at = _number(head, at)
    end = at + size
    kind, at = _number(head, at)
    flags, at = _number(head, at)
    if flags & 1:
        _, at = _number(head, at)
    if kind != _MAIN5 or at >= len(head) or end > len(head) or not head[at] & _VOLUME:
        return None
    header = head[12:at] + bytes((head[at] & ~_VOLUME,)) + head[at + 1 : end]
    return head[:8] + zlib.crc32(header).to_bytes(4, "little") + header + head[end:]


def _number(head: bytes, at: int) -> tuple[int, int]:
    """Seven bits a byte, the low ones first, while the top bit is set."""
    value = shift = 0
    while at < len(head):
        value |= (head[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not head[at - 1] & 0x80:
            break
    return value, at
