"""Take `winmail.dat` (TNEF) apart: attachments by their long names, bodies, and messages inside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from plugins._formats.mail import rtfhtml, tnef
from plugins._formats.mail.text import codec_of
from plugins._formats.office.native import base_name, clean
from plugins._text.names import NAME_FINDINGS, name_findings
from stoq_core.errors import LimitReached, Reason
from stoq_core.job import Job
from stoq_core.limits import MiB
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Accepts, Worker

_PROPERTIES = {
    0x001A: "message_class", 0x0037: "subject", 0x0070: "topic", 0x0C1A: "sender_name",
    0x0C1F: "sender_address",
    0x0E04: "to", 0x0E03: "cc", 0x0E02: "bcc", 0x0039: "sent", 0x0E06: "received", 0x1035: "message_id",
    0x3007: "created", 0x3008: "modified", 0x0017: "importance", 0x007D: "headers", 0x3FF8: "author",
}  # fmt: skip
_ATTRIBUTES = {0x00078008: "message_class", 0x00018004: "subject", 0x00018009: "message_id"}
_DATES = {0x00038005: "sent", 0x00038006: "received", 0x00038020: "modified"}
_BODY, _RTF, _HTML = 0x1000, 0x1009, 0x1013
_RENDER, _TITLE, _DATA, _META = 0x00069002, 0x00018010, 0x0006800F, 0x00068011
_MESSAGE, _ATTACHMENT, _TRANSPORT, _CODEPAGE = 0x00069003, 0x00069005, 0x00069001, 0x00069007
_TEXT_BODY = 0x0002800C
_READ = frozenset({_RENDER, _TITLE, _TRANSPORT, _ATTACHMENT, _MESSAGE, _CODEPAGE})
_IID_BYTES = 16
_SHORT = 32
"""No file of any kind is so short as the dates and numbers in attributes that nothing here reads."""
_MIN_RENDERING = 16
_MIN_FREE = 256
"""Bytes of a property that nothing here reads: longer ones than a name are children."""
_MOST_LISTED = 500


class TnefOptions(Options, frozen=True):
    """Nothing to set: limits are the request's."""


class TnefAttachment(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One attachment: long name, size in bytes, type and content id as the sender states them."""

    filename: str
    size: int
    type: str = ""
    content_id: str = ""
    embedded: bool = False
    """A message or an OLE object rather than a file."""


class TnefResult(msgspec.Struct, omit_defaults=True, kw_only=True):
    """`properties` by name, `named` ones by theirs, `attachments`, and which `bodies` there are."""

    properties: dict[str, Any] = {}
    named: dict[str, Any] = {}
    attachments: list[TnefAttachment] = []
    bodies: list[str] = []
    codepage: str = ""


class Tnef(Worker[TnefOptions]):
    """Attachments, the text, HTML and RTF bodies, and embedded messages (as TNEF again) are children."""

    roles = ("opens",)
    accepts = Accepts(magic=(tnef.SIGNATURE,))
    errors = {
        "checksum": "an attribute whose checksum does not hold; it is read all the same",
        "corrupt": "properties or a body that are damaged",
        "truncated": "the file ends in an attribute",
    }
    findings = NAME_FINDINGS
    result = TnefResult

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield a child a body and attachment, findings, then one `TnefResult`."""
        message = _Message(job, self)
        try:
            yield from message.children(payload.view())
        except LimitReached as error:
            yield message.result
            raise error
        yield message.result


class _Attachment(msgspec.Struct):
    """One attachment being gathered."""

    title: str = ""
    long_name: str = ""
    display: str = ""
    type: str = ""
    content_id: str = ""
    data: list[tnef.Attribute] = []
    object: memoryview | None = None
    rendering: tnef.Attribute | None = None
    free: list[tnef.Property] = []

    @property
    def name(self) -> str:
        return base_name(self.long_name) or base_name(self.title) or clean(self.display)[:255]


class _Message:
    """One TNEF stream being read."""

    def __init__(self, job: Job, plugin: Tnef) -> None:
        self.job, self.plugin = job, plugin
        self.result = TnefResult()
        self.codec = "cp1252"
        self._current: _Attachment | None = None
        self._bad_sums = 0

    def children(self, view: memoryview) -> Iterator[Any]:
        """Every body and attachment, and what stands behind the last attribute."""
        self.job.account.structure(0, 6)
        for one in tnef.attributes(view):
            if isinstance(one, int):  # what stands behind the last one is left to the account
                yield from self._finished()
                break
            self._check(one)
            if one.id == _RENDER:
                yield from self._finished()
                self._current = _Attachment()
            elif one.level == 2:
                self._attachment(one)
            else:
                yield from self._message(one)
        if self._bad_sums:
            message = f"{self._bad_sums} attributes whose checksum does not hold"
            self.job.error("checksum", message, whole=True)  # they are given all the same

    def _check(self, one: tnef.Attribute) -> None:
        """Claim what frames the data, and the data of what is read here."""
        account, end = self.job.account, one.offset + len(one.data)
        account.structure(one.offset - 9, 9)
        account.structure(end, 2)
        read = one.id in _READ or one.id in _DATES or one.id in _ATTRIBUTES
        if read or (len(one.data) <= _SHORT and one.id != _DATA):
            account.structure(one.offset, len(one.data))
        if not one.whole:
            self.job.error("truncated", f"the file ends in attribute {one.id:08x}")
            self.job.unread(Reason.TRUNCATED, "the TNEF ends in an attribute")
        elif not one.checked:
            self._bad_sums += 1

    def _message(self, one: tnef.Attribute) -> Iterator[Any]:
        if one.id == _CODEPAGE:
            self.codec = codec_of(int.from_bytes(one.data[:4], "little"))
            self.result.codepage = self.codec
        elif one.id in _DATES:
            self.result.properties.setdefault(_DATES[one.id], tnef.date(one.data))
        elif one.id in _ATTRIBUTES:
            self.result.properties.setdefault(_ATTRIBUTES[one.id], self._text(one.data[:4_096]))
        elif one.id == _TEXT_BODY and len(one.data):
            self.job.account.child(one.offset, len(one.data))
            yield self._body("body.txt", bytes(one.data).rstrip(b"\0"))
        elif one.id == _MESSAGE:
            yield from self._properties(one.data)

    def _properties(self, view: memoryview) -> Iterator[Any]:
        found, whole = tnef.properties(view)
        if not whole:
            self._damaged("the message's properties are damaged")
        for one in found:
            if one.id == _RTF and one.values:
                text, whole = tnef.rtf(one.values[0], min(self.job.bytes_left, 16 * MiB))
                if not whole:
                    self._damaged("the RTF body is damaged or too long")
                if text:
                    yield self._body("body.rtf", text)
                    page = rtfhtml.html(text, self.codec)
                    if page:
                        yield self._body("body.html", page)
            elif one.id == _HTML and one.values:
                yield self._body("body.html", bytes(one.values[0]))
            elif one.id == _BODY and one.values:
                yield self._body("body.txt", bytes(one.values[0]).rstrip(b"\0"))
            else:
                self._keep(one)
                yield from self._free(one)

    def _free(self, one: tnef.Property) -> Iterator[Any]:
        """Values that nothing here reads and that are long enough to be a file."""
        if one.type not in (0x0D, 0x102):
            return
        for value in one.values:
            if len(value) >= _MIN_FREE:
                yield self.job.child([value], name=f"property-{one.id & 0xFFFF:04x}")

    def _keep(self, one: tnef.Property) -> None:
        value = tnef.value(one, self.codec)
        if value in (None, ""):
            return
        value = value[:4_096] if isinstance(value, str) else value
        if one.id == -1 and len(self.result.named) < 200:
            self.result.named.setdefault(clean(one.name)[:200], value)
        elif one.id in _PROPERTIES:
            self.result.properties[_PROPERTIES[one.id]] = value

    def _attachment(self, one: tnef.Attribute) -> None:
        current = self._current = self._current or _Attachment()
        if one.id == _TITLE:
            current.title = self._text(one.data[:2_048])
        elif one.id == _TRANSPORT:
            current.long_name = current.long_name or self._text(one.data[:2_048])
        elif one.id == _DATA:
            current.data = [*current.data, one]
        elif one.id == _META:
            current.rendering = one
        elif one.id == _ATTACHMENT:
            found, whole = tnef.properties(one.data)
            if not whole:
                self._damaged("an attachment's properties are damaged")
            for each in found:
                self._attached(current, each)

    def _attached(self, current: _Attachment, one: tnef.Property) -> None:
        if one.id == 0x3701 and one.values:
            current.object = one.values[0]
            return
        if one.type in (0x0D, 0x102):
            current.free = [*current.free, one]
        value = tnef.value(one, self.codec)
        if not isinstance(value, str) or one.id == -1:
            return
        if one.id == 0x3707:
            current.long_name = value
        elif one.id == 0x3704:
            current.title = current.title or value
        elif one.id == 0x3001:
            current.display = value
        elif one.id == 0x370E:
            current.type = clean(value)[:200]
        elif one.id == 0x3712:
            current.content_id = clean(value)[:500]

    def _finished(self) -> Iterator[Any]:
        """The attachment that was gathered, as a child."""
        current, self._current = self._current, None
        if current is None:
            return
        embedded, inner = False, current.object
        found_data = [one.data for one in current.data]
        if inner is not None and _is_object(inner):  # the data beside it is a note for old programs
            found_data, embedded = [inner[_IID_BYTES:], *(one for one in found_data if len(one) > 7)], True
        elif inner is not None and not any(len(one) for one in found_data):
            found_data = [inner]
        for one in current.data:
            self.job.account.child(one.offset, len(one.data))
        if current.rendering is not None and len(current.rendering.data) >= _MIN_RENDERING:
            self.job.account.child(current.rendering.offset, len(current.rendering.data))
            yield self.job.child([current.rendering.data], name="rendering.wmf")
        for free in current.free:
            yield from self._free(free)
        if not found_data:
            return
        data, *others = found_data
        name = current.name
        names, _ = name_findings(name)
        yield from (self.plugin.finding(found, name[:300]) for found in names)
        listed = TnefAttachment(
            filename=name, size=len(data), type=current.type, content_id=current.content_id, embedded=embedded
        )
        if len(self.result.attachments) < _MOST_LISTED:
            self.result.attachments.append(listed)
        facts: dict[str, Any] = {"type": current.type, "content_id": current.content_id}
        kept = {key: value for key, value in facts.items() if value}
        for content in (data, *others):  # of two data attributes programs take either
            yield self.job.child([content], name=name or "attachment", **kept)

    def _body(self, name: str, content: bytes) -> Any:
        self.result.bodies.append(name)
        return self.job.child([content], name=name)

    def _damaged(self, what: str) -> None:
        self.job.error("corrupt", what)
        self.job.unread(Reason.CORRUPT, what)

    def _text(self, raw: memoryview) -> str:
        return clean(bytes(raw).partition(b"\0")[0].decode(self.codec, "replace"))


def _is_object(view: memoryview) -> bool:
    """An object begins with its interface: IMessage, IStorage or IStream (2.1.3.4.1)."""
    return bytes(view[4:16]) == bytes.fromhex("00000000c000000000000046") or (
        bytes(view[:3]) == b"\x07\x03\x02" and bytes(view[8:16]) == bytes.fromhex("c000000000000046")
    )
