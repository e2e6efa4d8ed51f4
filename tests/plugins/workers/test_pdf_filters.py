"""PDF's filters: all of them by either name, in chains, with predictors, damaged and unknown."""

from __future__ import annotations

import base64
import itertools
import zlib

import pytest

from plugins._formats.pdf.parts import STREAMS_MARK
from tests.pdf_files import FLATE, HEAD, TEXT, lzw, only, run_length, scan, stream

RUNS = b"A" * 5 + b"B" * 5 + b"C" * 5 + b"D" * 5 + b"copied as it stands" * 6


@pytest.mark.parametrize(
    ("words", "data", "plain"),
    [
        (b"/Filter/FlateDecode", FLATE, TEXT),
        (b"/Filter/Fl", FLATE, TEXT),
        (b"/Filter[/FlateDecode]", FLATE, TEXT),
        (b"/Filter/Fl#61teDecode", FLATE, TEXT),
        (b"/Filter/FlateDecode", FLATE[:-4], TEXT),
        (b"/Filter/FlateDecode", FLATE[2:-4], TEXT),
        (b"/Filter/FlateDecode", b"\r\n" + FLATE + b"behind", TEXT),
        (b"/Filter/ASCIIHexDecode", TEXT.hex(" ").encode() + b"7 >", TEXT + b"p"),
        (b"/Filter/AHx", TEXT.hex().encode(), TEXT),
        (b"/Filter/ASCII85Decode", b"<~" + base64.a85encode(TEXT + bytes(8) + b"xy", wrapcol=60) + b"~>", TEXT + bytes(8) + b"xy"),
        (b"/Filter/A85", base64.a85encode(TEXT), TEXT),
        (b"/Filter/RunLengthDecode", run_length(RUNS), RUNS),
        (b"/Filter/RL", run_length(RUNS)[:-1], RUNS),
        (b"/Filter/LZWDecode", lzw(TEXT), TEXT),
        (b"/Filter/LZW/DecodeParms<</EarlyChange 0>>", lzw(TEXT, 0), TEXT),
        (b"/Filter[/A85/AHx/Fl]", base64.a85encode(FLATE.hex().encode()), TEXT),
        (b"/Filter[/FlateDecode/DCTDecode]", FLATE, TEXT),
        (b"/Filter[/Crypt/FlateDecode]", FLATE, TEXT),
    ],
)  # fmt: skip
def test_filters(words: bytes, data: bytes, plain: bytes) -> None:
    """Each filter by its long and short name, in chains, with what writers get wrong about them."""
    assert only(stream(data, words)) == b"\n" + plain


@pytest.mark.parametrize("early", [0, 1])
def test_lzw_beyond_one_table(early: int) -> None:
    """Codes grow to 12 bits, and the table is cleared and filled again."""
    data = b"".join(b"%d and %x;" % (n, n * n) for n in range(8_000))
    words = b"/Filter/LZWDecode/DecodeParms<</EarlyChange %d>>" % early
    assert only(stream(lzw(data, early), words)) == b"\n" + data


def png(rows: list[bytes], kind: int, pixel: int) -> bytes:
    """Rows under one PNG filter (PNG 9.2, the other way round)."""
    out, above = b"", bytes(len(rows[0]))
    for row in rows:
        made = bytearray()
        for n, one in enumerate(row):
            left, corner = (row[n - pixel], above[n - pixel]) if n >= pixel else (0, 0)
            up = above[n]
            guess = left + up - corner
            nearest = min((left, up, corner), key=lambda value: abs(guess - value))
            made.append((one - (0, left, up, (left + up) // 2, nearest)[kind]) & 255)
        out += bytes((kind,)) + bytes(made)
        above = row
    return out


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4])
def test_png_predictors(kind: int) -> None:
    """All five, with pixels of three bytes; the parameters may stand elsewhere."""
    rows = [bytes((n * 37 + m * m * 11) & 255 for m in range(30)) for n in range(20)]
    params = b"<</Predictor 15/Colors 3/Columns 10>>"
    data = zlib.compress(png(rows, kind, 3))
    assert only(stream(data, b"/Filter/Fl/DecodeParms " + params)) == b"\n" + b"".join(rows)
    elsewhere = b"7 0 obj " + params + b" endobj\n" + stream(data, b"/Filter[/Fl]/DecodeParms[7 0 R]")
    assert only(elsewhere) == b"\n" + b"".join(rows)


def test_tiff_predictor() -> None:
    """Differences to the pixel on the left."""
    row = bytes(range(0, 250, 5))
    data = row[:1] + bytes((b - a) & 255 for a, b in itertools.pairwise(row))
    words = b"/Filter/Fl/DecodeParms<</Predictor 2/Columns 50>>"
    assert only(stream(zlib.compress(data * 2), words)) == b"\n" + row * 2


def test_several_streams_are_one_child() -> None:
    """Whatever number of streams there is, in the order of the file, pictures last."""
    picture = stream(zlib.compress(b"pixels"), b"/Subtype/Image/Filter/Fl", 2)
    many = b"".join(stream(zlib.compress(b"page %d" % n), number=n) for n in range(3, 6))
    assert only(picture + many) == b"\npage 3\npage 4\npage 5\npixels"


def test_what_stands_in_the_file_is_no_child() -> None:
    """Streams without a filter, and pictures in a format of their own."""
    plain = stream(TEXT, b"") + stream(b"\xff\xd8\xff", b"/Filter/DCTDecode") + stream(b"x", b"/Filter[/JPX]")
    ran = scan(HEAD + stream(TEXT, b"") + stream(b"\xff\xd8\xff", b"/Filter/DCTDecode"))
    assert not ran.children
    assert not ran.reasons
    assert scan(HEAD + plain).reasons == {"unsupported_method"}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (b"/Filter/Mystery", "unsupported_method"),
        (b"/Filter[/Fl/Crypt]/DecodeParms[null<</Name/Mine>>]", "unsupported_method"),
        (b"/Filter 77 0 R", "unsupported_method"),
        (b"/Filter[" + b"/Fl" * 65 + b"]", "too_deep"),
    ],
)
def test_filters_that_are_not_known(words: bytes, reason: str) -> None:
    """They are named, so that such a document is never clean; the other streams are decoded."""
    ran = scan(HEAD + stream(FLATE, words) + stream(FLATE))
    assert ran.reasons == {reason}
    assert ran.contents["streams"] == STREAMS_MARK + b"\n" + TEXT


def test_damage_keeps_what_came_before() -> None:
    """A stream that ends in the middle or is damaged gives what it can, and says so."""
    data = zlib.compress(bytes(range(256)) * 400, 1)
    for words in (b"/Filter/Fl", b"/Filter/Fl/DecodeParms<</Predictor 12/Columns 63>>"):
        ran = scan(HEAD + stream(data[: len(data) // 2], words))
        assert ran.reasons == {"corrupt"}
        assert len(ran.contents["streams"]) > 100
    many = b"".join(stream(b"\xff" * 30, number=n) for n in range(1, 9))
    ran = scan(HEAD + many)
    assert len(ran.errors) == 4
    assert "5 more" in ran.errors[-1].message


@pytest.mark.parametrize(
    ("filters", "data"),
    [
        (b"/F /AHx", TEXT.hex().encode() + b">"), (b"/F/Fl", zlib.compress(TEXT)),
        (b"/Filter [/A85 /Fl]", base64.a85encode(zlib.compress(TEXT)) + b"~>"), (b"/F/LZW", lzw(TEXT)),
    ],
)  # fmt: skip
def test_pictures_within_contents(filters: bytes, data: bytes) -> None:
    """Inline pictures are unpacked, in packed contents and in plain ones, several of them."""
    page = b"q BI /W 8 /H 8 /BPC 8 /CS /G " + filters + b" ID " + data + b" EI Q\n"
    assert only(stream(zlib.compress(b"q " + page * 2))).count(TEXT) == 2
    assert TEXT in only(stream(page, b""))
    assert not scan(HEAD + stream(b"q BI /W 8 /F /DCT ID \xff\xd8 EI Q", b"")).children
