"""Read Outlook's messages (MS-OXMSG): properties of a message, of its recipients and attachments."""

from __future__ import annotations

import datetime as dt
import re
import struct
from collections.abc import Iterator
from typing import Any

from plugins._formats.mail.text import codec_of
from plugins._formats.office.compound import Compound, Entry

_STREAM = re.compile(r"__SUBSTG1\.0_([0-9A-F]{4})([0-9A-F]{4})(?:-([0-9A-F]{1,8}))?")
_PROPERTIES = "__PROPERTIES_VERSION1.0"
_NAMES = "__NAMEID_VERSION1.0"
_ATTACHMENT, _RECIPIENT = "__ATTACH_VERSION1.0_", "__RECIP_VERSION1.0_"
_MAX_ROWS, _VALUE_BYTES = 4_096, 64 * 1024
_EPOCH = dt.datetime(1601, 1, 1, tzinfo=dt.UTC)
_FIXED = {0x0002, 0x0003, 0x000B, 0x0014, 0x0040}
_TEXT_8, _TEXT_16, _BINARY, _OBJECT = 0x001E, 0x001F, 0x0102, 0x000D

Path = tuple[str, ...]


class Folder:
    """One storage with properties: a message, an attachment or a recipient."""

    def __init__(self, file: Message, path: Path) -> None:
        """`path` as in the file's directory."""
        self.file, self.path = file, path
        self.streams: dict[int, list[tuple[int, Entry]]] = {}
        self.folders: list[Path] = []
        for entry in file.inside.get(_upper(path), ()):
            found = _STREAM.fullmatch(entry.path[-1].upper())
            if entry.kind == file.storage:
                self.folders.append(entry.path)
            elif found and not found[3]:
                self.streams.setdefault(int(found[1], 16), []).append((int(found[2], 16), entry))
        self.fixed = self._fixed()

    def _fixed(self) -> dict[int, Any]:
        """Values that stand in the property stream itself (2.4): numbers, truth values and times."""
        entry = self.file.compound.find(*self.path, _PROPERTIES)
        if entry is None:
            return {}
        data = self.file.compound.read(entry, 32 + 16 * _MAX_ROWS)
        # the header of a message has 32 bytes, that of one inside another 24, that of the others 8
        start = len(data) % 16 or 32
        found: dict[int, Any] = {}
        for kind, number, _, value in struct.iter_unpack(
            "<HHI8s", data[start : start + (len(data) - start) // 16 * 16]
        ):
            if kind in _FIXED:
                found.setdefault(number, _number(kind, value))
        return found

    def text(self, *numbers: int) -> str:
        """The first of these properties that is there, as text."""
        for number in numbers:
            for kind, entry in self.streams.get(number, ()):
                if kind in (_TEXT_8, _TEXT_16):
                    raw = self.file.compound.read(entry, _VALUE_BYTES)
                    return self.file.text(raw, kind == _TEXT_16).rstrip("\0")
        return ""

    def bytes(self, number: int) -> tuple[int, bytes] | None:
        """A property's type and bytes as they stand, whole."""
        for kind, entry in self.streams.get(number, ()):
            return kind, self.file.compound.read(entry)
        return None

    def named(self) -> dict[str, Any]:
        """Named properties by their names (2.2.3), texts and numbers."""
        found: dict[str, Any] = {}
        for number, name in self.file.names.items():
            value = self.fixed.get(number) if number in self.fixed else self.text(number)[:4_096]
            if value not in ("", None) and len(found) < 200:
                found.setdefault(name, value)
        return found

    @property
    def attachments(self) -> Iterator[Folder]:
        """Its attachments, in order."""
        return (
            Folder(self.file, path)
            for path in sorted(self.folders)
            if path[-1].upper().startswith(_ATTACHMENT)
        )

    @property
    def recipients(self) -> Iterator[Folder]:
        """Its recipients, in order."""
        return (
            Folder(self.file, path)
            for path in sorted(self.folders)
            if path[-1].upper().startswith(_RECIPIENT)
        )

    @property
    def embedded(self) -> Folder | None:
        """The message or object that an attachment is."""
        for path in self.folders:
            if path[-1].upper() == "__SUBSTG1.0_3701000D":
                return Folder(self.file, path)
        return None

    @property
    def is_message(self) -> bool:
        """True if it has properties of its own, as messages do and other objects do not."""
        return self.file.compound.find(*self.path, _PROPERTIES) is not None


class Message:
    """A compound file with a message at its root."""

    def __init__(self, compound: Compound) -> None:
        """`compound` is the file's directory, read already."""
        self.compound = compound
        self.storage = next((one.kind for one in compound.storages), 1)
        self.inside: dict[Path, list[Entry]] = {}
        for entry in compound.entries:
            if entry.path and not entry.orphan:
                self.inside.setdefault(_upper(entry.path[:-1]), []).append(entry)
        self.codec = "cp1252"
        self.names = self._names()
        self.root = Folder(self, ())
        page = self.root.fixed.get(0x3FFD) or self.root.fixed.get(0x3FDE)
        self.codec = codec_of(page) if isinstance(page, int) else "cp1252"

    @property
    def is_message(self) -> bool:
        """True for a message, false for another kind of compound file."""
        return self.root.is_message

    def text(self, raw: bytes, wide: bool) -> str:  # noqa: FBT001 - the one thing there is to say
        """A string property."""
        return raw.decode("utf-16-le" if wide else self.codec, "replace")

    def _names(self) -> dict[int, str]:
        """Ids from 0x8000 on and the names they stand for."""
        rows, strings = (
            self.compound.find(_NAMES, "__SUBSTG1.0_00030102"),
            self.compound.find(_NAMES, "__SUBSTG1.0_00040102"),
        )
        if rows is None:
            return {}
        data = self.compound.read(rows, 8 * _MAX_ROWS)
        texts = self.compound.read(strings, 16 * _VALUE_BYTES) if strings else b""
        found: dict[int, str] = {}
        for identifier, kind, index in struct.iter_unpack("<IHH", data[: len(data) // 8 * 8]):
            name = f"0x{identifier:04x}"
            if kind & 1 and identifier + 4 <= len(texts):
                size = int.from_bytes(texts[identifier : identifier + 4], "little")
                name = texts[identifier + 4 : identifier + 4 + min(size, 512)].decode("utf-16-le", "replace")
            found.setdefault(0x8000 + index, name.rstrip("\0"))
        return found


def _upper(path: Path) -> Path:
    return tuple(one.upper() for one in path)


def _number(kind: int, raw: bytes) -> Any:
    if kind == 0x000B:
        return raw[0] != 0
    if kind == 0x0002:
        return int.from_bytes(raw[:2], "little", signed=True)
    if kind == 0x0003:
        return int.from_bytes(raw[:4], "little", signed=True)
    value = int.from_bytes(raw, "little")
    if kind == 0x0040:
        try:
            return (
                (_EPOCH + dt.timedelta(microseconds=value // 10))
                .isoformat(timespec="seconds")
                .replace("+00:00", "Z")
            )
        except OverflowError:
            return None
    return value
