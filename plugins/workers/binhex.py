"""Decode BinHex 4.0 (`.hqx`): both forks of each file in a text, in a mail's part or in a file of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from plugins._formats.mail import binhex
from plugins._formats.mail.text import clean_name
from plugins._text.names import NAME_FINDINGS, name_findings
from stoq_core.errors import Reason
from stoq_core.job import Job
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Worker


class BinhexOptions(Options, frozen=True):
    """Nothing to set: limits are the request's."""


class BinhexResult(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The files' names, with type and creator as Macintosh has them, `TEXTttxt` for instance."""

    files: list[str] = []
    kinds: list[str] = []


class Binhex(Worker[BinhexOptions]):
    """Data fork and resource fork of each file as children, under its name."""

    roles = ("opens",)
    errors = {"corrupt": "a length or a checksum that does not hold; what could be decoded is scanned"}
    findings = NAME_FINDINGS
    result = BinhexResult

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield the forks, then one `BinhexResult`."""
        found = binhex.files(payload.content, job.bytes_left)
        if not found:
            if binhex.MARK in payload.content:
                job.unread(Reason.CORRUPT, "no BinHex data behind the mark")
            return
        result = BinhexResult()
        for file in found:
            name = clean_name(file.name.decode("mac-roman", "replace"))
            result.files.append(name)
            result.kinds.append(clean_name(file.kind.decode("mac-roman", "replace")))
            yield from (self.finding(one, name[:300]) for one in name_findings(name)[0])
            job.account.child(file.start, file.end - file.start)
            if file.data:
                yield job.child([file.data], name=name or "data")
            if file.resource:
                yield job.child([file.resource], name=f"{name}.rsrc", fork="resource")
            if not file.whole:
                job.error("corrupt", f"{name or 'a file'}: a length or checksum does not hold")
                job.unread(Reason.CORRUPT, f"{name or 'a file'}: a length or checksum does not hold")
        yield result
