"""Pictures, sound, video and fonts: free bytes become children, pixels that spell a text do, nothing else."""

from __future__ import annotations

import gzip
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins._formats.filetype import identify
from plugins._formats.media.readers import FORMATS
from plugins._formats.routes import shipped_routes
from plugins.workers.media import Media
from stoq_core.testing import Ran, make, run
from tests.format_files import CARGO, MEDIA, bmp, flac, gif, jpeg, matroska, mp3, mp4, png, riff, riff_chunk

PLAIN = {
    "png": png(), "gif": gif(), "jpeg": jpeg(), "mp3": mp3(), "flac": flac(), "mp4": mp4(), "mkv": matroska(),
    "bmp": bmp(), "wav": riff(b"WAVE", riff_chunk(b"data", bytes(64))),
}  # fmt: skip
MARKS = {
    "png": b"\x89PNG\r\n\x1a\n", "gif": b"GIF89a", "jpeg": b"\xff\xd8\xff", "mp3": b"ID3\3\0\0", "flac": b"fLaC",
    "ogg": b"OggS", "mp4": b"\0\0\0\x18ftypisom", "jp2": b"\0\0\0\x0cjP  \r\n\x87\n", "mkv": b"\x1a\x45\xdf\xa3",
    "riff": b"RIFF\xff\0\0\0AVI ", "webp": b"RIFF\xff\0\0\0WEBP", "aiff": b"FORM\0\0\0\xffAIFF", "tiff": b"II*\0\x08\0\0\0",
    "psd": b"8BPS\0\1\0\0\0\0\0\0", "ico": b"\0\0\1\0\1\0", "wmf": b"\xd7\xcd\xc6\x9a", "ttf": b"\0\1\0\0\0\1\0\x10\0\0\0\0",
    "woff": b"wOFF", "woff2": b"wOF2", "pfb": b"\x80\1\x04\0\0\0%!", "asf": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
    "flv": b"FLV\x01", "midi": b"MThd\0\0\0\6", "au": b".snd\0\0\0\x18", "icns": b"icns", "caf": b"caff\0\1",
    "mpegps": b"\0\0\1\xba", "pnm": b"P5\n2 2\n255\n",
}  # fmt: skip


def opened(content: bytes) -> Ran:
    """Run the worker."""
    return run(make(Media), content)


def found(ran: Ran, cargo: bytes) -> bool:
    """True if a child holds the cargo whole."""
    return any(cargo in child.body.content() for child in ran.children)


@pytest.mark.parametrize("place", MEDIA)
def test_cargo_comes_out(place: str) -> None:
    """Whatever place of a file is free for other bytes, they are a child."""
    content = MEDIA[place](CARGO)
    assert identify(memoryview(content)).label == place.partition("-")[0]
    ran = opened(content)
    assert found(ran, CARGO.strip() if "pixels" in place else CARGO), ran.contents
    assert ran.result is not None


@pytest.mark.parametrize("label", PLAIN)
def test_a_plain_file_has_no_children(label: str) -> None:
    """What is all header and media is accounted for to the last byte, without a reason."""
    content = PLAIN[label]
    assert identify(memoryview(content)).label == label
    ran = opened(content)
    assert not ran.reasons
    assert not ran.children


@pytest.mark.parametrize("place", MEDIA)
def test_cut_short(place: str) -> None:
    """A file that ends too early is told of, or what is left of it is a child; never passed over."""
    content = MEDIA[place](CARGO)
    for size in (len(content) // 2, len(content) - 1):
        ran = opened(content[:size])
        assert ran.error is None
        covered = sum(child.body.size for child in ran.children)
        assert ran.reasons or covered or size >= len(content) - len(CARGO)


def test_archive_among_pixels() -> None:
    """A gzip stream in the pixels is given from its mark on."""
    ran = opened(png(pixels=bytes(50) + gzip.compress(CARGO, mtime=0)))
    assert any(child.body.content().startswith(b"\x1f\x8b\x08") for child in ran.children)


def test_image_data_beyond_the_pixels() -> None:
    """More than the header's size says comes out of the image data: it is a child."""
    plain = png()
    at = plain.index(b"IDAT") - 4
    data = zlib.compress(bytes(17) + CARGO) + b"behind the stream " * 4
    chunk = struct.pack(">I", len(data)) + b"IDAT" + data + bytes(4)
    ran = opened(plain[:at] + chunk)
    assert found(ran, CARGO)
    assert found(ran, b"behind the stream " * 4)


def test_gradients_are_no_text() -> None:
    """Pixels that happen to be printable, but change slowly, are not given as text."""
    ramp = bytes(40 + (at // 4) % 80 for at in range(2_000))
    assert not opened(png(pixels=ramp)).children


def test_bomb() -> None:
    """A text that inflates without end is told of, and what is made stays within the limits."""
    text = zlib.compress(bytes(80 << 20))
    chunk = b"zTXtc\0\0" + text
    content = png(struct.pack(">I", len(chunk) - 4) + chunk + bytes(4))
    ran = opened(content)
    assert ran.reasons & {"too_large", "ratio", "too_many_bytes"}


def test_every_media_type_has_a_reader() -> None:
    """A type that the routes call media is accounted for by this worker, not believed."""
    media = {label for label, route in shipped_routes().items() if route.kind == "media"}
    assert media == set(FORMATS)
    assert all(shipped_routes()[label].workers == ["media"] for label in media)


@given(st.sampled_from(sorted(MARKS)), st.binary(max_size=600))
@settings(max_examples=300)
def test_any_bytes_behind_a_mark(label: str, content: bytes) -> None:
    """Hostile headers end in reasons or children, never in an exception, and lose no byte."""
    ran = opened(MARKS[label] + content)
    assert ran.error is None or ran.error.reason is not None


@given(st.sampled_from(sorted(MEDIA)), st.integers(0, 10_000), st.integers(0, 255))
@settings(max_examples=300)
def test_any_byte_changed(place: str, at: int, value: int) -> None:
    """One byte of a well-formed file is anything."""
    content = bytearray(MEDIA[place](CARGO))
    content[at % len(content)] = value
    ran = opened(bytes(content))
    assert ran.error is None or ran.error.reason is not None


def test_rows_are_no_longer_than_the_pixels() -> None:
    """A width of four thousand million pixels takes no memory."""
    content = bytearray(png())
    content[16:20] = b"\xff\xff\xff\xff"
    assert opened(bytes(content)).error is None
