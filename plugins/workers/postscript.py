"""Decode what PostScript programs read through filters: ASCII85, hexadecimal, Flate, LZW, run lengths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from plugins._formats.pdf.damage import Damaged, Meter
from plugins._formats.pdf.filters import Sliced, decoded
from plugins._formats.pdf.postscript import BINARY_MARK, packed, parts
from stoq_core.account import Claim
from stoq_core.errors import Reason
from stoq_core.job import Job
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Accepts, Worker

_HEAD_BYTES = 32


class PostscriptResult(msgspec.Struct, kw_only=True):
    """`filters`: how many runs of data are read through filters; `parts` of a binary EPS by kind."""

    filters: int = 0
    parts: list[str] = []


class Postscript(Worker[Options]):
    """Each run of data that `currentfile` and filters decode is a child; so are the parts of a binary EPS.

    The program itself is searched as it stands: it is text.
    """

    accepts = Accepts(magic=(b"%!", BINARY_MARK))
    roles = ("opens",)
    errors = {
        "corrupt": "data does not decode; what of it did is scanned",
        "ratio": "the data expands beyond the limits",
        "timeout": "there was more data than can be decoded in time",
        "too_many_payloads": "there are more children than the limits allow",
    }
    result = PostscriptResult

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield a child a run of data, then one `PostscriptResult` if there was any."""
        view = payload.view()
        result = PostscriptResult()
        meter = Meter(job, job.total_left)
        for kind, offset, size in parts(bytes(view[:_HEAD_BYTES]), len(view)):
            result.parts.append(kind)
            job.account.structure(0, _HEAD_BYTES)
            job.account.child(offset, size)
            yield job.child([view[offset : offset + size]], name=f"eps-{offset}.{kind}", offset=offset)
        if not result.parts:
            for one in packed(view):
                result.filters += 1
                source = Sliced(view[one.start : one.end], meter)
                child, problem = job.salvage(
                    decoded(source, one.chain, meter), name=f"decoded-{one.start}.bin", offset=one.start
                )
                self._account(job, one.start, one.end - source.left, problem)
                if child.body.size:
                    yield child
            self._rest(job, len(view))
        if result.filters or result.parts:
            yield result

    def _account(self, job: Job, start: int, end: int, problem: Exception | None) -> None:
        if problem is None:
            job.account.child(start, end - start)
        elif not isinstance(problem, Damaged):
            raise problem
        else:
            job.error(problem.code, f"the data at {start}: {problem.message}")
            job.unread(problem.reason or Reason.CORRUPT, f"the data at {start} does not decode")

    def _rest(self, job: Job, size: int) -> None:
        """All else is text."""
        at = 0
        for start, end, claim in [*job.account.spans(), (size, size, Claim.STRUCTURE)]:
            del claim
            job.account.searched(at, start - at)
            at = max(at, end)
