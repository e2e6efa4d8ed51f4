"""Take a mail apart: headers, addresses, hops, authentication, bodies, and every part as a child."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from plugins._formats.mail.headers import Address, Authentication, Hop, addresses, authentication, hop, moment
from plugins._formats.mail.message import (
    Decoded,
    MailPart,
    body_of,
    clean_name,
    defects,
    file_name,
    header_text,
    headers,
    outside,
    parse,
    parts,
    to_text,
    uuencoded,
)
from plugins._text.iocs import Suffixes, find
from plugins._text.names import NAME_FINDINGS, name_findings
from plugins._text.passwords import candidates
from stoq_core.errors import LimitReached, PluginError, Reason
from stoq_core.job import Finding, Hint, Job
from stoq_core.limits import KiB, Limits, MiB
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_FROM = re.compile(rb"(?:\A|\n)From [^\r\n]{1,1000}\r?\n(?=[A-Za-z0-9-]{1,76}:|>From )")
_FIELDS = {
    "from": "sender", "to": "to", "cc": "cc", "bcc": "bcc", "reply-to": "reply_to",
    "return-path": "return_path", "sender": "actual_sender", "delivered-to": "delivered_to",
}  # fmt: skip
_BODY_CHARS = 64 * KiB
_MAX_BODIES, _MAX_LISTED, _MAX_URLS, _MAX_HEADERS, _HEADER_CHARS = 8, 500, 300, 1_000, 256 * KiB
_TEXT_BYTES = 8 * MiB
"""Of all bodies together: what is searched for URLs and passwords and kept; the children are whole."""
_TAG = re.compile(r"<[^<>]{0,4000}>")


class SmtpOptions(Options, frozen=True):
    """What of a mail goes into the result and on to other workers."""

    omit_body: Annotated[
        bool, about("leave the bodies' text out of the result; they are scanned all the same")
    ] = False
    extract_iocs: Annotated[bool, about("hand headers and bodies to `iocextract` as one text")] = False
    harvest_passwords: Annotated[
        bool, about("offer words near *password* to encrypted files of this mail")
    ] = True


class MailBody(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One body as text, cut at 65,536 characters; `charset` as the mail names it."""

    type: str
    charset: str = ""
    text: str = ""
    cut: bool = False


class MailAttachment(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One part: its place in the tree (`1.2`), name, type, disposition and size in bytes when decoded."""

    part: str
    filename: str
    type: str
    disposition: str = ""
    size: int = 0


class SmtpResult(msgspec.Struct, omit_defaults=True, kw_only=True):
    """`headers` by name in lower case, repeated ones as lists; the rest read out of them and the bodies.

    `hops` are the `Received` headers, newest first; `defects` what is malformed; `messages` counts an mbox.
    """

    headers: dict[str, Any] = {}
    subject: str = ""
    date: str | None = None
    addresses: dict[str, list[Address]] = {}
    hops: list[Hop] = []
    authentication: list[Authentication] = []
    bodies: list[MailBody] = []
    attachments: list[MailAttachment] = []
    urls: list[str] = []
    defects: list[str] = []
    messages: int | None = None


class Smtp(Worker[SmtpOptions]):
    """A message (RFC 5322) or an mbox of several. Each part is a child, bodies and inner messages too.

    Children carry `filename`, `type`, `disposition`, `charset`, `description`, `content_id` and `part`;
    an inner message is its bytes as they stand. Files that are uuencoded in a text come out as well.
    """

    roles = ("opens",)
    libraries = {"publicsuffixlist": "publicsuffixlist (in requirements.txt)"}
    errors = {
        "malformed": "headers or parts that break the rules; they are read as far as they go",
        "corrupt": "a part whose transfer encoding is damaged; what could be decoded is scanned; the"
        " reason `corrupt` says where that may not be all",
        "too_deep": "parts nested so deep that they are not taken apart",
        "too_many_payloads": "more boundaries or lines than are read",
        "encrypted_document": "S/MIME or PGP encrypted",
        "truncated": "a fragment of a message (message/partial)",
    }
    findings = {
        "mail_display_name_other_address": (
            150, "the sender's name shows a mail address of another domain than the real one", ("T1656",)
        ),
        **NAME_FINDINGS,
        "mail_type_mismatch": (
            300, "a part declared as image, text or document whose name is an executable's", ("T1036.008",)
        ),
    }  # fmt: skip
    limits = Limits(input_bytes=96 * MiB)
    result = SmtpResult

    def warm(self) -> None:
        """Read the suffix list."""
        Suffixes.load()

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield findings, hints and children, then one `SmtpResult`."""
        content = payload.content.lstrip(b"\r\n \t")
        starts = [one.start() for one in _FROM.finditer(content)] if content.startswith(b"From ") else []
        if len(starts) > 1:
            yield from self._mbox(content, starts, job)
            return
        try:
            root, cut = parse(content)
        except RecursionError:
            raise PluginError(
                "too_deep", "parts are nested too deep to be read", reason=Reason.TOO_DEEP
            ) from None
        if cut is not None:
            job.error("too_many_payloads", f"{cut.why}; the rest is not taken apart")
            job.unread(Reason.TOO_MANY_PAYLOADS, f"{cut.why}; bytes from {cut.at} on are not taken apart")
        result = _head(root)
        if not result.headers:
            return
        yield from self._sender(result)
        work = _Parts(job, result, self)
        try:
            yield from work.children(root)
        except LimitReached as error:
            yield self._finished(result, root, job)
            raise error
        yield from self._texts(work, job)
        yield self._finished(result, root, job)

    def _mbox(self, content: bytes, starts: list[int], job: Job) -> Iterator[Any]:
        yield SmtpResult(messages=len(starts))
        for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(content)], strict=True), 1):
            text = content[start:end].lstrip(b"\r\n").partition(b"\n")[2]
            yield job.child(
                [text], name=f"message-{number}.eml", type="message/rfc822", dispatch_to=("smtp",)
            )

    def _sender(self, result: SmtpResult) -> Iterator[Finding]:
        for one in result.addresses.get("sender", []):
            shown = re.search(r"[\w.+-]{1,64}@([\w-]{1,63}(?:\.[\w-]{1,63}){1,8})", one.name)
            real = one.address.rpartition("@")[2].lower()
            if shown and real and _site(shown.group(1).lower()) != _site(real):
                yield self.finding(
                    "mail_display_name_other_address", f"{one.name[:200]} <{one.address[:200]}>"
                )

    def _texts(self, work: _Parts, job: Job) -> Iterator[Any]:
        text = "\n".join((work.result.subject, *work.texts))
        if self.options.harvest_passwords:
            yield from (Hint("password", one) for one in candidates(text[: 256 * KiB]))
        if self.options.extract_iocs:
            lines = [f"{name}: {value}" for name, value in work.result.headers.items()]
            whole = "\n".join((*lines, "", text)).encode("utf-8", "replace")
            yield job.child([whole], name="iocs.txt", should_archive=False, dispatch_to=("iocextract",))

    def _finished(self, result: SmtpResult, root: MailPart, job: Job) -> SmtpResult:
        result.defects = defects(root)
        if result.defects:
            job.error("malformed", "; ".join(result.defects)[:500])
        if self.options.omit_body:
            result.bodies = [MailBody(type=one.type, charset=one.charset) for one in result.bodies]
        return result


class _Parts:
    """The parts of one message becoming children."""

    def __init__(self, job: Job, result: SmtpResult, plugin: Smtp) -> None:
        self.job, self.result, self.plugin = job, result, plugin
        self.texts: list[str] = []
        self._urls: dict[str, None] = {}
        self._room = _TEXT_BYTES

    def children(self, root: MailPart) -> Iterator[Any]:
        """Each part that holds no others, with what its name and type say about it."""
        if root.get_content_type() == "multipart/encrypted":
            self._sealed("PGP or S/MIME")
        for place, part in parts(root):
            decoded = body_of(part)
            self._damage(f"part {place}: its transfer encoding is damaged", decoded)
            body = decoded.content
            kind = part.get_content_type()
            name = file_name(part)
            yield from self._judge(name, kind)
            self._read(part, kind, name, body)
            self._complete(part, kind)
            if body or name:
                yield self._child(place, part, kind, name, body)
            if kind.startswith("text/"):
                yield from self._uuencoded(place, body)
        for name, text in outside(root):
            yield self.job.child([text], name=f"{name}.txt", disposition=name)
        self.result.urls = list(self._urls)

    def _child(self, place: str, part: MailPart, kind: str, name: str, body: bytes) -> Any:
        facts: dict[str, Any] = {
            "type": kind,
            "disposition": str(part.get_content_disposition() or ""),
            "charset": str(part.get_content_charset() or ""),
            "description": header_text(part.get("content-description", ""))[:500],
            "content_id": header_text(part.get("content-id", ""))[:500],
        }
        listed = MailAttachment(
            part=place, filename=name, type=kind, disposition=facts["disposition"][:100], size=len(body)
        )
        if len(self.result.attachments) < _MAX_LISTED:
            self.result.attachments.append(listed)
        facts = {key: value[:500] for key, value in facts.items() if value}
        return self.job.child([body], name=name or _nameless(place, kind), part=place, **facts)

    def _judge(self, name: str, kind: str) -> Iterator[Finding]:
        found, executable = name_findings(name)
        yield from (self.plugin.finding(one, name[:300]) for one in found)
        if executable and (
            kind.split("/", maxsplit=1)[0] in ("image", "text", "audio", "video") or kind == "application/pdf"
        ):
            yield self.plugin.finding("mail_type_mismatch", f"{name[:300]} as {kind}")

    def _read(self, part: MailPart, kind: str, name: str, body: bytes) -> None:
        """A text that is no attachment is a body: kept, searched for URLs and passwords."""
        if kind not in ("text/plain", "text/html") or part.get_content_disposition() == "attachment" or name:
            return
        if self._room <= 0:
            return
        self._room -= len(body)
        charset = str(part.get_content_charset() or "")[:100]
        text = to_text(body[:MiB], charset or None)
        cut = len(text) > _BODY_CHARS or len(body) > MiB
        if len(self.result.bodies) < _MAX_BODIES:
            self.result.bodies.append(MailBody(type=kind, charset=charset, text=text[:_BODY_CHARS], cut=cut))
        plain = html.unescape(text) if kind == "text/html" else text
        for one in find(plain.encode("utf-8", "replace"), lambda kind, _value: kind == "urls"):
            if len(self._urls) >= _MAX_URLS:
                break
            self._urls.setdefault(one.value)
        self.texts.append(html.unescape(_TAG.sub(" ", text)) if kind == "text/html" else text)

    def _complete(self, part: MailPart, kind: str) -> None:
        if kind in ("application/pkcs7-mime", "application/x-pkcs7-mime"):
            if str(part.get_param("smime-type", "")).lower() in ("enveloped-data", "authenveloped-data", ""):
                self._sealed("S/MIME")
        elif kind == "message/partial":
            self.job.error("truncated", "the mail is a fragment of a message")
            self.job.unread(Reason.TRUNCATED, "the mail is a fragment of a message; the others are elsewhere")

    def _sealed(self, how: str) -> None:
        self.job.error("encrypted_document", f"encrypted by {how}")
        self.job.unread(Reason.ENCRYPTED_DOCUMENT, f"encrypted by {how}")

    def _damage(self, message: str, decoded: Decoded) -> None:
        """What is wrong with an encoding is an error; a reason where other readers may find other bytes."""
        if not decoded.whole:
            self.job.error("corrupt", message)
        if decoded.lost:
            self.job.unread(Reason.CORRUPT, message)

    def _uuencoded(self, place: str, body: bytes) -> Iterator[Any]:
        for name, decoded in uuencoded(body):
            self._damage(f"part {place}: a uuencoded file in it is damaged", decoded)
            yield from self._judge(clean_name(name), "")
            yield self.job.child(
                [decoded.content], name=clean_name(name), part=place, disposition="uuencoded"
            )


def _head(root: MailPart) -> SmtpResult:
    """What the headers say."""
    result = SmtpResult()
    room = _HEADER_CHARS
    by_name: dict[str, list[str]] = {}
    for number, (name, value) in enumerate(headers(root)):
        room -= len(name) + len(value)
        if number >= _MAX_HEADERS or room < 0:
            break
        by_name.setdefault(name.lower(), []).append(value)
    result.headers = {name: values[0] if len(values) == 1 else values for name, values in by_name.items()}
    result.subject = by_name.get("subject", [""])[0]
    result.date = moment(by_name.get("date", [""])[0])
    raw = {name: [str(v) for k, v in root.raw_items() if k.lower() == name][:20] for name in _FIELDS}
    for name, field in _FIELDS.items():
        found = [Address(header_text(one.address), header_text(one.name)) for one in addresses(raw[name])]
        if found:
            result.addresses[field] = found
    result.hops = [hop(one) for one in by_name.get("received", [])[:100]]
    for name in ("authentication-results", "arc-authentication-results"):
        result.authentication += [authentication(name, one) for one in by_name.get(name, [])[:20]]
    return result


def _site(host: str) -> str:
    """The registrable end of a host name, near enough to tell two senders apart."""
    labels = host.strip(".").split(".")
    short = len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3
    return ".".join(labels[-3:] if short else labels[-2:])


def _nameless(place: str, kind: str) -> str:
    endings = {"text/plain": "txt", "text/html": "html", "message/rfc822": "eml"}
    return f"part-{place}.{endings.get(kind, 'bin')}"
