"""Open signed and compressed messages (CMS, PKCS #7, S/MIME), and say of encrypted ones that they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from plugins._formats.archives.singles import inflated
from plugins._formats.mail import cms
from plugins._formats.mail.transfer import base64_readings
from stoq_core.errors import Reason
from stoq_core.job import Job
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_BEGIN_BYTES = 200
_DATA = "2a864886f70d010701"
_LIKE_MAIL = re.compile(rb"\s{0,64}[A-Za-z][\w-]{1,60}[ \t]{0,9}(?:\([^)]{0,60}\))?[ \t]{0,9}:")
_ARMOUR = re.compile(rb"-----BEGIN ([A-Z0-9 #]{1,60})-----([^-]+)")
"""RFC 7468, and what mail programs leave of it."""
_SIGNED_NAME = re.compile(r"\.(?:p7[mcsbz]|p7|sig|cms)$", re.IGNORECASE)


class CmsOptions(Options, frozen=True):
    """Nothing to set: limits are the request's."""


class CmsResult(msgspec.Struct, omit_defaults=True, kw_only=True):
    """`kind` of the message (`signed`, `enveloped`, `compressed` …) and its content's size in bytes.

    `detached` if the content stands elsewhere, as with a signature in a part of its own.
    """

    kind: str
    content_bytes: int = 0
    detached: bool = False


class Cms(Worker[CmsOptions]):
    """The signed or compressed content is a child, and is looked at as a mail where it begins like one.

    A message in base64, with a frame (RFC 7468) or without, comes out of it first.
    """

    errors = {
        "corrupt": "the encoding does not hold; what could be read is scanned",
        "encrypted_document": "the content is encrypted",
    }
    roles = ("opens",)
    result = CmsResult

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield the content, then one `CmsResult`."""
        view = payload.view()
        message = cms.read(view)
        if message is None:
            for start, text in _ARMOUR.findall(payload.content) or [(b"", payload.content)]:
                decoded = base64_readings(text)[0].content
                if cms.read(memoryview(decoded)) is not None:
                    yield job.child([decoded], name="message.p7m", armour=start.decode("latin-1"))
            return
        size = sum(end - start for start, end in message.pieces)
        if message.kind in cms.ENCRYPTED:
            self._sealed(message, job)
        else:
            job.account.structure(0, message.end)
            for start, end in message.pieces:
                job.account.child(start, end - start)
            if size:
                yield from self._content(message, view, payload.name or "", job)
        if not message.certain:
            what = f"{message.kind} message: its encoding does not hold at {message.end}"
            job.error("corrupt", what)
            job.unread(Reason.CORRUPT, what)
        yield CmsResult(kind=message.kind, content_bytes=size, detached=message.kind == "signed" and not size)

    def _sealed(self, message: cms.Message, job: Job) -> None:
        job.account.structure(0, message.end)
        for start, end in message.pieces:
            job.account.unread(start, end - start)
        what = f"{message.kind}: only its receivers have the key"
        job.error("encrypted_document", what)
        job.unread(Reason.ENCRYPTED_DOCUMENT, what)

    def _content(self, message: cms.Message, view: memoryview, name: str, job: Job) -> Iterator[Any]:
        chunks = [view[start:end] for start, end in message.pieces]
        name = _SIGNED_NAME.sub("", name) if _SIGNED_NAME.search(name) else ""
        if message.kind == "compressed":
            whole = memoryview(b"".join(chunks))
            child, problem = job.salvage(inflated(whole), name=name or "content")
            if problem is not None:
                job.error("corrupt", f"the compressed content: {problem}")
                job.unread(Reason.CORRUPT, "the compressed content does not inflate")
            yield child
            return
        if message.inner != _DATA and all(cms.holds(chunk) for chunk in chunks):
            return  # a time stamp, a catalogue, a digest: values that were walked to their end
        begin = b"".join(bytes(chunk[:_BEGIN_BYTES]) for chunk in chunks[:_BEGIN_BYTES])[:_BEGIN_BYTES]
        mail = _LIKE_MAIL.match(begin) is not None
        yield job.child(
            chunks, name=name or ("content.eml" if mail else "content"), dispatch_to=("smtp",) if mail else ()
        )
