"""Find files of any known format that stand anywhere in a payload, and take each out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from plugins._formats.archives.readers import FORMATS
from plugins._formats.carving.search import OpenSpans, Piece, hits, pieces, rules
from plugins._formats.carving.streams import Work
from plugins._formats.carving.xored import hidden_programs
from plugins._formats.filetype import UNKNOWN, kind_of
from plugins._formats.routes import shipped_routes
from stoq_core.errors import Reason
from stoq_core.job import Dispatch, Job
from stoq_core.limits import Limits, MiB
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_ZIPS = frozenset({"zip", "docx", "xlsx", "pptx", "ooxml", "odf", "epub", "jar", "apk"})
_CARVERS = {"pe": "pecarve", "swf": "swfcarve"}
_STREAMS_BEFORE = {"png": (b"IDAT",), "pdf": (b"stream\n", b"stream\r\n")}
"""What zlib streams follow that the formats' own readers inflate."""
_MOST_PIECES, _MOST_SHOWN = 1_000, 100
_LOADERS = frozenset({"executable", "image", "data"})
"""Groups of types that programs under a key are found in; bytes of no known type are another."""


class CarvedPiece(msgspec.Struct, frozen=True):
    """A file's `format`, and where it begins and ends in the payload, in bytes."""

    format: str
    offset: int
    end: int


class CarveResult(msgspec.Struct, frozen=True):
    """`count` of all pieces, and the first hundred of the `pieces`."""

    count: int
    pieces: list[CarvedPiece]


class Carve(Worker[Options]):
    """Each archive, stream, document and program behind a payload's first byte is a child.

    Looked for are the marks of all formats that are read here, in one pass; each is confirmed by its header's
    checksum, by trying to decode it, or by its tables. A child ends where its format does, else with
    the payload. What other workers have given as children is not looked through again. A format that
    begins with the payload although this is known as something else is sent to the workers that open
    it. Executables are taken out by `pecarve`, Flash movies by `swfcarve`. Windows programs under an XOR
    key of up to 32 bytes are children, decoded.
    """

    libraries = {"yara_x": "yara-x (in requirements.txt)"}
    limits = Limits(children=_MOST_PIECES)
    last = True
    result = CarveResult
    findings = {
        "pe_behind_xor_key": (
            400,
            "a Windows program hidden under a repeating XOR key of several bytes",
            ("T1027.013", "T1140"),
        ),
    }
    errors = {"too_many_marks": "so many marks that lead nowhere that the rest was not tried"}

    def warm(self) -> None:
        """Compile the marks; scanning waits until after the fork."""
        rules()

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield a child a piece, dispatches, and one `CarveResult` where anything was found."""
        kind = kind_of(payload)
        if kind is UNKNOWN or kind.group in _LOADERS:
            yield from self._xored(payload, job, is_unknown=kind is UNKNOWN)
        marks = hits(payload)
        if not marks.found:
            return
        view, work, places = payload.view(), Work(payload.size), _Places(payload, job)
        found: list[Piece] = []
        for piece in pieces(view, marks.found, places.is_open, work):
            if not piece.start:
                yield from places.other_readers(piece)
                continue
            found.append(piece)
            if piece.label not in _CARVERS:
                name = f"{piece.start}-{piece.end}.{piece.label}"
                yield job.child(_chunks(view, piece), name=name, offset=piece.start, format=piece.label)
        yield from _told(found)
        if marks.is_cut or work.spent:
            message = "there are more marks than are tried"
            job.error("too_many_marks", message)
            job.unread(Reason.OPTION_LIMIT, message)

    def _xored(self, payload: Payload, job: Job, *, is_unknown: bool) -> Iterator[Any]:
        for found in hidden_programs(payload.view(), is_unknown=is_unknown):
            yield self.finding("pe_behind_xor_key", f"at offset {found.start}, key {found.key.hex()}")
            name = f"{found.start}-xor.pe"
            yield job.child([found.decoded], name=name, offset=found.start, xor_key=found.key.hex())


def _told(found: list[Piece]) -> Iterator[Any]:
    """What programs and movies are taken out by, and the result."""
    for label, worker in _CARVERS.items():
        offsets = [piece.start for piece in found if piece.label == label][:_MOST_PIECES]
        if offsets:
            yield Dispatch(worker, {"offsets": offsets})
    if found:
        shown = [CarvedPiece(piece.label, piece.start, piece.end) for piece in found[:_MOST_SHOWN]]
        yield CarveResult(len(found), shown)


def _chunks(view: memoryview, piece: Piece) -> Iterator[memoryview]:
    for at in range(piece.start, piece.end, MiB):
        yield view[at : min(at + MiB, piece.end)]


class _Places:
    """Where in one payload formats may begin, and who reads what begins with it."""

    def __init__(self, payload: Payload, job: Job) -> None:
        self._label, self._view = kind_of(payload).label, payload.view()
        family = "zip" if self._label in _ZIPS else self._label
        self._spans = OpenSpans(job.accounts, family)
        self._own = family if family in FORMATS and not job.accounts else ""
        self._streams_before: tuple[bytes, ...] = () if job.accounts else _STREAMS_BEFORE.get(self._label, ())

    def is_open(self, start: int, label: str) -> bool:
        """True where nobody else has given the bytes as a child of its own."""
        if not start:
            return True
        if label == self._own:  # its own members' marks, of which nobody keeps an account
            return False
        before = bytes(self._view[max(0, start - 8) : start])
        if label == "zlib" and before.endswith(self._streams_before):
            return False
        return self._spans(start, label)

    def other_readers(self, piece: Piece) -> Iterator[Dispatch]:
        """Whoever opens this format, where the payload is known by another name."""
        if piece.label == self._label or (piece.label == "zip" and self._label in _ZIPS):
            return
        route = shipped_routes().get(piece.label)
        for worker in route.workers if route is not None else ():
            yield Dispatch(worker, {"filetype": piece.label})
