"""TLSH, a locality sensitive digest, and its distance to digests that are known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from stoq_core.errors import ConfigError
from stoq_core.job import Job
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_DIGEST = re.compile(r"(?:T1)?[0-9A-Fa-f]{70}")


class TlshOptions(Options, frozen=True):
    """What to compare with."""

    known: Annotated[dict[str, str], about("known digests: name = digest")] = {}
    max_distance: Annotated[int, about("report those at most this far away", ge=0)] = 50


class TlshMatch(msgspec.Struct, frozen=True):
    """A known digest that is near."""

    name: str
    distance: int


class TlshResult(msgspec.Struct, frozen=True):
    """`tlsh` digest (T1…), and `matches` among the known ones, nearest first."""

    tlsh: str
    matches: list[TlshMatch]


class Tlsh(Worker[TlshOptions]):
    """The TLSH digest; no result below 50 bytes or for bytes with too little variety."""

    libraries = {"tlsh": "the extra image (requirements-image.txt; it needs a C++ compiler)"}
    essential = False
    result = TlshResult

    def __init__(self, options: TlshOptions, name: str) -> None:
        """Refuse known digests that are none."""
        super().__init__(options, name)
        for label, digest in options.known.items():
            if not _DIGEST.fullmatch(digest):
                msg = f"worker.{name}.known.{label}: {digest!r} is no TLSH digest (T1 and 70 hex digits)"
                raise ConfigError(msg)

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield one `TlshResult`, or nothing."""
        import tlsh

        digest = tlsh.hash(payload.content)
        if digest in ("", "TNULL"):
            return
        near = [TlshMatch(name, tlsh.diff(digest, one)) for name, one in sorted(self.options.known.items())]
        matches = [one for one in near if one.distance <= self.options.max_distance]
        yield TlshResult(digest, sorted(matches, key=lambda one: one.distance))
