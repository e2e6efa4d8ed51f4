"""Take PDF apart: attached files, scripts and forms are children, all other streams decoded are one more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from plugins._formats.pdf.actions import ACTION_FINDINGS
from plugins._formats.pdf.damage import Meter
from plugins._formats.pdf.ledger import claim
from plugins._formats.pdf.parts import Parts
from plugins._formats.pdf.scan import Document
from plugins._formats.pdf.seen import KEYWORDS, Seen, text
from plugins._text.names import NAME_FINDINGS, name_findings
from stoq_core.errors import LimitReached, Reason
from stoq_core.job import Job
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_LEAD_BYTES = 1_024
_VERSION = re.compile(rb"%PDF-(\d{1,2}\.\d{1,2})")


class PdfOptions(Options, frozen=True):
    """How much to take out and to list."""

    passwords: Annotated[tuple[str, ...], about("tried on encrypted documents after the request's own")] = ()
    max_scripts: Annotated[
        int, about("scripts that are a child each; those behind are one together", ge=0)
    ] = 100
    max_uris: Annotated[int, about("addresses listed in the result", ge=0, le=1_000)] = 100


class PdfResult(msgspec.Struct, omit_defaults=True, kw_only=True):
    """Counts; `keywords` by name, in plain sight or in object streams; `escaped_names` need no escapes.

    `password` is the one that opened it, empty where it opens without. `info` is what the document says
    of itself: title, author, program, dates as PDF writes them.
    """

    version: str = ""
    pages: int = 0
    objects: int = 0
    streams: int = 0
    object_streams: int = 0
    encrypted: bool = False
    password: str | None = None
    linearized: bool = False
    keywords: dict[str, int] = {}
    escaped_names: int = 0
    uris: list[str] = []
    info: dict[str, str] = {}


class Pdf(Worker[PdfOptions]):
    """Every stream decoded, whatever the tables of the file say: objects are looked for.

    Filters: Flate, LZW, ASCIIHex, ASCII85, RunLength, with predictors (left as they are in pictures).
    Pictures in formats of their own and streams without filters stand in the file as they are.
    """

    roles = ("opens",)
    libraries = {"cryptography": "cryptography (in requirements.txt)"}
    errors = {
        "corrupt": "a stream is damaged; what could be decoded is scanned",
        "truncated": "the file ends within a stream",
        "unsupported_method": "a filter that is not known",
        "too_deep": "more than 64 filters in one stream",
        "encrypted_document": "the document is encrypted and no password fits",
        "ratio": "streams expand beyond the limits, or overlap",
        "too_large": "object streams above 16 MiB (64 together): the rest is decoded, not read as objects",
        "option_limit": "more objects, items of one object, or encrypted strings than are read",
        "too_many_payloads": "there are more children than the limits allow",
        "timeout": "there were more objects or streams than can be read in time",
    }
    findings = {
        "pdf_hidden_javascript": (
            200, "JavaScript only in object streams, and something starts when the document opens",
            ("T1059.007", "T1027"),
        ),
        "pdf_hidden_launch": (
            600, "an action that starts a program, only in an object stream", ("T1204.002", "T1027")
        ),
        "pdf_obfuscated_names": (
            300, "names of scripts and actions written with escapes", ("T1027",)
        ),
        **ACTION_FINDINGS,
        **NAME_FINDINGS,
    }  # fmt: skip
    reads_meta = True
    result = PdfResult

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield children, findings, then one `PdfResult`; nothing without `%PDF-` in the first KiB."""
        head = payload.head(_LEAD_BYTES)
        if b"%PDF-" not in head:
            return
        version = _VERSION.search(head)
        meter = Meter(job, job.total_left)
        document = Document(payload.view(), meter)
        parts = Parts(document, job, meter)
        result = PdfResult(version=version[1].decode() if version else "")
        full: LimitReached | None = None
        try:
            document.read()
        except LimitReached as error:
            parts.report(error)
        result.encrypted = document.seen.trailer.get(b"Encrypt") is not None
        try:
            if result.encrypted:
                result.password = parts.unlock(dict.fromkeys(("", *job.passwords, *self.options.passwords)))
            if not result.encrypted or result.password is not None:
                yield from self._parts(parts)
        except LimitReached as error:
            full = error
        if result.encrypted and result.password is None:
            parts.report(_locked())
        if document.clipped:
            parts.report(LimitReached(Reason.OPTION_LIMIT, "an object has more items than are read"))
        parts.sum_up()
        claim(document, job.account)
        self._tell(result, document, parts)
        yield from self._judge(document.seen)
        if not result.encrypted or result.password is not None:
            yield from (self.finding(name, detail) for name, detail in parts.led())
        yield result
        if full is not None:
            raise full

    def _parts(self, parts: Parts) -> Iterator[Any]:
        parts.unpack()
        for name, child in parts.files():
            found, runs = name_findings(name)
            yield from (self.finding(one, name) for one in found)
            if runs or bytes(child.body.view()[:2]) == b"MZ":
                yield self.finding("pdf_attached_program", name[:300])
            yield child
        yield from parts.scripts(self.options.max_scripts)
        yield from parts.forms()
        yield from parts.rest()
        if parts.unpacking:
            yield self.finding("pdf_javascript_unpacks_code", f"{parts.unpacking} scripts")

    def _tell(self, result: PdfResult, document: Document, parts: Parts) -> None:
        seen = document.seen
        result.pages, result.objects, result.streams = seen.pages, document.objects, len(document.streams)
        result.object_streams, result.escaped_names = parts.packed, seen.escaped
        result.linearized = bool(seen.word(b"Linearized"))
        result.keywords = {one.decode(): seen.word(one) for one in KEYWORDS if seen.word(one)}
        if result.encrypted and result.password is None:
            return  # their strings are no text
        result.uris = [text(parts.text(one)) for one in list(seen.uris)[: self.options.max_uris]]
        result.info = {key: text(parts.text(one)) for key, one in seen.info().items()}

    def _judge(self, seen: Seen) -> Iterator[Any]:
        starts = seen.word(b"OpenAction") + seen.word(b"AA")
        in_sight = seen.words[b"JS"] + seen.words[b"JavaScript"]
        if starts and in_sight:
            yield self.finding("pdf_javascript_on_open", f"{in_sight} names")
        if seen.hidden[b"JS"] and not in_sight and starts:
            yield self.finding("pdf_hidden_javascript", f"{seen.hidden[b'JS']} in object streams")
        if seen.launches["hidden"] and not seen.launches["plain"]:
            yield self.finding("pdf_hidden_launch", f"{seen.launches['hidden']} in object streams")
        if seen.escaped_words:
            yield self.finding("pdf_obfuscated_names", f"{seen.escaped_words} names")


def _locked() -> LimitReached:
    return LimitReached(Reason.ENCRYPTED_DOCUMENT, "the document is encrypted and no password fits")
