"""Pictures, sound and fonts: tails, comments, unknown chunks and pixels."""

from __future__ import annotations

import struct
import zlib

from tests.hide.matrix import place


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


_HEAD = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0))
_PIXELS = _chunk(b"IDAT", zlib.compress(bytes(20)))
_END = _chunk(b"IEND", b"")
_GIF = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff"
_GIF_PIXEL = b",\0\0\0\0\1\0\1\0\0\2\2D\1\0"
_JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"


@place("png", "behind the end")
def _png_tail(cargo: bytes) -> bytes:
    return _HEAD + _PIXELS + _END + cargo


@place("png", "behind the end, behind zeros")
def _png_zeros(cargo: bytes) -> bytes:
    return _HEAD + _PIXELS + _END + bytes(3_000) + cargo


@place("png", "unknown chunk")
def _png_chunk(cargo: bytes) -> bytes:
    return _HEAD + _chunk(b"hiDe", cargo) + _PIXELS + _END


@place("png", "text chunk")
def _png_text(cargo: bytes) -> bytes:
    return _HEAD + _chunk(b"tEXt", b"Comment\0" + cargo) + _PIXELS + _END


@place("png", "compressed text chunk")
def _png_ztxt(cargo: bytes) -> bytes:
    return _HEAD + _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(cargo)) + _PIXELS + _END


@place("gif", "behind the end")
def _gif_tail(cargo: bytes) -> bytes:
    return _GIF + _GIF_PIXEL + b";" + cargo


@place("gif", "comment")
def _gif_comment(cargo: bytes) -> bytes:
    blocks = b"".join(
        bytes((len(cargo[at : at + 255]),)) + cargo[at : at + 255] for at in range(0, len(cargo), 255)
    )
    return _GIF + b"!\xfe" + blocks + b"\0" + _GIF_PIXEL + b";"


@place("jpeg", "behind the end")
def _jpeg_tail(cargo: bytes) -> bytes:
    return _JPEG + b"\xff\xd9" + cargo


@place("jpeg", "comment")
def _jpeg_comment(cargo: bytes) -> bytes | None:
    if len(cargo) > 65_000:
        return None
    return _JPEG + b"\xff\xfe" + struct.pack(">H", len(cargo) + 2) + cargo + b"\xff\xd9"


@place("bmp", "behind the pixels")
def _bmp(cargo: bytes) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 24, 0, 4, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 58, 0, 0, 54) + info + bytes(4) + cargo


@place("wav", "unknown chunk")
def _wav(cargo: bytes) -> bytes:
    chunk = b"hide" + struct.pack("<I", len(cargo)) + cargo + bytes(len(cargo) & 1)
    body = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8) + chunk + b"data\4\0\0\0\1\2\3\4"
    return b"RIFF" + struct.pack("<I", len(body)) + body


@place("wav", "behind the end")
def _wav_tail(cargo: bytes) -> bytes:
    body = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8) + b"data\4\0\0\0\1\2\3\4"
    return b"RIFF" + struct.pack("<I", len(body)) + body + cargo
