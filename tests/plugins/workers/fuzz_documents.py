"""Mutate real documents and mails: `python -m tests.plugins.workers.fuzz_documents 60 ole` for a minute."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from typing import Any

from plugins.workers.iocextract import Iocextract
from plugins.workers.mraptor import Mraptor
from plugins.workers.ole import Ole
from plugins.workers.rtf import Rtf
from plugins.workers.smtp import Smtp
from plugins.workers.tnef import Tnef
from stoq_core.limits import RequestLimits
from stoq_core.testing import make, run
from tests import samples
from tests.office_files import document, ole1_object, ole10_native, ooxml, package, rtf

WORKERS: dict[str, Any] = {
    "ole": Ole, "mraptor": Mraptor, "rtf": Rtf, "tnef": Tnef, "smtp": Smtp, "iocextract": Iocextract,
}  # fmt: skip
_SOURCES = {
    "ole": ("oletools", "clamav"), "mraptor": ("oletools",), "rtf": ("oletools", "clamav"), "tnef": ("tnefparse",),
    "smtp": ("mail-parser", "email", "clamav"), "iocextract": ("email", "mail-parser"),
}  # fmt: skip
LIMITS = RequestLimits(payload_bytes=4 * 2**20, extracted_bytes=32 * 2**20, payloads=500)
SLOW_S = 5.0
_MAX_BYTES = 200_000
_NUMBERS = (
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\xfe\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\x80",
    b"\1\0\0\0",
)


def seeds(name: str) -> list[bytes]:
    """Real samples of the worker's formats, and small built ones."""
    macro = document({"A": 'Sub AutoOpen()\r\nShell Chr(99) & "alc"\r\nEnd Sub\r\n', "B": "x = 1\r\n" * 400})
    built = {
        "ole": [macro], "mraptor": [macro, ooxml(word__vbaProject_bin=macro)],
        "rtf": [rtf(ole1_object(b"Package", package("a.txt", b"text")), ole10_native("b", b"c"))],
    }  # fmt: skip
    found = [one.read_bytes() for source in _SOURCES[name] for one in samples.files(source)]
    worker = make(WORKERS[name])
    wanted = [one for one in found if len(one) <= _MAX_BYTES and (name == "smtp" or _concerns(worker, one))]
    return [*built.get(name, []), *wanted]


def _concerns(worker: Any, content: bytes) -> bool:
    ran = run(worker, content)
    return ran.result is not None or bool(ran.children)


def mutated(content: bytes, pick: random.Random) -> bytes:
    """A few bytes set, numbers made extreme, pieces cut, doubled or moved."""
    made = bytearray(content)
    for _ in range(pick.choice((1, 1, 2, 4, 16))):
        if not made:
            break
        at = pick.randrange(len(made))
        size = pick.choice((1, 2, 4, 16, 64, 512))
        how = pick.randrange(7)
        if how <= 1:
            made[at] = pick.randrange(256)
        elif how == 2:
            made[at & ~3 : (at & ~3) + 4] = pick.choice(_NUMBERS)
        elif how == 3:
            del made[at : at + size]
        elif how == 4:
            made[at:at] = made[at : at + size] * pick.choice((1, 3, 40))
        elif how == 5:
            other = pick.randrange(len(made))
            made[at : at + size] = made[other : other + size]
        elif pick.random() < 0.2:
            del made[at:]
    return bytes(made)


def fuzz(name: str, seconds: float, seed: int) -> Iterator[tuple[int, bytes, str]]:
    """Number, input and what happened, for each input that raised anything or took too long."""
    pick, worker, held = random.Random(seed), make(WORKERS[name]), seeds(name)
    worker.warm()
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        number += 1
        content = mutated(pick.choice(held), pick)
        began = time.process_time()
        try:
            ran = run(worker, content, limits=LIMITS)
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            yield number, content, f"{type(error).__name__}: {error}"
            continue
        if sum(one.body.size for one in ran.children) > LIMITS.extracted_bytes:
            yield number, content, "more bytes than the limits allow"
        if time.process_time() - began > SLOW_S:
            yield number, content, f"took {time.process_time() - began:.1f} s"
    print(f"{name}: {number} inputs in {seconds:.0f} s")  # noqa: T201 - a report


def main() -> int:
    """Fuzz one worker or all; what is found goes into files named after it."""
    seconds, names = float(sys.argv[1]), sys.argv[2:] or list(WORKERS)
    bad = 0
    for name in names:
        for number, content, what in fuzz(name, seconds, seed=time.time_ns()):
            bad += 1
            if bad <= 20:
                print(f"{name} {number}: {what}")  # noqa: T201 - a report
                with open(f"/tmp/fuzz-{name}-{number}.bin", "wb") as file:
                    file.write(content)
    return min(bad, 1)


if __name__ == "__main__":
    raise SystemExit(main())
