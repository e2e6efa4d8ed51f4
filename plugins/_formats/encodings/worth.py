"""What decoded bytes are worth: a known type, text, or nothing; with the packings around it undone.

A run of letters may be base64 by chance. What it decodes to tells: of 175,425 runs in clean texts 540
gave text.
"""

from __future__ import annotations

import binascii
import zlib
from typing import NamedTuple

from plugins._formats.encodings.keys import unhidden
from plugins._formats.filetype import UNKNOWN, has_mark, identify
from plugins._text.textual import charset_of, text_of
from stoq_core.limits import MiB

MIN_BYTES = 16
PROBE_BYTES = 48
_MAX_LAYERS = 40
_LEAST_UNMARKED = 256
_MAX_INFLATED_BYTES = MiB
_CONTROL = bytes({*range(32), 127} - {9, 10, 12, 13, 27})
_SPACE = b" \t\r\n\v\f"
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_HEX = b"0123456789abcdefABCDEF"
_WEAK = frozenset(("mz", "mp3", "freeze", "pack"))
"""Types whose marks are so short that chance makes them."""
_TEXTUAL = frozenset(("text", "script", "mail"))
CERTIFICATE = "certificate"
"""Label of keys and certificates, which hold no files."""
_CMS = bytes.fromhex("06092a864886f70d0107")


class Content(NamedTuple):
    """Bytes that are worth a look, their type's label, and what was undone."""

    data: bytes
    label: str
    layers: tuple[str, ...] = ()


def is_legible(data: bytes, *, cut: bool = False) -> bool:
    """True for ASCII without control letters, for UTF-8, and for a text that has some letters of others.

    With `cut` the last letter may be incomplete.
    """
    if len(data.translate(None, _CONTROL)) != len(data):
        data = data.rstrip(b"\0")
        if len(data) < MIN_BYTES or len(data.translate(None, _CONTROL)) != len(data):
            return False
    if data.isascii():
        return True
    other = len(data) - len(data.translate(None, bytes(range(128, 256))))
    if other * 8 <= len(data) and len(data) >= 2 * MIN_BYTES:
        return True
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return cut and error.start >= len(data) - 3 and error.start >= MIN_BYTES
    return len(data) >= MIN_BYTES


def type_of(data: bytes) -> str | None:
    """The label of a known type that is no text, or None; marks of two bytes do not count."""
    if _is_certificate(data):
        return CERTIFICATE
    kind = identify(memoryview(data))
    if kind is UNKNOWN or kind.group in _TEXTUAL or kind.label in _WEAK or kind.group == "empty":
        return None
    return kind.label if kind.label != "pe" or _is_program(data) else None


def _is_program(data: bytes) -> bool:
    """The header that a program's first bytes lead to is there."""
    start = int.from_bytes(data[60:64], "little")
    return data[start : start + 4] == b"PE\0\0"


def _is_certificate(data: bytes) -> bool:
    """Signed and enveloped data (RFC 5652) hold files and are none."""
    return data[:1] == b"\x30" and data[1:2] in (b"\x81", b"\x82", b"\x83") and _CMS not in data[:32]


def is_promising(head: bytes) -> bool:
    """True if the first bytes look like a text or a known type: told quickly, and by few of them."""
    if len(head.translate(None, _CONTROL)) == len(head) and is_legible(head, cut=True):
        return True
    if b"\0" in head and (is_wide(head) or is_legible(head, cut=True)):
        return True
    return has_mark(head) or _is_zlib(head) or _is_certificate(head) or _may_be_unmarked(head)


def _may_be_unmarked(head: bytes) -> bool:
    """How LZMA alone, LHA, tar and disks begin, whose marks are patterns or stand further in."""
    if head.startswith(b"\x5d\0\0") or head[2:4] == b"-l":
        return True
    name = head.rstrip(b"\0")
    return len(name) <= len(head) - MIN_BYTES and len(name.translate(None, _CONTROL)) == len(name)


def begins_a_file(head: bytes) -> bool:
    """True if the first bytes are those of a known type; a program's header need not be whole."""
    return head.startswith(b"MZ") or (has_mark(head) and type_of(head) is not None)


def is_wide(head: bytes) -> bool:
    """True for the plain letters of UTF-16, either way around."""
    head = head.removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff")
    return len(head) >= MIN_BYTES and (
        (not any(head[1::2]) and is_legible(head[::2], cut=True))
        or (not any(head[:-1:2]) and is_legible(head[1::2], cut=True))
    )


def _is_zlib(head: bytes) -> bool:
    return len(head) > 2 and head[0] & 0x8F == 8 and (head[0] << 8 | head[1]) % 31 == 0 and not head[1] & 0x20


def unwrapped(data: bytes, keys: tuple[int, ...] = ()) -> Content | None:
    """What the bytes are once UTF-16, base64 and hex around all of them and one-byte keys are undone.

    None where nothing comes of it. `keys` are those that the text around names.
    """
    layers: list[str] = []
    for _ in range(_MAX_LAYERS):
        if len(data) < MIN_BYTES:
            return None
        label = _label(data)
        if label is not None:
            return Content(data, label, tuple(layers))
        step = _step(data, keys)
        if step is None:
            break
        name, data = step
        layers.append(name)
    return Content(data, "text", tuple(layers)) if is_legible(data) else None


def _label(data: bytes) -> str | None:
    """As `type_of`; short bytes are asked only if they have a mark, for that costs as much as all else."""
    if (
        has_mark(data[:16])
        or _is_certificate(data)
        or _is_zlib(data[:3])
        or _may_be_unmarked(data[:PROBE_BYTES])
    ):
        return type_of(data)
    return type_of(data) if len(data) > _LEAST_UNMARKED and not is_legible(data[:4096], cut=True) else None


def readings(data: bytes, keys: tuple[int, ...]) -> list[Content]:
    """What the bytes are worth, and what texts are that have been hidden under a key that is named nearby."""
    found = [content for content in (unwrapped(data, keys),) if content is not None]
    if keys and found and found[0].label == "text" and not found[0].layers:
        for operation, key, plain in unhidden(data, keys, _gives):
            content = unwrapped(plain)
            if content is not None:
                layers = (f"{operation}:0x{key:02x}", *content.layers)
                found.append(content._replace(layers=layers))
    return found


def _step(data: bytes, keys: tuple[int, ...]) -> tuple[str, bytes] | None:
    """One packing undone, by name."""
    if is_legible(data[:4096], cut=True):
        inner = _of_text(data)
        if inner is not None or is_legible(data):
            return inner
    charset = charset_of(memoryview(data)) if b"\0" in data[:64] else None
    if charset is not None and charset != "utf-8":
        text = text_of(memoryview(data), charset)
        if is_legible(text[:4096], cut=True):
            return charset, text
    inflated = _inflated(data)
    if inflated:
        return "deflate", inflated
    hidden = next(unhidden(data, keys, _gives), None)
    return (f"{hidden[0]}:0x{hidden[1]:02x}", hidden[2]) if hidden else None


def _inflated(data: bytes) -> bytes:
    """A deflate stream that hardly packs, and is no type of its own for that: a short text, for instance."""
    stream = zlib.decompressobj(-15)
    try:
        made = stream.decompress(data, _MAX_INFLATED_BYTES)
    except zlib.error:
        return b""
    return made if stream.eof and not stream.unused_data and _gives(made) else b""


def _of_text(data: bytes) -> tuple[str, bytes] | None:
    """The text's content, if all of it is hex or base64."""
    if len(data) < 24 or data[:256].translate(None, _BASE64 + _SPACE):
        return None
    plain = data.translate(None, _SPACE)
    if not plain.translate(None, _HEX) and not len(plain) % 2:
        made = bytes.fromhex(plain.decode("ascii"))
        return ("hex", made) if _gives(made) else None
    if plain.translate(None, _BASE64) or len(plain.rstrip(b"=")) % 4 == 1:
        return None
    for name, letters in (("base64", plain), ("reversed base64", plain[::-1])):
        text = letters.strip(b"=")
        made = binascii.a2b_base64(text + b"=" * (-len(text) % 4)) if len(text) % 4 != 1 else b""
        if made and _gives(made):
            return name, made
    return None


def _gives(made: bytes) -> bool:
    head = made[:PROBE_BYTES]
    return is_legible(head, cut=True) or is_wide(head) or type_of(made) is not None
