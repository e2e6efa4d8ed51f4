"""Windows shortcuts ([MS-SHLLINK]): what they start, and where they end."""

from __future__ import annotations

from typing import NamedTuple

from plugins._formats.archives.declare import number

HEADER = b"L\0\0\0" + bytes.fromhex("0114020000000000c000000000000046")
_HEADER_BYTES = 76
_HAS_IDS, _HAS_INFO, _IS_UNICODE = 1, 2, 0x80
_STRINGS = ("description", "relative_path", "working_directory", "arguments", "icon")  # bits 2 to 6 (2.4)
_LEAST_BLOCK, _MOST_BLOCKS = 8, 1_000
_LOCAL_PATH_AT, _LINK_INFO_BYTES = 16, 28


class Shortcut(NamedTuple):
    """The texts by name, where each part stands (offset, bytes), and where the structure ends."""

    texts: dict[str, str]
    parts: list[tuple[int, int]]
    end: int


def read_shortcut(view: memoryview) -> Shortcut:
    """Walk the structure; a part that runs over the end is cut there."""
    flags, at = number(view, 20, 4), _HEADER_BYTES
    texts: dict[str, str] = {}
    parts = [(0, _HEADER_BYTES)]
    if flags & _HAS_IDS:
        parts.append((at, 2 + number(view, at, 2)))
        at += 2 + number(view, at, 2)
    if flags & _HAS_INFO:
        size = number(view, at, 4)
        path = _local_path(view[at : at + size])
        if path:
            texts["target"] = path
        parts.append((at, size))
        at += size
    for bit, name in enumerate(_STRINGS, 2):
        if flags & 1 << bit and at + 2 <= len(view):
            width = 2 if flags & _IS_UNICODE else 1
            size = number(view, at, 2) * width
            raw = bytes(view[at + 2 : at + 2 + size])
            texts[name] = raw.decode("utf-16-le" if width == 2 else "cp1252", "replace")
            parts.append((at, 2 + size))
            at += 2 + size
    end = _extra(view, at, parts)
    return Shortcut(texts, parts, min(end, len(view)))


def _local_path(info: memoryview) -> str:
    """LocalBasePath of a LinkInfo (2.3), or nothing."""
    at = number(info, _LOCAL_PATH_AT, 4)
    if len(info) < _LINK_INFO_BYTES or not 0 < at < len(info):
        return ""
    return bytes(info[at:]).partition(b"\0")[0].decode("cp1252", "replace")


def _extra(view: memoryview, at: int, parts: list[tuple[int, int]]) -> int:
    """The blocks of extra data (2.5), up to one that is shorter than a block's header."""
    for _ in range(_MOST_BLOCKS):
        size = number(view, at, 4)
        if size < _LEAST_BLOCK or at + size > len(view):
            break
        parts.append((at, size))
        at += size
    if at + 4 <= len(view) and number(view, at, 4) < 4:
        parts.append((at, 4))
        at += 4
    return at
