"""Decode what is written as text: base64, hex, numbers, escapes and the like, wherever it stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from plugins._formats.encodings.decoding import found_in
from plugins._formats.encodings.spans import Found
from plugins._formats.filetype import UNKNOWN, kind_of
from plugins._text import gate
from plugins._text.density import is_dense
from stoq_core.job import Job
from stoq_core.limits import KiB, MiB
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Role, Worker

_BETWEEN = b"\n;\n"
_MOST_SHOWN = 100
_MAILS = frozenset(("eml", "mbox"))
"""`smtp` decodes the parts of these, and what it makes of them is looked at here in turn."""


class DecodeOptions(Options, frozen=True):
    """What of the many is put together."""

    alone: Annotated[
        int, about("short texts that are children of their own; more become one together", ge=0)
    ] = 8
    short_bytes: Annotated[int, about("longest text that counts as short, bytes", ge=16)] = 4 * KiB


class EncodedSpan(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the text of an encoding stands, its `encoding` with what was inside, and the `type` found.

    With `view` = "text" the offset is one in the normal form of the payload.
    """

    offset: int
    size: int
    encoding: str
    type: str
    view: str = ""


class DecodeResult(msgspec.Struct, frozen=True):
    """`count` of all that was decoded, `encodings` with their counts, and the first hundred `spans`."""

    count: int
    encodings: dict[str, int]
    spans: list[EncodedSpan]


class Decode(Worker[DecodeOptions]):
    """Each encoded stretch that gives text of 16 bytes or a known type is a child, decoded.

    Base64 in any layout (lines, literals, arrays, offset, reversed, url-safe), base32, base85, Ascii85, Z85,
    base91, hex, lists of numbers and letter codes, escapes, uuencode, xxencode, yEnc,
    quoted-printable, UTF-7, UTF-16, UTF-32, EBCDIC, ROT13, Microsoft's Script Encoder, Git's binary patches.
    Encodings around all of it and a key of one byte are undone in the same step. What only
    looks encoded is left: what comes out decides. Short texts, if there are many, are one child, a line with
    a semicolon between.
    """

    roles: tuple[Role, ...] = ("opens",)
    libraries = {"yara_x": "yara-x (in requirements.txt)"}
    result = DecodeResult
    findings = {
        "encoded_executable": (
            300,
            "A Windows executable written as text: base64, hex, numbers or escapes",
            ("T1027.013", "T1140"),
        ),
    }

    def warm(self) -> None:
        """Compile the words that are looked for."""
        gate.warm()

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield the children, a finding, then one `DecodeResult`."""
        found_type = kind_of(payload)
        if found_type.label in _MAILS or (found_type is UNKNOWN and is_dense(payload.view())):
            return  # nobody can read what is dense and of no known type: the verdict says so
        counts: Counter[str] = Counter()
        spans: list[EncodedSpan] = []
        together = _Together(job, self.options)
        for found, in_view in found_in(payload.view()):
            counts[found.encoding] += 1
            view = "text" if in_view else ""
            if len(spans) < _MOST_SHOWN:
                spans.append(EncodedSpan(found.offset, found.size, found.encoding, found.label, view))
            yield from together.add(found, view)
            if found.label == "pe":
                yield self.finding("encoded_executable", f"{found.encoding} at offset {found.offset}")
        yield from together.rest()
        if counts:
            yield DecodeResult(counts.total(), dict(counts.most_common(_MOST_SHOWN)), spans)


class _Together:
    """Short texts: the first few alone, all others in as few children as possible."""

    def __init__(self, job: Job, options: DecodeOptions) -> None:
        self._job = job
        self._options = options
        self._alone = 0
        self._texts: list[bytes] = []
        self._size = 0

    def add(self, found: Found, view: str) -> Iterator[Any]:
        """A child now, or later with others."""
        short = found.label == "text" and len(found.data) <= self._options.short_bytes
        if short and self._alone >= self._options.alone:
            self._texts.append(found.data)
            self._size += len(found.data)
            if self._size >= 8 * MiB:
                yield from self.rest()
            return
        self._alone += short
        more: dict[str, Any] = {"view": view} if view else {}
        yield self._job.child([found.data], offset=found.offset, encoding=found.encoding, **more)

    def rest(self) -> Iterator[Any]:
        """What has come together."""
        if self._texts:
            yield self._job.child([_BETWEEN.join(self._texts)], name="decoded.txt", texts=len(self._texts))
        self._texts, self._size = [], 0
