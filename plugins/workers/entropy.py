"""Shannon entropy of the whole payload and of its blocks, in bits a byte."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec

from plugins._text.entropy import Measure, borrow, give_back
from stoq_core.job import Job
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_MAX_BLOCKS = 4_096


class EntropyOptions(Options, frozen=True):
    """How fine."""

    block_bytes: Annotated[int, about("size of a block in bytes; 0 for none", ge=0)] = 0


class EntropyResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """`entropy` of all bytes (0 to 8); `blocks` that of each block, `block_bytes` their size."""

    entropy: float
    block_bytes: int | None = None
    blocks: list[float] | None = None


class Entropy(Worker[EntropyOptions]):
    """Entropy in bits a byte. Blocks grow where there would be more than 4,096 of them."""

    libraries = {"yara_x": "yara-x (in requirements.txt)"}
    essential = False
    result = EntropyResult

    def warm(self) -> None:
        """Import the library."""
        import yara_x  # noqa: F401 - warmed before the fork

    def scan(self, payload: Payload, job: Job) -> Iterable[Any]:
        """One `EntropyResult`; nothing for an empty payload."""
        if not payload.size:
            return []
        measure = borrow()
        result = self._result(payload, measure)
        give_back(measure)  # only now: what an interrupted scan leaves in it is not known
        return [result]

    def _result(self, payload: Payload, measure: Measure) -> EntropyResult:
        whole = measure.payload(payload)
        size = self.options.block_bytes
        if not size:
            return EntropyResult(whole)
        size = max(size, -(-payload.size // _MAX_BLOCKS))
        view = payload.view()
        blocks = [measure.bytes(bytes(view[at : at + size])) for at in range(0, len(view), size)]
        return EntropyResult(whole, size, blocks)
