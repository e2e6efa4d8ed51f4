"""Take RTF apart: every embedded or linked object is a child, packed files under their own names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from plugins._formats.office.compound import MAGIC
from plugins._formats.office.native import Embedded, clean, ole1, package
from plugins._formats.office.rtf import RtfData, RtfReader, Words
from plugins._text.names import PACKED_FINDINGS, name_findings
from stoq_core.errors import LimitReached, Reason
from stoq_core.job import Job
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_LEAD_BYTES = 1_024
_MIN_TRAILING = 16
_REMOTE = re.compile(r"^\s*(?:https?:|ftp:|file:|\\\\|//|mhtml:)", re.IGNORECASE)
_WIDE_URL = re.compile(
    rb"h\x00t\x00t\x00p\x00(?:s\x00)?:\x00/\x00/\x00(?:[\x21-\x7e]\x00){1,400}", re.IGNORECASE
)
_EQUATION_CLSID = bytes.fromhex("02ce020000000000c000000000000046")
_FORMATS = {1: "linked", 2: "embedded", 5: "presentation"}


class RtfOptions(Options, frozen=True):
    """How much to take out."""

    max_objects: Annotated[int, about("objects taken out of one RTF", ge=1)] = 1_000


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
    their own. The words that begin a destination are those of oletools' table.
    """

    roles = ("opens",)
    libraries = {"oletools": "oletools (in requirements.txt)"}
    errors = {
        "truncated": "an object claims more bytes than the document has",
        "too_many_payloads": "more objects than `max_objects`",
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
            300, "an Equation Editor object, the way of CVE-2017-11882 and its kin", ("T1203",)
        ),
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
        reader = RtfReader(payload.content, self.options.max_objects)
        rtf = reader.read()
        result = RtfResult(templates=[one[:1_000] for one in rtf.templates[:50]], updates=rtf.updates)
        if reader.cut:
            job.error(
                "too_many_payloads", "more objects than are taken out", allowed=self.options.max_objects
            )
            job.unread(Reason.TOO_MANY_PAYLOADS, "more objects than max_objects are not taken out")
        remote = [one for one in rtf.templates if _REMOTE.match(one)]
        if remote:
            yield self.finding("rtf_remote_template", remote[0][:300])
        if rtf.updates:
            yield self.finding("rtf_object_loads_at_once", "\\objupdate")
        try:
            for one in rtf.objects:
                yield from self._object(one, result, job)
        except LimitReached as error:
            yield result
            raise error
        yield result

    def _object(self, one: RtfData, result: RtfResult, job: Job) -> Iterator[Any]:
        view = memoryview(one.data)
        found = ole1(view)
        said = RtfObject(
            class_name=(found.class_name if found else "") or clean(one.class_name), name=clean(one.name),
            size=len(one.data), offset=one.offset, updates=one.updates,
        )  # fmt: skip
        result.objects.append(said)
        yield from self._judge(said, one.data)
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

    def _judge(self, said: RtfObject, data: bytes) -> Iterator[Any]:
        kind = said.class_name.lower()
        if kind.startswith("equation") or (_EQUATION_CLSID in data and MAGIC in data):
            yield self.finding("rtf_equation_object", f"{said.class_name or 'by its CLSID'} at {said.offset}")
        if kind == "ole2link":
            url = _WIDE_URL.search(data)
            if url:
                said.target = url.group().decode("utf-16-le", "replace")
                yield self.finding("rtf_remote_link", said.target[:300])
