"""Find the compound files that a document holds: itself, in OOXML, behind base64, in slides."""

from __future__ import annotations

import binascii
import re
import zlib
from collections.abc import Iterator

import msgspec

from plugins._formats.archives.entry import BadArchive, Entry, chunks_of
from plugins._formats.archives.zip import read_members
from plugins._formats.office.compound import MAGIC, BadCompound, Compound
from plugins._formats.office.encryption import encryption
from plugins._formats.office.inner import Inflated
from plugins._formats.office.slides import presentation_objects
from stoq_core.errors import PluginError, Reason

_ACTIVE_MIME = b"ActiveMime"
_BASE64 = re.compile(rb"(?:QWN0aXZlTWltZ|0M8R4KGxGuE)[A-Za-z0-9+/=\s]*+")
"""How `ActiveMime` and the mark of a compound file begin in base64."""
_MOST_PARTS, _MOST_MEMBERS, _MOST_BYTES = 50, 20_000, 64 * 1024 * 1024


class Found(msgspec.Struct, kw_only=True):
    """One compound file and the name of the part it is in; `problem` where it could not be read."""

    name: str
    content: bytes | memoryview = b""
    problem: Reason | None = None


def compounds(view: memoryview, room: int) -> Iterator[Found]:
    """Every compound file that may hold macros, at most `room` or 64 MiB of unpacked bytes in all."""
    head = bytes(view[:10])
    if head.startswith(MAGIC):
        yield Found(name="", content=view)
        yield from _slides(view)
    elif head.startswith(b"PK\x03\x04"):
        yield from _members(view, min(room, _MOST_BYTES))
    elif head == _ACTIVE_MIME:
        yield _active_mime(bytes(view), "ActiveMime")
    else:
        yield from _texts(bytes(view), min(room, _MOST_BYTES))


def _slides(view: memoryview) -> Iterator[Found]:
    try:
        compound = Compound(view)
    except BadCompound:
        return
    entry = compound.find("PowerPoint Document")
    if entry is None or encryption(compound):
        return
    stream = compound.read(entry)
    for offset, packed, start, end in presentation_objects(stream):
        piece = memoryview(stream)[start:end]
        made = bytearray()
        for chunk in Inflated(piece) if packed else (piece,):  # damage is what the worker `ole` reports
            made += chunk
            if len(made) > _MOST_BYTES:
                break
        if made.startswith(MAGIC):
            yield Found(name=f"object at {offset}", content=bytes(made))


def _members(view: memoryview, room: int) -> Iterator[Found]:
    """The compound files among the members of an OOXML package; of others only the first bytes are read."""
    try:
        entries = read_members(view, _MOST_MEMBERS)
    except PluginError:
        return  # the worker `decompress` reports it
    if not any(one.member.name == "[Content_Types].xml" for one in entries):
        return
    for entry in entries:
        if entry.open is None or entry.member.name.endswith((".xml", ".rels", ".png", ".jpeg", ".jpg")):
            continue
        made, whole = _member(entry, room)
        room -= len(made)
        if not whole:
            yield Found(name=f"{entry.member.name} is not read whole", problem=Reason.TOO_MANY_BYTES)
        if made:
            yield Found(name=entry.member.name, content=bytes(made))


def _member(entry: Entry, room: int) -> tuple[bytearray, bool]:
    made = bytearray()
    assert entry.open is not None
    try:
        for chunk in chunks_of(entry.open([])):
            made += chunk
            if len(made) >= 8 and not made.startswith(MAGIC):
                return bytearray(), True
            if len(made) > room:
                return made[:room], False
    except (BadArchive, zlib.error, ValueError, OSError, EOFError):
        pass  # the worker `decompress` reports it
    return (made, True) if made.startswith(MAGIC) else (bytearray(), True)


def _texts(content: bytes, room: int) -> Iterator[Found]:
    """What stands in MHTML, flat OPC or Word 2003 XML as base64."""
    for number, found in enumerate(_BASE64.finditer(content)):
        if number >= _MOST_PARTS:
            yield Found(name=f"more than {_MOST_PARTS} embedded parts", problem=Reason.TOO_MANY_BYTES)
            return
        letters = b"".join(found.group().split()).partition(b"=")[0]
        letters = letters[:-1] if len(letters) % 4 == 1 else letters
        raw = binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))
        name = f"part at {found.start()}"
        part = _active_mime(raw, name) if raw.startswith(_ACTIVE_MIME) else Found(name=name, content=raw)
        if len(part.content) > room:
            part = Found(name=f"{name} is too large", problem=Reason.TOO_MANY_BYTES)
        room -= len(part.content)
        yield part


def _active_mime(raw: bytes, name: str) -> Found:
    """The compound file in an ActiveMime part: zlib where its header says, or at the usual places."""
    told = int.from_bytes(raw[0x1E:0x20], "little") + 46
    for at in dict.fromkeys((told, 0x32, 0x22A)):
        inflate = zlib.decompressobj()
        try:
            made = inflate.decompress(raw[at:], _MOST_BYTES)
        except zlib.error:
            continue
        if made.startswith(MAGIC):
            return Found(name=name, content=made)
    return Found(name=f"{name}: ActiveMime that does not inflate", problem=Reason.CORRUPT)
