"""Take a mail apart: headers, addresses, hops, authentication, bodies, and every part as a child."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from plugins._formats.filetype import UNKNOWN, identify
from plugins._formats.mail.bodies import Bodies, MailBody
from plugins._formats.mail.headers import Address, Authentication, Hop
from plugins._formats.mail.mailbox import in_utf8, messages
from plugins._formats.mail.message import Entity, Outside, Reader
from plugins._formats.mail.overview import overview, written_otherwise
from plugins._formats.mail.parts import ENCODED_MULTIPART, nameless, part_readings, says_nothing
from plugins._formats.mail.recognise import locate
from plugins._formats.mail.text import clean_name, header_text, in_ascii, to_text
from plugins._formats.mail.transfer import Decoded, uuencoded, yencoded
from plugins._text.iocs import Suffixes
from plugins._text.names import NAME_FINDINGS, name_findings
from plugins._text.passwords import candidates
from stoq_core.errors import LimitReached, Reason
from stoq_core.job import Finding, Hint, Job
from stoq_core.limits import KiB, Limits, MiB
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_MAX_LISTED = 500
_CHARSET_BYTES = 16 * MiB
_MESSAGES = frozenset({"message/rfc822", "message/global", "message/news"})


class SmtpOptions(Options, frozen=True):
    """What of a mail goes into the result and on to other workers."""

    omit_body: Annotated[
        bool, about("leave the bodies' text out of the result; they are scanned all the same")
    ] = False
    extract_iocs: Annotated[bool, about("hand headers and bodies to `iocextract` as one text")] = False
    harvest_passwords: Annotated[
        bool, about("offer words near *password* to encrypted files of this mail")
    ] = True


class MailAttachment(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One part: its place in the tree (`1.2`), name, type, disposition and size in bytes when decoded."""

    part: str
    filename: str
    type: str
    disposition: str = ""
    size: int = 0


class SmtpResult(msgspec.Struct, omit_defaults=True, kw_only=True):
    """`headers` by name in lower case, repeated ones as lists; the rest read out of them and the bodies.

    `hops` are the `Received` headers, newest first, `defects` what breaks rules; `messages` counts an mbox.
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
    an inner message is its bytes as they stand. Files that are uuencoded in a text come out as well. Where
    mail programs read a part in several ways, each reading is a child, and `reading` says which it is.
    """

    roles = ("opens",)
    libraries = {"publicsuffixlist": "publicsuffixlist (in requirements.txt)"}
    errors = {
        "corrupt": "a part whose transfer encoding is damaged so that nobody can tell all its bytes",
        "too_deep": "parts nested so deep that they are not taken apart",
        "too_many_payloads": "more headers, boundaries or parts than are read",
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
        "mail_two_readings": (
            300, "headers that contradict each other, so that mail programs see different parts", ("T1027",)
        ),
        "mail_external_body": (
            150, "a part whose content the mail program fetches from elsewhere", ("T1566.002",)
        ),
    }  # fmt: skip
    limits = Limits(input_bytes=96 * MiB)
    result = SmtpResult

    def warm(self) -> None:
        """Read the suffix list."""
        Suffixes.load()

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield findings, hints and children, then one `SmtpResult`."""
        content = payload.content
        wide = in_utf8(content)
        if wide is not None:
            job.account.child(0, len(content))
            yield job.child([wide], name=payload.name or "mail.eml", dispatch_to=("smtp",))
            return
        box = messages(content)
        if box:
            yield from self._mbox(content, box, job)
            if all(one.sure for one in box):
                return
        start = locate(content)
        if start is None:
            if not box:
                yield from self._elsewhere(content, job)
            return
        job.account.structure(0, start.lead)
        reader = Reader(content, start.at, start.end)
        root = reader.root()
        result = SmtpResult(**msgspec.structs.asdict(overview(root.fields)))
        yield from self._sender(result)
        work = _Parts(job, result, self, reader)
        try:
            yield from work.children(root)
        except LimitReached as error:
            yield self._finished(work)
            raise error
        yield from self._texts(work, job)
        work.claim(root)
        yield self._finished(work)

    def _mbox(self, content: bytes, box: list[Any], job: Job) -> Iterator[Any]:
        if all(one.sure for one in box):
            yield SmtpResult(messages=len(box))
        for number, one in enumerate(box, 1):
            job.account.structure(one.start, one.body - one.start)
            job.account.child(one.body, one.end - one.body)
            text = content[one.body : one.end]
            yield job.child(
                [text], name=f"message-{number}.eml", type="message/rfc822", dispatch_to=("smtp",)
            )

    def _elsewhere(self, content: bytes, job: Job) -> Iterator[Any]:
        """Encoded parts in a text that is no mail, such as a log or a program that sends mails."""
        reader = Reader(content)
        work = _Parts(job, SmtpResult(), self, reader, mail=False)
        for part in reader.within():
            if isinstance(part, Entity) and set(part.encodings) - {"identity", "unknown"}:
                yield from work.part(part)

    def _sender(self, result: SmtpResult) -> Iterator[Finding]:
        for one in result.addresses.get("sender", []):
            shown = re.search(r"(?<![\w.+-])[\w.+-]{1,64}@([\w-]{1,63}(?:\.[\w-]{1,63}){1,8})", one.name)
            real = one.address.rpartition("@")[2].lower()
            if shown and real and _site(shown.group(1).lower()) != _site(real):
                yield self.finding(
                    "mail_display_name_other_address", f"{one.name[:200]} <{one.address[:200]}>"
                )

    def _texts(self, work: _Parts, job: Job) -> Iterator[Any]:
        decoded = written_otherwise(work.reader.fields)
        if decoded:
            yield job.child([decoded], name="headers.txt", should_archive=False)
        text = "\n".join((work.result.subject, *work.bodies.texts))
        if self.options.harvest_passwords:
            yield from (Hint("password", one) for one in candidates(text[: 256 * KiB]))
        if self.options.extract_iocs:
            lines = [f"{name}: {value}" for name, value in work.result.headers.items()]
            whole = "\n".join((*lines, "", text)).encode("utf-8", "replace")
            yield job.child([whole], name="iocs.txt", should_archive=False, dispatch_to=("iocextract",))

    def _finished(self, work: _Parts) -> SmtpResult:
        result = work.result
        result.defects = sorted(set(result.defects))
        result.urls = list(work.bodies.urls)
        result.bodies = [
            MailBody(type=one.type, charset=one.charset) if self.options.omit_body else one
            for one in work.bodies.kept
        ]
        return result


class _Parts:
    """The parts of one message becoming children."""

    def __init__(
        self, job: Job, result: SmtpResult, plugin: Smtp, reader: Reader, *, mail: bool = True
    ) -> None:
        """Only of a mail there is an account."""
        self._mail = mail
        self.job, self.result, self.plugin, self.reader = job, result, plugin, reader
        self.bodies = Bodies()
        self._given: set[tuple[int, int, int]] = set()

    def children(self, root: Entity) -> Iterator[Any]:
        """Each part that holds no others, with what its name and type say about it."""
        for part in self.reader.walk(root):
            if isinstance(part, Outside):
                yield from self._outside(part)
            else:
                yield from self.part(part)
        if self.reader.encrypted:
            self._sealed("PGP or S/MIME")
        if self.reader.too_deep:
            self.job.error("too_deep", "parts are nested too deep to be taken apart")
            self.job.unread(Reason.TOO_DEEP, "parts are nested too deep to be taken apart")
        if self.reader.cut:
            self.job.error("too_many_payloads", f"{self.reader.cut}; the rest is not taken apart")
            self.job.unread(Reason.TOO_MANY_PAYLOADS, f"{self.reader.cut}; the rest is not taken apart")

    def claim(self, root: Entity) -> None:
        """Account for what was read as headers and boundaries; children are claimed as they are made."""
        account = self.job.account
        account.structure(root.start, 0)
        for start, end in self.reader.structure:
            account.structure(start, end - start)

    def part(self, part: Entity) -> Iterator[Any]:
        """One part by all its readings."""
        data = self.reader.data[part.body : part.end]
        names, kind = part.names, part.kind
        for name in names:
            yield from self._judge(name, kind)
        yield from self._complete(part)
        made = part_readings(part, data)
        yield from self._contradictions(part, made)
        if self._mail:
            self.job.account.child(part.body, len(data))
        unknown = False
        for number, decoded in enumerate(made):
            self._damage(f"part {part.place}: its transfer encoding is damaged", decoded)
            if number == 0:
                self._read(part, kind, names, decoded.content)
                unknown = identify(memoryview(decoded.content)) is UNKNOWN
            elif decoded.how and not unknown and identify(memoryview(decoded.content)) is UNKNOWN:
                continue  # one reading makes sense, and this one makes none
            if (decoded.content.strip(b"\r\n \t") or names) and self._is_new(part, decoded):
                yield self._child(part, kind, names, decoded, first=number == 0)
        if made:
            yield from self._within(part, made[0].content)

    def _is_new(self, part: Entity, decoded: Decoded) -> bool:
        """Two readings may lead to the same part."""
        key = (part.body, len(decoded.content), hash(decoded.content))
        new = key not in self._given
        self._given.add(key)
        return new

    def _child(self, part: Entity, kind: str, names: list[str], decoded: Decoded, *, first: bool) -> Any:
        name = names[0] if names else clean_name(to_text(decoded.name))
        facts: dict[str, Any] = {
            "type": kind,
            "disposition": part.disposition,
            "charset": part.parameter("charset"),
            "description": part.text("contentdescription"),
            "content_id": part.text("contentid"),
            "reading": decoded.how,
        }
        if first and len(self.result.attachments) < _MAX_LISTED:
            self.result.attachments.append(
                MailAttachment(
                    part=part.place,
                    filename=name,
                    type=kind,
                    disposition=facts["disposition"][:100],
                    size=len(decoded.content),
                )
            )
        facts = {key: value[:500] for key, value in facts.items() if value}
        mail = _MESSAGES & set(part.kinds) or decoded.how == ENCODED_MULTIPART
        return self.job.child(
            [decoded.content], name=name or nameless(part.place, kind), part=part.place,
            dispatch_to=("smtp",) if mail else (), **facts,
        )  # fmt: skip

    def _within(self, part: Entity, body: bytes) -> Iterator[Any]:
        """What is encoded within a body: files in a text, and text in a charset that rules cannot read."""
        if _MESSAGES & set(part.kinds) or part.hidden:
            return
        if body.startswith(b"begin") or b"begin " in body or b"begin-base64" in body:
            yield from self._files(part.place, uuencoded(body), "uuencoded")
        if b"=ybegin " in body:
            yield from self._files(part.place, yencoded(body), "yencoded")
        if b"-----BEGIN PGP MESSAGE-----" in body and part.is_text:
            self._sealed("PGP")
        charset = part.parameter("charset")
        if charset and part.kind.startswith("text/") and len(body) <= _CHARSET_BYTES:
            plain = in_ascii(body, charset)
            if plain:
                yield self.job.child([plain], name="text.txt", part=part.place, charset=charset[:100])

    def _files(self, place: str, found: Iterator[Decoded], how: str) -> Iterator[Any]:
        for decoded in found:
            name = clean_name(header_text(decoded.name))
            self._damage(f"part {place}: a file in it is damaged", decoded)
            yield from self._judge(name, "")
            yield self.job.child([decoded.content], name=name or how, part=place, disposition=how)

    def _outside(self, outside: Outside) -> Iterator[Any]:
        """A text before the first and behind the last part, which mail programs may show."""
        text = self.reader.data[outside.start : outside.end]
        if says_nothing(text):
            self.reader.structure.append((outside.start, outside.end))
            return
        self.job.account.child(outside.start, len(text))
        yield self.job.child([text], name=f"{outside.name}.txt", disposition=outside.name)
        yield from self._files(outside.place, uuencoded(text), "uuencoded")

    def _judge(self, name: str, kind: str) -> Iterator[Finding]:
        found, executable = name_findings(name)
        yield from (self.plugin.finding(one, name[:300]) for one in found)
        if executable and (
            kind.split("/", maxsplit=1)[0] in ("image", "text", "audio", "video") or kind == "application/pdf"
        ):
            yield self.plugin.finding("mail_type_mismatch", f"{name[:300]} as {kind}")

    def _contradictions(self, part: Entity, made: list[Decoded]) -> Iterator[Finding]:
        multipart = {kind.startswith("multipart") for kind in part.kinds if "/" in kind}
        if part.block.early is not None:
            self.result.defects.append("line that is no header among the headers")
        if len(part.values("type")) > 1 and len(multipart) > 1:
            self.result.defects.append("two content types")
            yield self.plugin.finding(
                "mail_two_readings", f"part {part.place}: {', '.join(part.kinds)[:300]}"
            )
        elif multipart == {True} and not part.hidden:
            self.result.defects.append("multipart without a boundary")
        if len(part.encodings) > 1 and len([one for one in made if not one.how]) > 1:
            self.result.defects.append("two transfer encodings")
            yield self.plugin.finding(
                "mail_two_readings", f"part {part.place}: {', '.join(part.encodings)[:300]}"
            )

    def _read(self, part: Entity, kind: str, names: list[str], body: bytes) -> None:
        """A text that is no attachment is a body."""
        if kind in ("text/plain", "text/html") and part.disposition != "attachment" and not names:
            self.bodies.add(kind, part.parameter("charset")[:100], body)

    def _complete(self, part: Entity) -> Iterator[Finding]:
        if part.parameter("smime-type").lower() in ("enveloped-data", "authenveloped-data"):
            self._sealed("S/MIME")
        if "message/partial" in part.kinds:
            self.job.error("truncated", "the mail is a fragment of a message")
            self.job.unread(Reason.TRUNCATED, "the mail is a fragment of a message; the others are elsewhere")
        if "message/external-body" in part.kinds:
            where = (part.parameter("url") or part.parameter("site"))[:300]
            yield self.plugin.finding("mail_external_body", where)

    def _sealed(self, how: str) -> None:
        self.job.error("encrypted_document", f"encrypted by {how}")
        self.job.unread(Reason.ENCRYPTED_DOCUMENT, f"encrypted by {how}")

    def _damage(self, message: str, decoded: Decoded) -> None:
        """Where some bytes could be read by nobody, they may be what was to be found."""
        if decoded.lost:
            self.job.error("corrupt", message)
            self.job.unread(Reason.CORRUPT, message)


def _site(host: str) -> str:
    """The registrable end of a host name, near enough to tell two senders apart."""
    labels = host.strip(".").split(".")
    short = len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3
    return ".".join(labels[-3:] if short else labels[-2:])
