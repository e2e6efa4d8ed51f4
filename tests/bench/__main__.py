"""`make bench`: each row's work by the project and by the bare libraries, as a ratio of the same run."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import resource
import subprocess
import sys
import tarfile
import time
import uuid
import zipfile
from collections.abc import Callable
from typing import Any

import msgspec
import yara_x

from handlers import bootstrap
from handlers.local.samples import bomb
from stoq_core.examine import Task, examine
from stoq_core.limits import Deadline, MiB, RequestLimits
from stoq_core.payload import Request
from stoq_core.pipeline import Pipeline, payload_of
from stoq_core.render import encode, flat_documents
from stoq_core.response import ScanResponse
from tests.kit import Source, worker
from tests.responses import response

RANDOM = random.Random(1)


def median(call: Callable[[], Any], rounds: int = 5) -> float:
    """Median wall time in seconds."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return sorted(times)[rounds // 2]


def row(work: str, ours: float, limit: float, goal: str) -> None:
    """Print one row; times in milliseconds."""
    print(f"{work:<58} {ours * 1000:>10.3f} {limit * 1000:>10.3f} {ours / limit:>7.2f}  {goal}", flush=True)


def pipeline(*always: str, **limits: int) -> Pipeline:
    """A pipeline without stores."""
    overrides: list[tuple[str, Any]] = [("sandbox.mode", "inline"), ("scan.always", list(always))]
    overrides += [(f"limits.{name}", value) for name, value in limits.items()]
    return bootstrap.pipeline(bootstrap.configured({}, overrides))


def scan(one: Pipeline, content: bytes, name: str = "x") -> ScanResponse:
    """One request."""
    request = Request(scan_id=str(uuid.uuid4()), payloads=[payload_of(content, name)])
    return one.scan(request, Deadline.after_ms(600_000))


def process(code: str) -> float:
    """Wall time of a fresh interpreter."""
    return median(
        lambda: subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL), 9
    )


def start() -> None:
    """Process start to the first result."""
    prelude = "import msgspec, tomllib, uuid, hashlib;"
    ours = process(
        "from stoq_core.testing import make, payload, run; from plugins.workers.hash import Hash;"
        "print(run(make(Hash), b'x' * 1024).result)"
    )
    row("start → first result, 1 KB, hash", ours, process(prelude + "hashlib.sha256(b'x')"), "<= 1.3")


def no_op() -> None:
    """A 1 KB payload through one worker that does nothing."""
    source = Source({"n": worker(lambda _p, _j: iter(()))}, always=["n"])
    content, limits, deadline = payload_of(b"x" * 1024), RequestLimits(), Deadline.after_ms(600_000)

    def ours() -> None:
        for _ in range(1000):
            task = Task(payload=content, limits=limits, deadline=deadline, bytes_left=1, children_left=1)
            for _entry in examine(task, source):
                pass

    seconds = median(ours) / 1000
    print(f"{'a 1 KB payload, one no-op worker':<58} {seconds * 1e6:>7.1f} µs, goal <= 25 µs")


def many_small() -> None:
    """2,000 files of 10 KB: hash, mimetype, entropy, yara."""
    from plugins._yara import ruleset

    files = [RANDOM.randbytes(10_240) for _ in range(2000)]
    one, scanner = pipeline("hash", "mimetype", "entropy", "yara"), yara_x.Scanner(ruleset("").rules)

    def limit() -> None:
        for content in files:
            for name in ("md5", "sha1", "sha256"):
                hashlib.new(name, content).hexdigest()
            scanner.scan(content)

    ours = median(lambda: [scan(one, content) for content in files], 3)
    row(
        "2,000 x 10 KB: hash, mimetype, entropy, yara",
        ours,
        median(limit, 3),
        f"{ours / 2000 * 1e6:.0f} µs each, goal <= 300",
    )


def archives() -> None:
    """A tar.gz of 500 files, and three levels of zips with 531 payloads."""
    files = {f"d/{n}.txt": RANDOM.randbytes(RANDOM.randrange(100, 20_000)) for n in range(500)}
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as made:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    packed = gzip.compress(tar.getvalue())
    one = pipeline("hash", "mimetype")
    one.config.scan  # noqa: B018 - built before it is timed

    def digests(content: bytes) -> None:
        for name in ("md5", "sha1", "sha256"):
            hashlib.new(name, content).hexdigest()

    def limit() -> None:
        digests(packed)
        plain = gzip.decompress(packed)
        digests(plain)
        with tarfile.open(fileobj=io.BytesIO(plain)) as opened:
            for member in opened:
                file = opened.extractfile(member)
                if file:
                    digests(file.read())

    row(
        "tar.gz of 500 files: extract, 3 hashes, type",
        median(lambda: scan(one, packed, "x.tar.gz")),
        median(limit),
        "<= 1.3",
    )
    outer = _zip({f"{n}.zip": _zip(dict(list(files.items())[n * 16 : n * 16 + 16])) for n in range(31)})

    def unzip(content: bytes, depth: int) -> None:
        digests(content)
        if depth:
            with zipfile.ZipFile(io.BytesIO(content)) as opened:
                for name in opened.namelist():
                    unzip(opened.read(name), depth - 1)

    row(
        "3-level zip, 528 payloads",
        median(lambda: scan(one, outer)),
        median(lambda: unzip(outer, 2)),
        "<= 1.3",
    )


def _zip(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return out.getvalue()


def large() -> None:
    """100 MB of random bytes: hash and yara."""
    from plugins._yara import ruleset

    content = os.urandom(100_000_000)
    one, scanner = pipeline("hash", "yara"), yara_x.Scanner(ruleset("").rules)

    def limit() -> None:
        for name in ("md5", "sha1", "sha256"):
            hashlib.new(name, content).hexdigest()
        scanner.scan(content)

    row("100 MB random: hash + yara", median(lambda: scan(one, content), 3), median(limit, 3), "<= 1.05")


def documents() -> None:
    """JSON and flat documents of 1,000 payloads."""
    made = response(children=999)
    plain = msgspec.json.decode(encode(made))
    row(
        "JSON of 1,000 payloads",
        median(lambda: encode(made)),
        median(lambda: msgspec.json.encode(plain)),
        "<= 2",
    )
    seconds = median(lambda: flat_documents(made))
    print(f"{'flat documents of 1,000 payloads':<58} {seconds * 1000:>10.3f} ms, goal <= 10 ms")


def bombs() -> None:
    """Hostile archives, each in a process of its own: time, peak memory, verdict."""
    for name in ("ten_gib", "many_big", "levels", "entries"):
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench", name], check=True, capture_output=True, text=True
        )
        print(done.stdout.strip(), flush=True)


def hostile(name: str) -> bytes:
    """One of the four."""
    if name == "ten_gib":
        return bomb(10 * 1024)
    if name == "many_big":
        return _zip({f"{n}": bytes([n]) * (40 * MiB) for n in range(256)})
    if name == "levels":
        content = b"bottom"
        for level in range(42):
            content = _zip({f"{level}.zip": content})
        return content
    return _zip({f"{n}": b"" for n in range(100_000)})


def measure(name: str) -> None:
    """Scan one hostile archive and print what it took."""
    content = hostile(name)
    one = pipeline("hash", "mimetype", "yara")
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    made = scan(one, content)
    seconds = time.perf_counter() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident) / 1024
    verdict = made.verdict
    reasons = sorted({one.reason.value for one in verdict.unread}) if verdict else []
    print(
        f"{name:<10} {seconds:6.2f} s, +{grown:.0f} MB resident, {len(made.results)} payloads, {json.dumps(reasons)}"
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1])
    else:
        print(f"{'work':<58} {'ours, ms':>10} {'limit, ms':>10} {'ratio':>7}  goal (inline)")
        for each in (start, no_op, many_small, archives, large, documents, bombs):
            each()
