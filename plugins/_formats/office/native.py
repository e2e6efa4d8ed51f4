"""Unwrap files that are packed into objects: `Ole10Native` streams and OLE 1.0 objects (MS-OLEDS)."""

from __future__ import annotations

import re
import struct

import msgspec

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_MAX_NAME = 1_024


class Native(msgspec.Struct, kw_only=True):
    """A packed file: its bytes, the name shown, and the paths it was packed from and unpacks to."""

    content: memoryview
    name: str = ""
    source: str = ""
    temporary: str = ""
    claimed: int = 0
    """Bytes that the object claims to hold; more than `content` has where it was cut."""
    start: int = 0
    """Where the bytes of the file begin in what the object was read from."""
    end: int = 0
    """Where the object ends in it, with the names behind the file."""


class Embedded(msgspec.Struct, kw_only=True):
    """An OLE 1.0 object: `format` 1 linked, 2 embedded, 5 presentation (2.2.4, 2.2.5, 2.2.6)."""

    format: int
    class_name: str
    topic: str = ""
    item: str = ""
    content: memoryview
    claimed: int = 0
    end: int = 0
    """Where the object ends in what it was read from."""


def clean(name: str) -> str:
    """A name without control characters."""
    return _CONTROLS.sub(" ", name).strip()[:_MAX_NAME]


def base_name(path: str) -> str:
    """The last part of a Windows or Unix path."""
    return clean(re.split(r"[\\/]", path.rstrip("\\/"))[-1])


def ole10_native(view: memoryview) -> Native | None:
    r"""The file in an `\1Ole10Native` stream (2.3.6 and what Packager writes), or None for bare data."""
    found = package(view[4:]) if len(view) > 6 else None
    if found is not None:
        found.start, found.end = found.start + 4, found.end + 4
    return found


def package(view: memoryview) -> Native | None:
    """The file in a Packager object; None where the layout does not hold."""
    try:
        (kind,) = struct.unpack_from("<H", view, 0)
        if kind != 2:
            return None
        label, at = _text(view, 2)
        source, at = _text(view, at)
        at += 4
        (size,) = struct.unpack_from("<I", view, at)
        if size > 32_768 or at + 4 + size > len(view):
            return None
        temporary = _decode(bytes(view[at + 4 : at + 4 + size]))
        at += 4 + size
        (size,) = struct.unpack_from("<I", view, at)
    except (struct.error, ValueError):
        return None
    content = view[at + 4 : at + 4 + size]
    start = at + 4
    wide, end = _wide_names(view, start + len(content))
    names = wide if len(wide) == 3 else (temporary, label, source)
    return Native(
        content=content, name=base_name(names[1]) or base_name(names[2]) or base_name(names[0]),
        source=clean(names[2]), temporary=clean(names[0]), claimed=size,
        start=start, end=end,
    )  # fmt: skip


def _wide_names(view: memoryview, at: int) -> tuple[tuple[str, ...], int]:
    """The same three names as UTF-16 behind the data, where a newer Packager wrote them; and their end."""
    names: list[str] = []
    begin = at
    for _ in range(3):
        if at + 4 > len(view):
            break
        (size,) = struct.unpack_from("<I", view, at)
        raw = bytes(view[at + 4 : at + 4 + 2 * size]) if size <= 32_768 else b""
        if len(raw) != 2 * size:
            break
        names.append(raw.decode("utf-16-le", "replace").rstrip("\0"))
        at += 4 + 2 * size
    return (tuple(names), at) if len(names) == 3 and all(names) else ((), begin)


def ole1(view: memoryview) -> Embedded | None:
    """An OLE 1.0 object (2.2.4, 2.2.5), or None for what is none."""
    try:
        _, kind = struct.unpack_from("<II", view, 0)
        if kind not in (1, 2, 5):
            return None
        name, at = _counted(view, 8)
        topic, at = _counted(view, at) if kind != 5 else ("", at)
        item, at = _counted(view, at) if kind != 5 else ("", at)
        if kind == 1:
            return Embedded(
                format=kind, class_name=name, topic=topic, item=item, content=view[at:], end=len(view)
            )
        at += 8 if kind == 5 else 0
        (size,) = struct.unpack_from("<I", view, at)
    except (struct.error, ValueError):
        return None
    content = view[at + 4 : at + 4 + size]
    return Embedded(
        format=kind, class_name=name, topic=topic, item=item, content=content, claimed=size,
        end=at + 4 + len(content),
    )  # fmt: skip


def _counted(view: memoryview, at: int) -> tuple[str, int]:
    """A LengthPrefixedAnsiString (2.1.4). Raises `ValueError` for a length that cannot be."""
    (size,) = struct.unpack_from("<I", view, at)
    if size > min(len(view) - at - 4, 32_768):
        raise ValueError(size)
    return clean(_decode(bytes(view[at + 4 : at + 4 + size]))), at + 4 + size


def _text(view: memoryview, at: int) -> tuple[str, int]:
    """A text up to its NUL. Raises `ValueError` where there is none within 32 KiB."""
    raw = bytes(view[at : at + 32_768])
    end = raw.index(b"\0")
    return _decode(raw[:end]), at + end + 1


def _decode(raw: bytes) -> str:
    """The code page is that of the machine it was packed on, which nobody tells; UTF-8 is rarely wrong."""
    raw = raw.rstrip(b"\0")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")
