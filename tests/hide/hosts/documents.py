"""Documents and mails: streams, tails, what stands before the mark, attachments."""

from __future__ import annotations

import base64
import zlib

from tests import office_files
from tests.hide.matrix import place
from tests.pdf_files import stream

_PDF_END = b"\ntrailer<</Root 9 0 R>>\nstartxref\n0\n%%EOF\n"


@place("pdf", "stream")
def _pdf_stream(cargo: bytes) -> bytes:
    return b"%PDF-1.7\n" + stream(zlib.compress(cargo)) + _PDF_END


@place("pdf", "stream without a filter")
def _pdf_plain(cargo: bytes) -> bytes:
    return b"%PDF-1.7\n" + stream(cargo, b"") + _PDF_END


@place("pdf", "between objects")
def _pdf_gap(cargo: bytes) -> bytes:
    return b"%PDF-1.7\n" + stream(zlib.compress(b"x")) + b"\n" + cargo + b"\n" + _PDF_END


@place("pdf", "behind the end")
def _pdf_tail(cargo: bytes) -> bytes:
    return b"%PDF-1.7\n" + stream(zlib.compress(b"x")) + _PDF_END + cargo


@place("pdf", "before the mark")
def _pdf_head(cargo: bytes) -> bytes:
    return cargo + b"%PDF-1.7\n" + stream(zlib.compress(b"x")) + _PDF_END


@place("ole", "stream")
def _ole_stream(cargo: bytes) -> bytes:
    return office_files.compound({"Data": cargo.ljust(4_200, b"\1")})


@place("ole", "small stream")
def _ole_small(cargo: bytes) -> bytes | None:
    return office_files.compound({"Data": cargo}) if len(cargo) < 4_000 else None


@place("ole", "in the middle of a stream")
def _ole_middle(cargo: bytes) -> bytes:
    return office_files.compound({"Data": b"\1\2\3" * 500 + cargo + b"\4" * 3_000})


@place("ole", "behind the sectors")
def _ole_tail(cargo: bytes) -> bytes:
    return office_files.compound({"Data": bytes(5_000)}) + cargo


@place("ole", "a stream that no folder names")
def _ole_orphan(cargo: bytes) -> bytes:
    return office_files.compound({"Data": b"x" * 5_000}, orphan=("Gone", cargo.ljust(4_200, b"\1")))


@place("rtf", "object")
def _rtf_object(cargo: bytes) -> bytes:
    return office_files.rtf(office_files.ole1_object(b"Package", office_files.ole10_native("a.txt", cargo)))


@place("rtf", "behind the end")
def _rtf_tail(cargo: bytes) -> bytes:
    return b"{\\rtf1 words}" + cargo


@place("rtf", "binary data")
def _rtf_binary(cargo: bytes) -> bytes:
    return b"{\\rtf1 {\\pict\\bin%d " % len(cargo) + cargo + b"} words}"


@place("ooxml", "a part")
def _ooxml(cargo: bytes) -> bytes:
    return office_files.ooxml(**{"word/media/image1.bin": cargo})


def _mail(cargo: bytes, headers: bytes = b"", *, plain: bool = False) -> bytes:
    body = cargo if plain else base64.encodebytes(cargo).replace(b"\n", b"\r\n")
    words = b"" if plain else b"Content-Transfer-Encoding: base64\r\n"
    return (
        b"From: a@b.example\r\nTo: c@d.example\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="xx"\r\n\r\npreamble\r\n'
        b"--xx\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
        b"--xx\r\nContent-Type: application/octet-stream; name=a.bin\r\n" + headers + words + b"\r\n" + body
        + b"\r\n--xx--\r\n"
    )  # fmt: skip


@place("mail", "attachment")
def _attachment(cargo: bytes) -> bytes:
    return _mail(cargo)


@place("mail", "attachment of eight bits")
def _eight_bits(cargo: bytes) -> bytes:
    return _mail(cargo, b"Content-Transfer-Encoding: binary\r\n", plain=True)


@place("mail", "behind the last boundary")
def _epilogue(cargo: bytes) -> bytes:
    return _mail(b"x") + base64.encodebytes(cargo)
