"""Take compound files (MS-CFB) apart: documents, messages, installers; every stream is a child."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from plugins._formats.office import properties
from plugins._formats.office.compound import MAGIC, Compound, Entry
from plugins._formats.office.encryption import (
    Locked,
    decrypt,
    encryption,
    presentation_objects,
    presentation_packages,
    sizes_hold,
)
from plugins._formats.office.native import ole10_native
from plugins._text.names import PACKED_FINDINGS, name_findings
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
_MIN_TRAILING = 16


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
    Objects inside a PowerPoint stream come out inflated. Control characters in names read as `[5]`.
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
    findings = PACKED_FINDINGS
    reads_meta = True
    result = OleResult

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield a child a stream, then one `OleResult`."""
        compound = Compound(payload.view())
        result = OleResult(count=len(compound.streams), root_clsid=_clsid(compound.root.clsid))
        result.storages = [one.shown for one in compound.storages[: self.options.max_streams]]
        self._list(compound, result)
        full: LimitReached | None = None
        try:
            yield from self._streams(compound, payload, job)
            yield from self._behind(compound, job)
            yield from self._presentation(compound, job)
            yield from self._decrypted(compound, payload, job, result)
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

    def _streams(self, compound: Compound, payload: Payload, job: Job) -> Iterator[Any]:
        room = payload.size + 4_096
        for entry in compound.streams:
            if not entry.size:
                continue
            if room <= 0:
                job.error("ratio", "streams overlap: they hold more than the file; the rest is left out")
                job.unread(Reason.RATIO, "overlapping streams are not all read")
                return
            if entry.path[-1].upper() == "\x01OLE10NATIVE":
                content = compound.read(entry)
                room -= len(content)
                yield from self._native(content, entry, job)
                continue
            child = job.child(compound.chunks(entry), name=entry.shown.rpartition("/")[2], **_where(entry))
            room -= child.body.size
            if child.body.size:
                yield child

    def _behind(self, compound: Compound, job: Job) -> Iterator[Any]:
        """What was appended to the file, or stands in its last sectors that belong to nothing."""
        offset = compound.end
        view = compound.view[offset:]
        if len(view) >= _MIN_TRAILING and any(view):
            yield job.child([view], name="trailing.bin", offset=offset)

    def _native(self, content: bytes, entry: Entry, job: Job) -> Iterator[Any]:
        native = ole10_native(memoryview(content))
        if native is None:
            yield job.child([content[4:]], name=entry.shown.rpartition("/")[2], **_where(entry))
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

    def _presentation(self, compound: Compound, job: Job) -> Iterator[Any]:
        entry = compound.find("PowerPoint Document")
        if entry is None or encryption(compound):
            return
        stream = compound.read(entry)
        for offset, zipped in presentation_packages(stream):
            yield job.child([zipped], name=f"package-{offset}.zip", path=entry.shown, offset=offset)
        for offset, chunks in presentation_objects(stream):
            child, problem = job.salvage(chunks, name=f"object-{offset}.bin", path=entry.shown, offset=offset)
            if isinstance(problem, zlib.error):
                job.error("corrupt", f"an object of the presentation at {offset}: {problem}")
                job.unread(Reason.CORRUPT, f"an object of the presentation at {offset} does not inflate")
            elif problem is not None:
                raise problem
            if child.body.size:
                yield child

    def _decrypted(self, compound: Compound, payload: Payload, job: Job, result: OleResult) -> Iterator[Any]:
        kind = encryption(compound)
        if kind is None:
            return
        result.encryption = kind
        why = "rights management keeps the key on a server"
        if kind != "drm":
            try:
                if not sizes_hold(compound):
                    raise Locked("its structure does not hold, so it is not decrypted")
                for password in dict.fromkeys((*job.passwords, *self.options.passwords, *_DEFAULT_PASSWORDS)):
                    if job.deadline.left_ms < _TRY_MS:
                        raise Locked("there was no time to try all passwords")
                    clear = decrypt(payload.content, password)
                    if clear is not None:
                        result.password = password
                        yield job.child([clear], name=payload.name or "document", decrypted=True)
                        return
                raise Locked("no password fits")
            except Locked as error:
                why = str(error)
        job.error("encrypted_document", why)
        job.unread(Reason.ENCRYPTED_DOCUMENT, why)


def _where(entry: Entry) -> dict[str, Any]:
    where: dict[str, Any] = {"path": entry.shown, "index": entry.sid}
    return {**where, "orphan": True} if entry.orphan else where


def _clsid(raw: bytes) -> str:
    """As the registry writes it; empty for none."""
    if not any(raw):
        return ""
    first, rest = raw[:8], raw[8:].hex()
    lead = f"{first[3::-1].hex()}-{first[5:3:-1].hex()}-{first[7:5:-1].hex()}"
    return f"{lead}-{rest[:4]}-{rest[4:]}".upper()
