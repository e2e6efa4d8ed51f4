"""xdpcarve: well-formed and malformed packages, nesting, CDATA, references, and what would be a bomb."""

from __future__ import annotations

import base64
import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.workers.xdpcarve import Xdpcarve
from stoq_core.errors import ConfigError
from stoq_core.limits import MiB, RequestLimits
from stoq_core.testing import Ran, make, run
from tests import samples

PDF = b"%PDF-1.4\n" + bytes(range(256)) * 12
TEXT = base64.encodebytes(PDF)


def package(inner: bytes) -> bytes:
    """An XDP around the content of its document element."""
    return (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<xdp:xdp xmlns:xdp="http://ns.adobe.com/xdp/">'
        b'<pdf xmlns="http://ns.adobe.com/xdp/pdf/"><document>' + inner + b"</document></pdf></xdp:xdp>"
    )


def carve(content: bytes, limits: RequestLimits | None = None, **options: object) -> Ran:
    """Run the worker."""
    return run(make(Xdpcarve, **options), content, limits=limits)


def contents(ran: Ran) -> list[bytes]:
    """The children's bytes."""
    return [one.body.content() for one in ran.children]


@pytest.mark.parametrize(
    "inner",
    [
        b"<chunk>" + TEXT + b"</chunk>",
        b"<CHUNK a='1' >" + TEXT + b"</Chunk >",
        b"<pdf:chunk>" + TEXT + b"</pdf:chunk>",
        b"<chunk><![CDATA[" + TEXT + b"]]></chunk>",
        b"<![CDATA[<chunk>" + TEXT + b"</chunk>]]>",
        b"<!-- <chunk>" + TEXT + b"</chunk> -->",
        b"<chunk>" + TEXT,
        b"<chunk>" + TEXT + b"</chunk",
        b"</chunk><chunk>" + TEXT + b"</chunk></chunk>",
        b"<chunk>" + TEXT[:200] + b"<!-- JVBERi -->" + TEXT[200:] + b"</chunk>",
        b"<chunk>" + TEXT[:200] + b"<x y='z'>" + TEXT[200:] + b"</x></chunk>",
        b"<chunk>" + b"".join(b"&#%d;" % one for one in TEXT) + b"</chunk>",
        b"<chunk>" + b"".join(b"&#x%x;" % one for one in TEXT) + b"</chunk>",
        b"<chunk>" + TEXT.replace(b"\n", b"\x00*\t") + b"</chunk>",
        b"<chunk\n>" + TEXT.rstrip(b"=\n") + b"</chunk>",
    ],
)
def test_a_chunk_however_it_is_written(inner: bytes) -> None:
    """Prefix, case, CDATA, comments, tags, references, missing ends and stray bytes make no difference."""
    ran = carve(package(inner))
    assert contents(ran) == [PDF]
    assert ran.result == {"count": 1, "by_element": {"chunk": 1}}
    assert ran.children[0].meta.extra_data["element"] == "chunk"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_text_of_two_bytes_a_letter(encoding: str) -> None:
    """With and without a byte order mark."""
    assert contents(carve(package(b"<chunk>" + TEXT + b"</chunk>").decode().encode(encoding))) == [PDF]


def test_chunks_that_follow_each_other_are_also_one() -> None:
    """A document may be cut anywhere, even inside four letters: each part, then the whole."""
    inner = b"<chunk>" + TEXT[:401] + b"</chunk>\n  <chunk>" + TEXT[401:] + b"</chunk>"
    ran = carve(package(inner))
    assert len(ran.children) == 3
    assert contents(ran)[2] == PDF
    assert ran.children[2].meta.extra_data["parts"] == 2


def test_nested_elements_have_their_own_text() -> None:
    """An element inside an element is a child of its own; the outer one is read around it."""
    inner = b"<chunk>" + TEXT[:400] + b"<chunk>QUJDRA==</chunk>" + TEXT[400:] + b"</chunk>"
    assert contents(carve(package(inner))) == [b"ABCD", PDF]


def test_images_and_elements_of_ones_own() -> None:
    """`image` is looked at by default; `elements` replaces the list."""
    inner = b"<image contentType='image/png'>iVBORw0KGgo=</image><file>QUJD</file>"
    assert contents(carve(package(inner))) == [b"\x89PNG\r\n\x1a\n"]
    assert contents(carve(package(inner), elements=("file",))) == [b"ABC"]
    with pytest.raises(ConfigError, match="no element's name"):
        make(Xdpcarve, elements=("a b",))


def test_padding_between_pieces() -> None:
    """Base64 that was padded piece by piece is decoded piece by piece."""
    assert contents(carve(package(b"<chunk>QQ==QUI=QUJD</chunk>"))) == [b"AABABC"]


def test_a_real_pdf() -> None:
    """A PDF of pypdf's tests, packed as XDP, comes out byte for byte."""
    pdf = samples.content("pypdf", "crazyones.pdf")
    assert contents(carve(package(b"<chunk>" + base64.b64encode(pdf) + b"</chunk>"))) == [pdf]


@pytest.mark.parametrize(
    "inner",
    [b"", b"<chunk></chunk>", b"<chunk/>", b"<chunk>   </chunk>", b"<chunks>QUJD</chunks>", b"<p>QUJD</p>"],
)
def test_nothing_to_carve(inner: bytes) -> None:
    """Empty and other elements give no child, no result, no error."""
    ran = carve(package(inner))
    assert (ran.children, ran.result, ran.errors) == ([], None, [])


def test_text_that_is_no_base64() -> None:
    """It is an error, since a chunk ought to be; nothing is made of it."""
    ran = carve(package(b"<chunk>!!! this is not it, is it? !!!</chunk>"))
    assert [one.code for one in ran.errors] == ["not_base64"]
    assert not ran.children


def test_entities_are_not_expanded() -> None:
    """A billion laughs stay text: a DTD means nothing here."""
    bomb = b'<!DOCTYPE x [<!ENTITY a "QUJD"><!ENTITY b "' + b"&a;" * 1000 + b'">]>'
    ran = carve(bomb + b"<chunk>QUJD" + b"&b;" + b"</chunk>")
    assert all(one.body.size < 20 for one in ran.children)


@pytest.mark.parametrize(
    "content",
    [b"<chunk>" * 40_000, b"<chunk>QUJD</chunk>" * 15_000, b"<" * MiB, b"<chunk>" + b"<!--" * 250_000,
     b"<chunk>" + b"QQ==" * 250_000, b"<chunk>" + b"&#65;" * 200_000, b"<a:" * 300_000, b"<chunk " * 140_000,
     b"<chunk>" + b"<a>QUJD" * 140_000, b"<chunk></image>" * 60_000, b"<chunk>" + b"&#" * 500_000],
)  # fmt: skip
def test_hostile_text_takes_linear_time(content: bytes) -> None:
    """A megabyte of tags, comments or references takes seconds at most."""
    began = time.process_time()
    carve(content)
    assert time.process_time() - began < 4


def test_too_many_tags_are_said() -> None:
    """What is behind them was not read, and is named so."""
    assert "option_limit" in carve(b"<chunk></chunk>" * 110_000).reasons


def test_limits_hold() -> None:
    """Decoded bytes and children are counted."""
    large = b"<chunk>" + base64.b64encode(os.urandom(5000)) + b"</chunk>"
    assert carve(large, RequestLimits(payload_bytes=1000)).reasons == {"too_large"}
    many = carve(b"<chunk>QUJD</chunk>x" * 1_200)
    assert len(many.children) == 1_000
    assert "too_many_payloads" in many.reasons


PIECES = st.sampled_from(
    [b"<chunk>", b"</chunk>", b"<a:image ", b">", b"/>", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"&#65;",
     b"QUJD", b"=", b"\0", b"\xff\xfe", b"&#xffffff;", b"&#9999999;", b" ", b"<?xml"]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES | st.binary(max_size=20), max_size=60))
def test_any_bytes_end_in_emits(pieces: list[bytes]) -> None:
    """Any order of marks and bytes is read; children are no larger than the text."""
    content = b"".join(pieces)
    ran = carve(content)
    assert ran.error is None
    assert sum(one.body.size for one in ran.children) <= 2 * len(content)
