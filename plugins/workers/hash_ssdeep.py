"""ssdeep (context triggered piecewise hashing), for finding similar files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from stoq_core.job import Job
from stoq_core.limits import Limits, MiB
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Worker


class SsdeepResult(msgspec.Struct, frozen=True):
    """`ssdeep`: blocksize:hash:hash, as the ssdeep program prints it."""

    ssdeep: str


class HashSsdeep(Worker[Options]):
    """The ssdeep digest. Pure Python at about 1 MB a second, so larger files are left out."""

    libraries = {"ppdeep": "ppdeep (in requirements.txt)"}
    essential = False
    limits = Limits(input_bytes=4 * MiB, wall_ms=20_000)
    result = SsdeepResult

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield one `SsdeepResult`; nothing for an empty payload."""
        if payload.size:
            import ppdeep

            yield SsdeepResult(ppdeep.hash(payload.content))
