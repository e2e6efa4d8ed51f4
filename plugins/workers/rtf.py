"""Take RTF apart: every embedded or linked object is a child, packed files under their own names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from plugins._formats.office.compound import MAGIC
from plugins._formats.office.equation import CLSID, overflow
from plugins._formats.office.links import LINK_FINDINGS, field, is_remote
from plugins._formats.office.native import Embedded, clean, ole1, package
from plugins._formats.office.rtf import RtfData, RtfDocument, RtfReader, Words
from plugins._text.names import PACKED_FINDINGS, name_findings
from stoq_core.errors import LimitReached, Reason
from stoq_core.job import Job
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_LEAD_BYTES = 1_024
_MIN_TRAILING = 8
_LEAST_TEXT = 16
_OBSCURED = 3
_WIDE_URL = re.compile(
    rb"h\x00t\x00t\x00p\x00(?:s\x00)?:\x00/\x00/\x00(?:[\x21-\x7e]\x00){1,400}", re.IGNORECASE
)
_LINK_CLSID = bytes.fromhex("0003000000000000c000000000000046")
_FORMATS = {1: "linked", 2: "embedded", 5: "presentation"}


class RtfOptions(Options, frozen=True):
    """How much to take out."""

    max_objects: Annotated[
        int, about("objects that are a child each; those behind are one together", ge=1)
    ] = 500


class RtfObject(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One object: class, `format` (linked, embedded, presentation, raw), file name, size, offset."""

    class_name: str = ""
    format: str = "raw"
    name: str = ""
    size: int = 0
    offset: int = 0
    updates: bool = False
    target: str = ""


class RtfResult(msgspec.Struct, omit_defaults=True, kw_only=True):
    """`objects` in order; `templates` that the document names; `updates`: objects load when it opens."""

    objects: list[RtfObject] = []
    templates: list[str] = []
    updates: bool = False


class Rtf(Worker[RtfOptions]):
    r"""Objects of an RTF document, read as Word reads them: broken hex, `\bin`, `\'` tricks and all.

    An object that is a package (MS-OLEDS) yields the file in it; bytes behind an object are a child of
    their own. Where readers differ on an object's bytes, each reading is a child. So is all else that is
    hexadecimal or binary, and the text as Word shows it. The words that begin a destination are those of
    oletools' table.
    """

    roles = ("opens",)
    libraries = {"oletools": "oletools (in requirements.txt)"}
    errors = {
        "truncated": "an object claims more bytes than the document has",
    }
    findings = {
        "rtf_remote_template": (600, "the document loads its template from elsewhere", ("T1221",)),
        "rtf_object_loads_at_once": (
            200, "an object loads when the document opens, without a click", ("T1204.002",)
        ),
        "rtf_remote_link": (
            1000, "an OLE2Link object points to the network (the way of CVE-2017-0199)", ("T1203", "T1221")
        ),
        "rtf_equation_object": (
            200, "an Equation Editor object, which nobody has made since 2018", ("T1203",)
        ),
        "rtf_equation_exploit": (
            1000, "an equation that overflows the Equation Editor (CVE-2017-11882 and its kin), or is hidden",
            ("T1203",),
        ),
        "rtf_obscured_object": (
            500, "an object's hexadecimal digits are torn apart by words, groups or other signs", ("T1027",)
        ),
        **LINK_FINDINGS,
        **PACKED_FINDINGS,
    }  # fmt: skip
    result = RtfResult

    def warm(self) -> None:
        """Read the table of words."""
        Words.destinations()

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield a child an object, findings, then one `RtfResult`; nothing for what is no RTF."""
        if not payload.head(_LEAD_BYTES).lstrip(b"\xef\xbb\xbf \t\r\n\0").startswith(b"{\\rt"):
            return
        rtf = RtfReader(payload.content).read()
        job.account.searched(rtf.start, rtf.end - rtf.start)
        result = RtfResult(templates=[one[:1_000] for one in rtf.templates[:50]], updates=rtf.updates)
        yield from self._led(rtf)
        full: LimitReached | None = None
        try:
            if len(rtf.text.strip()) >= _LEAST_TEXT:
                yield job.child([rtf.text.encode("utf-8", "replace")], name="text.txt")
            yield from self._objects(rtf, result, job)
            yield from self._pieces(rtf, job)
        except LimitReached as error:
            full = error
        yield result
        if full is not None:
            raise full

    def _led(self, rtf: RtfDocument) -> Iterator[Any]:
        """Where the document leads: its template, and its fields."""
        remote = [one for one in rtf.templates if is_remote(one)]
        if remote:
            yield self.finding("rtf_remote_template", remote[0][:300])
        seen: dict[str, str] = {}
        for instruction in rtf.fields:
            for name, detail in field(instruction):
                seen.setdefault(name, detail)
        yield from (self.finding(name, detail) for name, detail in seen.items())
        if rtf.updates:
            yield self.finding("rtf_object_loads_at_once", "\\objupdate")

    def _objects(self, rtf: RtfDocument, result: RtfResult, job: Job) -> Iterator[Any]:
        """Each object as a child, those past `max_objects` together; the same bytes once."""
        seen: set[bytes] = set()
        more: list[bytes] = []
        for one in rtf.objects:
            if one.data in seen or not one.data:
                continue
            seen.add(one.data)
            if len(result.objects) < self.options.max_objects:
                yield from self._object(one, result, job)
                continue
            yield from self._judge(RtfObject(class_name=clean(one.class_name), offset=one.offset), one)
            more += (one.data, b"\n")
        if more:
            yield job.child(more, name="objects-more.bin")

    def _pieces(self, rtf: RtfDocument, job: Job) -> Iterator[Any]:
        """Pictures, themes, stored data and whatever else is hexadecimal or binary."""
        seen: set[bytes] = set()
        more: list[bytes] = []
        for number, one in enumerate(rtf.pieces):
            if one.data in seen:
                continue
            seen.add(one.data)
            data = bitmap_header(one.data) + one.data if one.extension == "bmp" else one.data
            if number < self.options.max_objects:
                name = f"{one.destination}-{one.offset}.{one.extension}"
                yield job.child([data], name=name, offset=one.offset, destination=one.destination)
            else:
                more += (data, b"\n")
        if more:
            yield job.child(more, name="pieces-more.bin")

    def _object(self, one: RtfData, result: RtfResult, job: Job) -> Iterator[Any]:
        view = memoryview(one.data)
        found = ole1(view)
        said = RtfObject(
            class_name=(found.class_name if found else "") or clean(one.class_name), name=clean(one.name),
            size=len(one.data), offset=one.offset, updates=one.updates,
        )  # fmt: skip
        result.objects.append(said)
        yield from self._judge(said, one)
        if found is None:
            if one.data:
                yield job.child([view], name=f"object-{one.offset}.bin", offset=one.offset)
            return
        said.format, said.size = _FORMATS[found.format], len(found.content)
        if found.format == 1:
            said.target = found.topic[:1_000]
        if found.claimed > len(found.content):
            job.error(
                "truncated",
                f"the object at {one.offset} claims {found.claimed} bytes",
                observed=found.claimed,
            )
            job.unread(Reason.TRUNCATED, f"the object at {one.offset} is cut")
        yield from self._content(said, found, job)
        behind = view[found.end :]
        if len(behind) >= _MIN_TRAILING and any(behind):
            yield job.child([behind], name=f"object-{one.offset}-trailing.bin", offset=one.offset)

    def _content(self, said: RtfObject, found: Embedded, job: Job) -> Iterator[Any]:
        facts: dict[str, Any] = {"offset": said.offset, "class_name": said.class_name}
        native = package(found.content) if found.class_name.lower() == "package" else None
        if native is None:
            if len(found.content):
                yield job.child([found.content], name=said.name or f"object-{said.offset}.bin", **facts)
            return
        said.name, said.size = native.name, len(native.content)
        names, executable = name_findings(native.name)
        yield from (self.finding(one, native.name) for one in names)
        if executable or bytes(native.content[:2]) == b"MZ":
            yield self.finding("ole_packed_executable", native.name)
        if native.source:
            facts["source_path"] = native.source
        yield job.child([native.content], name=native.name or f"object-{said.offset}.bin", **facts)
        rest = found.content[native.end :]
        if len(rest) >= _MIN_TRAILING and any(rest):
            yield job.child([rest], name=f"object-{said.offset}-rest.bin", offset=said.offset)

    def _judge(self, said: RtfObject, one: RtfData) -> Iterator[Any]:
        kind, data = said.class_name.lower(), one.data
        if one.obscured >= _OBSCURED:
            yield self.finding("rtf_obscured_object", f"{one.obscured} times, at {said.offset}")
        if kind.startswith("equation") or (CLSID in data and MAGIC in data):
            yield self.finding("rtf_equation_object", f"{said.class_name or 'by its CLSID'} at {said.offset}")
            found = ole1(memoryview(data))
            why = overflow(bytes(found.content if found else data))
            if one.obscured >= _OBSCURED:
                why = why or "its digits are torn apart"
            if why:
                yield self.finding("rtf_equation_exploit", f"{why} at {said.offset}")
        if kind == "ole2link" or _LINK_CLSID in data:
            url = _WIDE_URL.search(data)
            if url:
                said.target = url.group().decode("utf-16-le", "replace")
                yield self.finding("rtf_remote_link", said.target[:300])


def bitmap_header(data: bytes) -> bytes:
    """The file header that a device-independent bitmap lacks (its offset to the pixels is not told)."""
    return b"BM" + (len(data) + 14).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
