"""Take the files out of calendars and contacts: attachments, pictures, sounds and encoded notes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from plugins._formats.mail.contentlines import unfolded, values
from plugins._formats.mail.text import clean_name, to_text
from plugins._text.names import NAME_FINDINGS, name_findings
from stoq_core.errors import LimitReached
from stoq_core.job import Job
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_MAX_LISTED = 500


class CalendarOptions(Options, frozen=True):
    """Nothing to set: limits are the request's."""


class CalendarValue(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One value that was encoded: property (`ATTACH`, `PHOTO`), name and type as stated, size in bytes."""

    property: str
    size: int
    filename: str = ""
    type: str = ""


class CalendarResult(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What was decoded, in order; at most 500 are listed."""

    values: list[CalendarValue] = []


class Calendar(Worker[CalendarOptions]):
    """iCalendar (RFC 5545), vCard (RFC 6350, 2.1): values in base64, quoted-printable or a `data:` URI."""

    roles = ("opens",)
    findings = NAME_FINDINGS
    result = CalendarResult

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield a child a value, then one `CalendarResult`."""
        job.account.structure(0, payload.size)  # a text, which is searched as it stands
        result = CalendarResult()
        text = unfolded(payload.content)
        if text is not None:
            yield job.child([text], name="unfolded.txt", should_archive=False)
        try:
            for value in values(payload.content):
                name = clean_name(to_text(value.name.encode("utf-8", "replace")))
                yield from (self.finding(one, name[:300]) for one in name_findings(name)[0])
                if len(result.values) < _MAX_LISTED:
                    result.values.append(
                        CalendarValue(
                            property=value.prop, size=len(value.content), filename=name, type=value.kind[:200]
                        )
                    )
                yield job.child([value.content], name=name or value.prop.lower(), property=value.prop)
        except LimitReached as error:
            yield result
            raise error
        yield result
