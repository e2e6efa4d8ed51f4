"""Shannon entropy of the whole payload and of its blocks, in bits a byte."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any

import msgspec

from stoq_core.job import Job
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_MAX_BLOCKS = 4_096
# yara-x counts bytes in Rust: 20 MB take 24 ms here, 256 times bytes.count 2.1 s
_RULE = 'import "math" import "console" rule e { condition: console.log("", math.entropy(0, filesize)) }'


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

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield one `EntropyResult`; nothing for an empty payload."""
        if not payload.size:
            return
        measure, _IDLE.measure = _IDLE.measure or _Measure(), None
        result = self._result(payload, measure)
        _IDLE.measure = measure  # only now: what an interrupted scan leaves in it is not known
        yield result

    def _result(self, payload: Payload, measure: _Measure) -> EntropyResult:
        whole = measure.payload(payload)
        size = self.options.block_bytes
        if not size:
            return EntropyResult(whole)
        size = max(size, -(-payload.size // _MAX_BLOCKS))
        view = payload.view()
        blocks = [measure.bytes(bytes(view[at : at + size])) for at in range(0, len(view), size)]
        return EntropyResult(whole, size, blocks)


class _Measure:
    """A scanner whose one rule logs the entropy."""

    def __init__(self) -> None:
        import yara_x

        self._logged: list[str] = []
        self._scanner = yara_x.Scanner(_rules())
        self._scanner.console_log(self._logged.append)

    def bytes(self, content: bytes) -> float:
        self._scanner.scan(content)
        return round(float(self._logged.pop()), 6)

    def payload(self, payload: Payload) -> float:
        fd = payload.body.fd
        if fd is None or not os.path.exists("/proc/self/fd"):
            return self.bytes(payload.content)
        payload.body.rest()
        self._scanner.scan_file(f"/proc/self/fd/{fd}")
        entropy = round(float(self._logged.pop()), 6)
        self._scanner.scan(b"")  # it keeps the last file mapped until the next scan
        self._logged.clear()
        return entropy


@cache
def _rules() -> Any:
    import yara_x

    return yara_x.compile(_RULE)


class _Idle(threading.local):
    """A scanner serves one thread, and making one costs three times the scan of a small file."""

    measure: _Measure | None = None


_IDLE = _Idle()
