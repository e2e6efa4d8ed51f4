"""`make bench`: each row's work by the project and by the bare libraries, as a ratio of the same run."""

from __future__ import annotations

import functools
import gc
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
import tempfile
import time
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import yara_x

from handlers import bootstrap
from handlers.local.samples import bomb
from plugins._formats.filetype import UNKNOWN, identify
from plugins._rules.yara import ruleset
from plugins._text.entropy import Measure
from plugins.workers.mimetype import _by_puremagic
from stoq_core.limits import Deadline, MiB, RequestLimits
from stoq_core.payload import Payload, Request
from stoq_core.pipeline import Pipeline, payload_of
from stoq_core.render import encode, flat_documents
from stoq_core.response import ScanResponse
from stoq_core.scan.examine import Task, examine
from stoq_core.scan.journal import Listener
from tests.bench import sandboxed
from tests.kit import Source, worker

RANDOM = random.Random(1)
ROUNDS = 7
HELD_MB = RequestLimits().payload_bytes // MiB
Times = tuple[float, float]


def cpu(call: Callable[[], Any], who: int = resource.RUSAGE_SELF) -> float:
    """Seconds of user and system time, in all threads of this process or in its children."""
    before = resource.getrusage(who)
    call()
    after = resource.getrusage(who)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def medians(ours: Callable[[], Any], limit: Callable[[], Any], who: int = resource.RUSAGE_SELF) -> Times:
    """Both, measured in turns, so that what disturbs the machine disturbs both.

    The garbage of one is collected before the other begins.
    """
    times: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        gc.collect()
        mine = cpu(ours, who)
        gc.collect()
        times.append((mine, cpu(limit, who)))
    middle = ROUNDS // 2
    return sorted(one for one, _ in times)[middle], sorted(one for _, one in times)[middle]


def row(work: str, times: Times, goal: str) -> None:
    """Print one row; CPU times in milliseconds."""
    ours, limit = times
    print(f"{work:<58} {ours * 1000:>10.3f} {limit * 1000:>10.3f} {ours / limit:>7.2f}  {goal}", flush=True)


def pipeline(*always: str, dispatchers: tuple[str, ...] = (), **settings: Any) -> Pipeline:
    """A pipeline without stores."""
    overrides: list[tuple[str, Any]] = [
        *settings.items(),
        ("sandbox.mode", "inline"),
        ("scan.only", list(always)),
        ("scan.dispatchers", list(dispatchers)),
    ]
    made = bootstrap.pipeline(bootstrap.configured({}, overrides))
    bootstrap.settled()  # as every handler does
    return made


def scan(one: Pipeline, content: bytes, name: str = "x") -> ScanResponse:
    """One request."""
    request = Request(scan_id=str(uuid.uuid4()), payloads=[payload_of(content, name)])
    return one.scan(request, Deadline.after_ms(600_000))


def digests(content: bytes) -> None:
    """What the worker hash does, by the library alone."""
    for name in ("md5", "sha1", "sha256"):
        hashlib.new(name, content).hexdigest()


def type_of(content: bytes) -> None:
    """What the worker mimetype does: its table, then the library."""
    if identify(memoryview(content)) is UNKNOWN:
        _by_puremagic(Payload(content[:4096]))


def process(code: str) -> Callable[[], Any]:
    """A fresh interpreter that runs `code`."""
    return lambda: subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def start() -> None:
    """Process start to the first result."""
    prelude = "import msgspec, tomllib, uuid, hashlib;"
    ours = process(
        "from stoq_core.testing import make, payload, run; from plugins.workers.hash import Hash;"
        "print(run(make(Hash), b'x' * 1024).result)"
    )
    times = medians(ours, process(prelude + "hashlib.sha256(b'x')"), resource.RUSAGE_CHILDREN)
    row("start → first result, 1 KB, hash", times, "<= 1.3")


def no_op() -> None:
    """A 1 KB payload through one worker that does nothing."""
    source = Source({"n": worker(lambda _p, _j: iter(()))}, always=["n"])
    content, limits, deadline = payload_of(b"x" * 1024), RequestLimits(), Deadline.after_ms(600_000)

    def ours() -> None:
        for _ in range(1000):
            task = Task(payload=content, limits=limits, deadline=deadline, bytes_left=1, children_left=1)
            examine(task, source, Listener())

    seconds = min(cpu(ours) for _ in range(ROUNDS)) / 1000
    print(f"{'a 1 KB payload, one no-op worker':<58} {seconds * 1e6:>7.1f} µs, goal <= 25 µs")


def many_small() -> None:
    """2,000 files of 10 KB: hash, mimetype, entropy, yara."""
    files = [RANDOM.randbytes(10_240) for _ in range(2000)]
    one = pipeline("hash", "mimetype", "entropy", "yara", dispatchers=("filetype", "yara"))
    scanner, entropy = yara_x.Scanner(ruleset("").rules), Measure()

    def limit() -> None:
        for content in files:
            digests(content)
            type_of(content)
            entropy.bytes(content)
            scanner.scan(content)

    times = medians(lambda: [scan(one, content) for content in files], limit)
    goal = f"{times[0] / 2000 * 1e6:.0f} µs each, goal <= 300 (limit {times[1] / 2000 * 1e6:.0f})"
    row("2,000 x 10 KB: hash, mimetype, entropy, yara", times, goal)


def archive_samples() -> list[tuple[str, bytes, Callable[[], None]]]:
    """A tar.gz of 500 files and three levels of zips: what to call it, its bytes, the libraries' own work."""
    files = {f"d/{n}.txt": RANDOM.randbytes(RANDOM.randrange(100, 20_000)) for n in range(500)}
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as made:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    packed = gzip.compress(tar.getvalue())
    outer = _zip({f"{n}.zip": _zip(dict(list(files.items())[n * 16 : n * 16 + 16])) for n in range(31)})
    return [
        ("tar.gz of 500 files: extract, 3 hashes, type", packed, lambda: untar(packed)),
        ("3-level zip, 528 payloads: extract, 3 hashes, type", outer, lambda: unzip(outer, 2)),
    ]


def untar(packed: bytes) -> None:
    """The tar.gz by the libraries alone."""
    plain = gzip.decompress(packed)
    for content in (packed, plain):
        digests(content)
        type_of(content)
    with tarfile.open(fileobj=io.BytesIO(plain)) as opened:
        for member in opened:
            file = opened.extractfile(member)
            if file:
                content = file.read()
                digests(content)
                type_of(content)


def unzip(content: bytes, depth: int) -> None:
    """The zips by the libraries alone."""
    digests(content)
    type_of(content)
    if depth:
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            for name in opened.namelist():
                unzip(opened.read(name), depth - 1)


def archives() -> None:
    """Both, inline."""
    one = pipeline("hash", "mimetype", dispatchers=("filetype",), **sandboxed.ROUTES)
    for work, content, limit in archive_samples():
        row(work, medians(functools.partial(scan, one, content), limit), "<= 1.3")


def side_by_side() -> None:
    """The same work inline and sandboxed."""
    sandboxed.starts()
    sandboxed.functions()
    sandboxed.payloads()
    for work, content, limit in archive_samples():
        sandboxed.archive(work, content, limit)
    sandboxed.large(large_limit)


def _zip(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return out.getvalue()


def large_limit(content: bytes) -> None:
    """Hashes and rules by the libraries alone."""
    digests(content)
    yara_x.Scanner(ruleset("").rules).scan(content)


def large() -> None:
    """100 MB of random bytes: hash and yara."""
    content = os.urandom(100_000_000)
    one = pipeline("hash", "yara", dispatchers=("yara",))
    times = medians(lambda: scan(one, content), lambda: large_limit(content))
    row("100 MB random: hash + yara", times, "<= 1.05")


def documents() -> None:
    """JSON and flat documents of a real result with 1,000 payloads."""
    one = pipeline("hash", "mimetype", "entropy", "yara", dispatchers=("filetype", "yara"))
    made = scan(one, _zip({f"{n}.bin": RANDOM.randbytes(200) for n in range(999)}), "many.zip")
    plain = msgspec.json.decode(encode(made))
    times = medians(
        lambda: [encode(made) for _ in range(20)], lambda: [msgspec.json.encode(plain) for _ in range(20)]
    )
    row("JSON of 1,000 payloads, 20 times", times, "<= 2")
    seconds = min(cpu(lambda: flat_documents(made)) for _ in range(ROUNDS))
    print(f"{'flat documents of 1,000 payloads':<58} {seconds * 1000:>10.3f} ms, goal <= 10 ms")


def bombs() -> None:
    """Hostile archives, each in a process of its own: time, peak memory beyond the start, verdict."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("ten_gib", "many_big", "levels", "entries"):
            file = Path(folder, name)
            file.write_bytes(hostile(name))
            command = [sys.executable, "-m", "tests.bench", str(file)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
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


def peak_kb() -> int:
    """The most this process ever had resident; `ru_maxrss` begins with its parent's."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def measure(file: Path) -> None:
    """Scan one hostile archive and print what it took: resident, and in files without a name."""
    content = file.read_bytes()
    one = pipeline("hash", "mimetype", "yara", dispatchers=("filetype", "yara"))
    scan(one, _zip({"warm": b"up"}))
    before = peak_kb()
    began = time.perf_counter()
    made = scan(one, content)
    seconds = time.perf_counter() - began
    grown = (peak_kb() - before) / 1024
    reasons = sorted({one.reason.value for one in made.verdict.unread}) if made.verdict else []
    print(
        f"{file.name:<10} {seconds:6.2f} s, +{grown:.0f} MB resident (goal <= {HELD_MB + 64}), "
        f"{len(made.results)} payloads, {len(encode(made)) / 1e6:.1f} MB of JSON, {json.dumps(reasons)}"
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(Path(sys.argv[1]))
    else:
        print("CPU time of both, medians of interleaved runs")
        print(f"{'work':<58} {'ours, ms':>10} {'limit, ms':>10} {'ratio':>7}  goal (inline)")
        for each in (start, no_op, many_small, archives, large, documents, bombs):
            each()
        print("\nwall time, inline and sandboxed, and in brackets the ratio to the first")
        side_by_side()
