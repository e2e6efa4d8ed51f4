"""Inflate compressed RTF (LZFu, MS-OXRTFCP), as Outlook keeps bodies, and take the HTML out of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from plugins._formats.mail import rtfhtml, tnef
from stoq_core.errors import Reason
from stoq_core.job import Job
from stoq_core.limits import MiB
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Accepts, Worker

_HEADER_BYTES = 16
_RTF_BYTES = 64 * MiB


class LzfuOptions(Options, frozen=True):
    """Nothing to set: limits are the request's."""


class LzfuResult(msgspec.Struct, omit_defaults=True, kw_only=True):
    """Sizes in bytes of what came out; `html_bytes` is 0 where the RTF was not made of HTML."""

    rtf_bytes: int
    html_bytes: int = 0


class Lzfu(Worker[LzfuOptions]):
    """The RTF as a child, and the HTML that it was made of."""

    accepts = Accepts(magic=(b"LZFu", b"MELA"), magic_offset=8)
    roles = ("opens",)
    errors = {"corrupt": "the compressed text is damaged or ends early; what could be inflated is scanned"}
    result = LzfuResult

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield the children, then one `LzfuResult`."""
        view = payload.view()
        rtf, whole = tnef.rtf(view, min(job.bytes_left, _RTF_BYTES))
        job.account.structure(0, _HEADER_BYTES)
        job.account.child(_HEADER_BYTES, int.from_bytes(view[:4], "little") - _HEADER_BYTES + 4)
        if not whole:
            job.error("corrupt", "the compressed RTF is damaged or too long")
            job.unread(Reason.CORRUPT, "the compressed RTF is damaged or too long")
        page = rtfhtml.html(rtf)
        if rtf:
            yield job.child([rtf], name="body.rtf")
        if page:
            yield job.child([page], name="body.html")
        yield LzfuResult(rtf_bytes=len(rtf), html_bytes=len(page or b""))
