"""Take compound files (MS-CFB) apart: documents, messages, installers; every stream is a child."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import msgspec

from plugins._formats.office import properties
from plugins._formats.office.compound import MAGIC, Compound, Entry
from plugins._formats.office.encryption import (
    ENCRYPTED_STREAMS,
    Locked,
    clear_from,
    decrypt,
    encryption,
    guess,
    sizes_hold,
)
from plugins._formats.office.equation import overflow
from plugins._formats.office.hangul import Hangul
from plugins._formats.office.inner import Inflated, Stream
from plugins._formats.office.native import ole10_native
from plugins._formats.office.sectors import claim
from plugins._text.names import PACKED_FINDINGS, name_findings
from plugins._text.passwords import seasonal
from stoq_core.account import MIN_GAP_BYTES
from stoq_core.errors import LimitReached, Reason
from stoq_core.job import Job
from stoq_core.limits import MiB
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Accepts, Worker

_DEFAULT_PASSWORDS = ("VelvetSweatshop", "/01Hannes Ruescher/01")
"""What Excel and PowerPoint encrypt with when only changes are to be kept off: they open without asking."""
_PROPERTIES_BYTES = MiB
_TRY_MS = 4_000
_LONG_HEAD = 4_096
"""Names and paths of a packed file are shorter."""


class OleOptions(Options, frozen=True):
    """What to try, and how much to list."""

    passwords: Annotated[tuple[str, ...], about("tried on encrypted documents after the request's own")] = ()
    max_streams: Annotated[int, about("streams listed in the result", ge=0)] = 1_000


class OleStreamInfo(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One stream: path, index in the directory, size in bytes; `orphan` where no storage holds it."""

    path: str
    index: int
    size: int
    orphan: bool = False
    filename: str = ""


class OleResult(msgspec.Struct, omit_defaults=True, kw_only=True):
    """`properties` as the document states them, `storages` as paths, `streams` as listed, `count` of all."""

    count: int
    root_clsid: str = ""
    properties: dict[str, Any] = {}
    storages: list[str] = []
    streams: list[OleStreamInfo] = []
    encryption: str = ""
    password: str | None = None


class Ole(Worker[OleOptions]):
    """Every stream as a child with `path` and `index`; packed files with their own name.

    Encrypted documents are opened with the request's passwords and the ones that Office itself tries.
    What streams pack is unpacked: objects, pictures and packages of PowerPoint, Word and Excel (also in
    split records), HWP 5, Visio. Sectors that nothing uses are children; so are the ends of used ones.
    Control characters in names read as `[5]`.
    """

    roles = ("opens",)
    accepts = Accepts(magic=(MAGIC,))
    libraries = {"msoffcrypto": "msoffcrypto-tool (in requirements.txt)"}
    errors = {
        "corrupt": "the structure does not hold; what could be read is scanned",
        "truncated": "the file ends too early",
        "ratio": "streams overlap, so that they hold more than the file does",
        "encrypted_document": "no password fits, or the encryption is not known",
    }
    findings = {
        "ole_equation_exploit": (
            1000, "an equation with a record that overflows the Equation Editor (CVE-2017-11882 and its kin)",
            ("T1203",),
        ),
        **PACKED_FINDINGS,
    }  # fmt: skip
    reads_meta = True
    result = OleResult

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield a child a stream, then one `OleResult`."""
        compound = Compound(payload.view())
        result = OleResult(count=len(compound.streams), root_clsid=_clsid(compound.root.clsid))
        result.storages = [one.shown for one in compound.storages[: self.options.max_streams]]
        self._list(compound, result)
        full: LimitReached | None = None
        given: list[Entry] = []
        try:
            clear = self._decrypted(compound, payload, job, result)
            if clear is not None:
                yield job.child([clear], name=payload.name or "document", decrypted=True)
            yield from self._streams(compound, payload, job, given, is_read=clear is not None)
            leftover = claim(compound, given, job.account)
            if leftover and clear is None:
                yield job.child(separated(leftover), name="leftover.bin", pieces=len(leftover))
        except LimitReached as error:
            full = error
        for message, reason in compound.problems.items():
            job.error(reason.value, message)
            job.unread(reason, message)
        yield result
        if full is not None:
            raise full

    def _list(self, compound: Compound, result: OleResult) -> None:
        for one in compound.streams[: self.options.max_streams]:
            result.streams.append(
                OleStreamInfo(path=one.shown, index=one.sid, size=one.size, orphan=one.orphan)
            )
        for name in ("\x05SummaryInformation", "\x05DocumentSummaryInformation"):
            entry = compound.find(name)
            if entry is not None:
                result.properties |= properties.read(compound.read(entry, _PROPERTIES_BYTES))

    def _streams(
        self, compound: Compound, payload: Payload, job: Job, given: list[Entry], *, is_read: bool
    ) -> Iterator[Any]:
        """All streams; those that were read decrypted only for what stands behind the encrypted bytes."""
        room = payload.size + 4_096
        hangul = Hangul(compound)
        for entry in compound.streams:
            if not entry.size:
                continue
            if room <= 0:
                job.error("ratio", "streams overlap: they hold more than the file; the rest is left out")
                job.unread(Reason.RATIO, "overlapping streams are not all read")
                return
            content = compound.read(entry)
            room -= len(content)
            if not content:
                continue
            if is_read and entry.path[-1].upper() in ENCRYPTED_STREAMS:
                content = content[clear_from(content, entry.path[-1]) :]
            if not content:
                pass
            elif entry.path[-1].upper() == "\x01OLE10NATIVE":
                yield from self._native(content, entry, job)
            elif hangul.is_packed(entry):
                yield from self._deflated(content, entry, hangul, job)
            else:
                yield from self._stream(content, entry, job)
            given.append(entry)

    def _stream(self, content: bytes, entry: Entry, job: Job) -> Iterator[Any]:
        """What is found in a stream, and the stream."""
        why = overflow(content) if entry.path[-1] == "Equation Native" else ""
        if why:
            yield self.finding("ole_equation_exploit", f"{entry.shown}: {why}")
        stream = Stream(content)
        for found in stream.found(entry.path[-1].upper()):
            child, problem = job.salvage(found.chunks, name=found.name, path=entry.shown, offset=found.offset)
            if isinstance(problem, zlib.error):
                message = f"{entry.shown}: {found.name} does not inflate: {problem}"
                job.error("corrupt", message)
                job.unread(Reason.CORRUPT, message)
            elif problem is not None:
                raise problem
            if child.body.size:
                yield child
        if stream.overlaps:
            message = f"{entry.shown}: packed data within packed data; not all of it is inflated"
            job.error("ratio", message)
            job.unread(Reason.RATIO, message)
        if entry.path[-1] == "VisioDocument":
            yield from self._drawing(stream, entry, job)
        yield job.child([stream.left()], name=_name(entry), **_where(entry))

    def _drawing(self, stream: Stream, entry: Entry, job: Job) -> Iterator[Any]:
        plain = [part for _, part in stream.drawing(job.bytes_left)]
        if plain:
            yield job.child(separated(plain), name="VisioDocument.bin", path=entry.shown, parts=len(plain))

    def _deflated(self, content: bytes, entry: Entry, hangul: Hangul, job: Job) -> Iterator[Any]:
        """A stream that is raw deflate; as it stands where it is not, and what follows the packed bytes."""
        made = Inflated(memoryview(content), window=-zlib.MAX_WBITS)
        if hangul.is_distributed(entry):
            job.error("encrypted_document", f"{entry.shown}: the text of a document for distribution")
            job.unread(Reason.ENCRYPTED_DOCUMENT, f"{entry.shown}: encrypted for distribution")
        else:
            child = job.child(made, name=_name(entry), **_where(entry))
            if child.body.size:
                yield child
        rest = content[made.used :] if made.whole else content
        if len(rest) >= MIN_GAP_BYTES or not made.whole:
            yield from self._stream(rest, entry, job)

    def _native(self, content: bytes, entry: Entry, job: Job) -> Iterator[Any]:
        native = ole10_native(memoryview(content))
        if native is None:
            yield from self._stream(content[4:], entry, job)
            return
        found, executable = name_findings(native.name)
        yield from (self.finding(one, native.name) for one in found)
        if executable or bytes(native.content[:2]) == b"MZ":
            yield self.finding("ole_packed_executable", f"{entry.shown}: {native.name}")
        if native.claimed > len(native.content):
            compound_says = f"{entry.shown}: the packed file is cut"
            job.error("truncated", compound_says)
            job.unread(Reason.TRUNCATED, compound_says)
        facts: dict[str, Any] = {"source_path": native.source, "temporary_path": native.temporary}
        yield job.child(
            [native.content], name=native.name or "packed", **_where(entry),
            **{key: value for key, value in facts.items() if value},
        )  # fmt: skip
        head = content[: native.start] if native.start > _LONG_HEAD else b""
        for piece in (head, content[native.end :]):
            if len(piece) >= MIN_GAP_BYTES and piece.strip(piece[:1]):
                yield job.child([piece], name=f"{_name(entry)}.rest", **_where(entry))

    def _decrypted(self, compound: Compound, payload: Payload, job: Job, result: OleResult) -> bytes | None:
        """The document in the clear; None for one that is not encrypted, or that nothing opens."""
        kind = encryption(compound) or Hangul(compound).locked
        if not kind:
            return None
        result.encryption = kind
        why = {"drm": "rights management keeps the key on a server", "hwp": "only Hancom's programs open it"}
        message = why.get(kind, "no password fits")
        if kind not in why:
            try:
                if not sizes_hold(compound):
                    raise Locked("its structure does not hold, so it is not decrypted")
                clear = self._opened(payload.content, job, result)
                if clear is not None:
                    if kind == "ooxml" and not zipfile.is_zipfile(io.BytesIO(clear)):
                        job.error("corrupt", "what was decrypted is no package")
                        job.unread(Reason.CORRUPT, "what was decrypted is no package")
                    return clear
            except Locked as error:
                message = str(error)
        job.error("encrypted_document", message)
        job.unread(Reason.ENCRYPTED_DOCUMENT, message)
        return None

    def _opened(self, content: bytes, job: Job, result: OleResult) -> bytes | None:
        """The document in the clear, by the passwords told or by one that people often take."""
        for password in dict.fromkeys((*job.passwords, *self.options.passwords, *_DEFAULT_PASSWORDS)):
            if job.deadline.left_ms < _TRY_MS:
                raise Locked("there was no time to try all passwords")
            clear = decrypt(content, password)
            if clear is not None:
                result.password = password
                return clear
        found = guess(content, seasonal(), lambda: job.deadline.left_ms > _TRY_MS)
        clear = decrypt(content, found) if found is not None else None
        if clear is not None:
            result.password = found
        return clear


def _where(entry: Entry) -> dict[str, Any]:
    where: dict[str, Any] = {"path": entry.shown, "index": entry.sid}
    return {**where, "orphan": True} if entry.orphan else where


def _name(entry: Entry) -> str:
    return entry.shown.rpartition("/")[2]


def separated(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """Pieces that do not belong together, a line each."""
    for piece in pieces:
        yield piece
        yield b"\n"


def _clsid(raw: bytes) -> str:
    """As the registry writes it; empty for none."""
    if not any(raw):
        return ""
    first, rest = raw[:8], raw[8:].hex()
    lead = f"{first[3::-1].hex()}-{first[5:3:-1].hex()}-{first[7:5:-1].hex()}"
    return f"{lead}-{rest[:4]}-{rest[4:]}".upper()
