"""Read an Outlook message (`.msg`, `.oft`) as a mail: headers, recipients, bodies, attachments by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from plugins._formats.mail import rtfhtml, tnef
from plugins._formats.mail.bodies import Bodies
from plugins._formats.mail.fields import read_block
from plugins._formats.mail.headers import Address, Authentication, Hop
from plugins._formats.mail.msg import Folder, Message
from plugins._formats.mail.overview import overview
from plugins._formats.office.compound import MAGIC, Compound
from plugins._formats.office.native import base_name, clean
from plugins._text.iocs import Suffixes
from plugins._text.names import NAME_FINDINGS, name_findings
from plugins._text.passwords import candidates
from stoq_core.errors import LimitReached, Reason
from stoq_core.job import Hint, Job
from stoq_core.limits import KiB, MiB
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Accepts, Worker

_TEXTS = {
    "message_class": (0x001A,), "subject": (0x0037, 0x0E1D), "sender_name": (0x0C1A, 0x0042),
    "sender_address": (0x5D01, 0x0C1F, 0x5D02, 0x0065), "to": (0x0E04,), "cc": (0x0E03,), "bcc": (0x0E02,),
    "message_id": (0x1035,), "in_reply_to": (0x1042,), "author": (0x3FF8,),
}  # fmt: skip
_TIMES = {"sent": 0x0039, "received": 0x0E06, "created": 0x3007, "modified": 0x3008}
_BODY, _RTF, _HTML, _HEADERS, _DATA = 0x1000, 0x1009, 0x1013, 0x007D, 0x3701
_RTF_BYTES = 64 * MiB
_MOST_LISTED, _MAX_MESSAGES = 500, 200


class MsgOptions(Options, frozen=True):
    """Nothing to set: limits are the request's."""


class MsgAttachment(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One attachment: place (`1.2`), long name, size in bytes, type and content id, path if it is a link."""

    part: str
    filename: str
    size: int = 0
    type: str = ""
    content_id: str = ""
    link: str = ""
    embedded: bool = False


class MsgResult(msgspec.Struct, omit_defaults=True, kw_only=True):
    """`properties` by name, `named` ones by theirs; `headers`, `hops` and `authentication` as a mail's."""

    properties: dict[str, Any] = {}
    named: dict[str, Any] = {}
    recipients: list[Address] = []
    headers: dict[str, Any] = {}
    hops: list[Hop] = []
    authentication: list[Authentication] = []
    attachments: list[MsgAttachment] = []
    bodies: list[str] = []
    urls: list[str] = []


class Msg(Worker[MsgOptions]):
    """Bodies (text, HTML, RTF inflated, HTML out of RTF) and attachments, also of messages inside.

    The streams as they stand are the children of `ole`. Words near *password* are offered as passwords.
    """

    accepts = Accepts(magic=(MAGIC,))
    errors = {"corrupt": "the RTF body is damaged; what could be inflated is scanned"}
    findings = NAME_FINDINGS
    result = MsgResult

    def warm(self) -> None:
        """Read the suffix list."""
        Suffixes.load()

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield a child a body and attachment, findings, hints, then one `MsgResult`."""
        message = Message(Compound(payload.view()))
        if not message.is_message:
            return
        work = _Work(job, self, message)
        try:
            yield from work.children()
        except LimitReached as error:
            yield work.finished()
            raise error
        text = "\n".join((str(work.result.properties.get("subject", "")), *work.bodies.texts))
        yield from (Hint("password", one) for one in candidates(text[: 256 * KiB]))
        yield work.finished()


class _Work:
    """One file being read: the message at its root, then those that are attached."""

    def __init__(self, job: Job, plugin: Msg, message: Message) -> None:
        self.job, self.plugin, self.message = job, plugin, message
        self.result = MsgResult()
        self.bodies = Bodies()
        self._read = 0

    def children(self) -> Iterator[Any]:
        """Depth first; a storage has one parent, so that there is an end."""
        self._head(self.message.root)
        stack: list[tuple[str, Folder]] = [("1", self.message.root)]
        while stack:
            place, folder = stack.pop()
            self._read += 1
            if self._read > _MAX_MESSAGES:
                self.job.unread(Reason.TOO_MANY_PAYLOADS, "more messages inside than are read")
                return
            yield from self._bodies(place, folder)
            for number, attachment in enumerate(folder.attachments, 1):
                inner = attachment.embedded
                yield from self._attachment(f"{place}.{number}", attachment, embedded=inner is not None)
                if inner is not None and inner.is_message:
                    stack.append((f"{place}.{number}"[-200:], inner))

    def finished(self) -> MsgResult:
        """The result as far as it goes."""
        self.result.urls = list(self.bodies.urls)
        return self.result

    def _head(self, root: Folder) -> None:
        result = self.result
        texts = {name: clean(root.text(*numbers))[:4_096] for name, numbers in _TEXTS.items()}
        times = {name: root.fixed.get(number) for name, number in _TIMES.items()}
        result.properties = {name: value for name, value in {**texts, **times}.items() if value}
        result.named = {clean(name)[:200]: value for name, value in root.named().items()}
        for one in list(root.recipients)[:_MOST_LISTED]:
            result.recipients.append(Address(clean(one.text(0x39FE, 0x3003)), clean(one.text(0x3001))))
        headers = root.text(_HEADERS).encode("utf-8", "replace")
        if headers:
            said = overview(read_block(headers, 0, len(headers)).fields)
            result.headers, result.hops, result.authentication = said.headers, said.hops, said.authentication

    def _bodies(self, place: str, folder: Folder) -> Iterator[Any]:
        for number, name in ((_BODY, "body.txt"), (_HTML, "body.html")):
            held = folder.bytes(number)
            if held is not None and held[1]:
                kind, raw = held
                content = (
                    raw.decode("utf-16-le", "replace").encode("utf-8", "replace") if kind == 0x1F else raw
                )
                yield self._body(place, name, content)
        held = folder.bytes(_RTF)
        if held is None or not held[1]:
            return
        rtf, whole = tnef.rtf(memoryview(held[1]), min(self.job.bytes_left, _RTF_BYTES))
        if not whole:
            self.job.error("corrupt", f"part {place}: the RTF body is damaged or too long")
            self.job.unread(Reason.CORRUPT, f"part {place}: the RTF body is damaged or too long")
        if rtf:
            yield self._body(place, "body.rtf", rtf)
            page = rtfhtml.html(rtf, self.message.codec)
            if page:
                yield self._body(place, "body.html", page)

    def _body(self, place: str, name: str, content: bytes) -> Any:
        if name != "body.rtf":
            self.bodies.add("text/html" if name == "body.html" else "text/plain", "", content)
        self.result.bodies.append(name)
        return self.job.child([content], name=name, part=place)

    def _attachment(self, place: str, folder: Folder, *, embedded: bool) -> Iterator[Any]:
        names = [folder.text(number) for number in (0x3707, 0x3704, 0x3001)]
        names = [name for name in (base_name(names[0]), base_name(names[1]), clean(names[2])[:255]) if name]
        name = names[0] if names else ""
        for one in dict.fromkeys(names):
            yield from (self.plugin.finding(found, one[:300]) for found in name_findings(one)[0])
        held = folder.bytes(_DATA)
        listed = MsgAttachment(
            part=place, filename=name, size=len(held[1]) if held else 0,
            type=clean(folder.text(0x370E))[:200],
            content_id=clean(folder.text(0x3712))[:500], embedded=embedded,
            link=clean(folder.text(0x370D, 0x3708))[:1_000],
        )  # fmt: skip
        if len(self.result.attachments) < _MOST_LISTED:
            self.result.attachments.append(listed)
        if held is not None and held[1]:
            facts = {"type": listed.type, "content_id": listed.content_id}
            kept: dict[str, Any] = {key: value for key, value in facts.items() if value}
            yield self.job.child([held[1]], name=name or "attachment", part=place, **kept)
