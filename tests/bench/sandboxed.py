"""The same work inline and in the sandbox, side by side with the bare libraries: wall time, and memory."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3

from handlers import bootstrap
from stoq_core.body import Body, BodyWriter
from stoq_core.limits import Deadline, MiB
from stoq_core.payload import Payload, PayloadMeta, Request
from stoq_core.pipeline import Pipeline
from tests import servers

ROUNDS = 7
SCAN_ID = "11111111-1111-4111-8111-111111111111"
PLUGINS = Path(__file__).resolve().parents[1] / "stoq_core" / "sandbox" / "hostile"
ROUTES = {"dispatcher.filetype.routes": str(Path(__file__).with_name("routes.toml"))}
MODES: dict[str, dict[str, Any]] = {
    "inline": {"sandbox.mode": "inline"},
    "1 child": {"sandbox.processes": 1, "sandbox.share_children": True},
    "2 children": {"sandbox.processes": 2, "sandbox.share_children": True},
}


def wall(call: Callable[[], Any]) -> float:
    """Seconds."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def side_by_side(work: str, ways: dict[str, Callable[[], Any]], goal: str, *, per: int = 1) -> None:
    """Print one row: the median of each way, measured in turns, and its ratio to the first, the limit."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, call in ways.items():
            times[name].append(wall(call) / per)
    middles = {name: statistics.median(found) for name, found in times.items()}
    limit = next(iter(middles.values()))
    cells = [f"{name} {_text(one)} ({one / limit:.2f})" for name, one in middles.items()]
    print(f"{work}\n    {'; '.join(cells)}; goal {goal}", flush=True)


def _text(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs" if seconds < 0.002 else f"{seconds * 1e3:.1f} ms"


@contextlib.contextmanager
def pipeline(mode: str, *always: str, **settings: Any) -> Iterator[Pipeline]:
    """A pipeline without stores."""
    overrides = {"scan.only": list(always), "limits.payloads": 20_000, **MODES[mode], **settings}
    one = bootstrap.pipeline(bootstrap.configured({}, overrides.items()))
    bootstrap.settled()  # as every handler does
    try:
        yield one
    finally:
        one.close()


def scan(one: Pipeline, *contents: bytes | Body) -> None:
    """One request with these roots."""
    roots = [Payload(content, PayloadMeta()) for content in contents]
    one.scan(Request(scan_id=SCAN_ID, payloads=roots), Deadline.after_ms(600_000))


def starts() -> None:
    """Process start to first result: the whole pipeline, beside the imports that it cannot do without."""
    script = (
        "import os\n"
        "from handlers import first_import, bootstrap\n"
        "from stoq_core.limits import Deadline\n"
        "from stoq_core.payload import Payload, Request\n"
        "one = bootstrap.pipeline(bootstrap.configured({}, SETTINGS))\n"
        f"one.scan(Request(scan_id='{SCAN_ID}', payloads=[Payload(b'x' * 1024)]), Deadline.after_ms(9000))\n"
        "os._exit(0)\n"
    )
    bare = "import msgspec, tomllib, uuid, hashlib; hashlib.sha256(b'x')"
    rules = (
        f"{bare}; import yara_x, puremagic; from plugins._rules.yara import ruleset;"
        "yara_x.Scanner(ruleset('').rules).scan(b'x')"
    )
    few: dict[str, Any] = {"scan.only": ["hash"], "scan.dispatchers": []}
    all_four = {"scan.only": ["hash", "mimetype", "yara"], "scan.dispatchers": ["filetype", "yara"]}
    for work, limit, settings, goal in (
        ("start → first result: hash", bare, few, "inline <= 1.3, sandboxed <= 1.6"),
        ("start → first result: yara, hash, mimetype", rules, all_four, "inline <= 1.5, sandboxed <= 1.8"),
    ):
        ways = {"limit": process(limit)}
        for mode in ("inline", "1 child"):
            code = script.replace("SETTINGS", repr([*(settings | MODES[mode]).items()]))
            ways[mode] = process(code, STOQ_SANDBOX__MODE="inline" if mode == "inline" else "process")
        side_by_side(work, ways, goal)


def process(code: str, **settings: str) -> Callable[[], Any]:
    """A fresh interpreter that runs `code`, as an entry point with these settings."""
    command, environment = [sys.executable, "-c", code], {**os.environ, **settings}
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)


def functions() -> None:
    """Process start to the stored result of a 1 MB object, as a cold function."""
    script = (
        "import os\n"
        "from handlers import first_import\n"
        "one = first_import.cold_start()\n"
        "from stoq_core.limits import Deadline\n"
        "from stoq_core.payload import ObjectRef\n"
        "ref = ObjectRef(store='s3', bucket='bench', key='object')\n"
        "assert one.scan_ref(ref, deadline=Deadline.after_ms(60_000)).kind == 'stored'\n"
        "os._exit(0)\n"
    )
    bare = (
        "import obstore; from obstore.store import S3Store\n"
        "store = S3Store('bench', endpoint=ADDRESS, client_options={'allow_http': True})\n"
        "content = obstore.get(store, 'object').bytes(); obstore.put(store, 'copy', b'result')\n"
    )
    with servers.moto() as address:
        os.environ.update(servers.CREDENTIALS)
        s3 = boto3.client("s3", endpoint_url=address)
        s3.create_bucket(Bucket="bench")
        s3.put_object(Bucket="bench", Key="object", Body=os.urandom(MiB))
        settings = {
            "STOQ_SCAN__FETCH": '{"s3":"s3"}', "STOQ_SCAN__CONNECTORS": '["s3"]',
            "STOQ_ARCHIVER__S3__BUCKET": "bench", "STOQ_ARCHIVER__S3__ENDPOINT": address,
            "STOQ_CONNECTOR__S3__BUCKET": "bench", "STOQ_CONNECTOR__S3__PREFIX": "results/",
            "STOQ_CONNECTOR__S3__ENDPOINT": address, "STOQ_SCAN__ALWAYS": '["hash","mimetype","yara"]',
        }  # fmt: skip

        ways = {
            "limit": process(bare.replace("ADDRESS", repr(address))),
            "inline": process(script, STOQ_SANDBOX__MODE="inline", **settings),
            "sandboxed": process(script, **settings),
        }
        side_by_side(
            "start → 1 MB S3 object scanned and stored", ways, "inline <= 200 ms, sandboxed <= 250 ms"
        )


def payloads() -> None:
    """What a payload costs: with a worker that does nothing, and with four that do."""
    small = [b"%d" % n + bytes(1020) for n in range(2_000)]
    with contextlib.ExitStack() as stack:
        own = {"plugin_paths": [str(PLUGINS)], "scan.dispatchers": []}
        made = {mode: stack.enter_context(pipeline(mode, "later", **own)) for mode in MODES}
        ways = {mode: (lambda one=one: scan(one, *small)) for mode, one in made.items()}
        side_by_side("a 1 KB payload, one no-op worker", ways, "sandboxed <= 200 µs", per=len(small))
    files = [os.urandom(10_240) for _ in range(2_000)]
    with contextlib.ExitStack() as stack:
        four = ("hash", "mimetype", "entropy", "yara")
        made = {mode: stack.enter_context(pipeline(mode, *four)) for mode in MODES}
        ways = {mode: (lambda one=one: scan(one, *files)) for mode, one in made.items()}
        ways["2 children on one core"] = lambda: on_one_core(ways["2 children"])
        goal = "inline <= 300 µs, sandboxed <= 450 µs, on two cores half of what it takes on one"
        side_by_side("10 KB: hash, mimetype, entropy, yara", ways, goal, per=len(files))


def archive(work: str, content: bytes, limit: Callable[[], Any]) -> None:
    """An archive taken apart: three hashes and the type of each payload."""
    with contextlib.ExitStack() as stack:
        made = {
            mode: stack.enter_context(
                pipeline(mode, "hash", "mimetype", **{"scan.dispatchers": ["filetype"]}, **ROUTES)
            )
            for mode in MODES
        }
        ways = {"limit": limit, **{mode: (lambda one=one: scan(one, content)) for mode, one in made.items()}}
        side_by_side(work, ways, "inline <= 1.3, sandboxed <= 2")


def large(limit: Callable[[bytes], Any]) -> None:
    """100 MB of random bytes, and how much memory the whole family of processes has for it."""
    content = os.urandom(100_000_000)
    with contextlib.ExitStack() as stack:
        chosen = {"scan.dispatchers": ["yara"]}
        made = {mode: stack.enter_context(pipeline(mode, "hash", "yara", **chosen)) for mode in MODES}
        bodies = {mode: (lambda one=one: scan(one, body_of(content))) for mode, one in made.items()}
        ways = {"limit": lambda: limit(content), "copy": lambda: body_of(content), **bodies}
        side_by_side("100 MB random: hash + yara", ways, "sandboxed <= 1.1 beside what the copy costs")
        with pipeline("1 child", "hash", "yara", **chosen) as one:
            scan(one, b"warm")
            body = body_of(content)
            before = family_bytes()  # the memory file is mapped nowhere yet, so it is not in this
            peak = peak_of(lambda: scan(one, body))
        print(
            f"    broker, zygote and child together: +{(peak - before) / MiB:.0f} MB for a payload of"
            f" {len(content) / MiB:.0f} MB; goal <= payload + 60 MB",
            flush=True,
        )


def body_of(content: bytes) -> Body:
    """The bytes as a store's download leaves them: in a memory file."""
    writer = BodyWriter()
    for at in range(0, len(content), MiB):
        writer.write(content[at : at + MiB])
    return writer.finish()


def family() -> list[int]:
    """The ids of this process and of all below it."""
    found, pids = [], [os.getpid()]
    while pids:
        pid = pids.pop()
        found.append(pid)
        with contextlib.suppress(OSError):
            pids += [
                int(one)
                for task in os.listdir(f"/proc/{pid}/task")
                for one in Path(f"/proc/{pid}/task/{task}/children").read_text().split()
            ]
    return found


def family_bytes() -> int:
    """Memory of the family; what several map is counted once (proc(5), Pss)."""
    total = 0
    for pid in family():
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(rollup.partition("\nPss:")[2].split()[0]) * 1024
    return total


def on_one_core(call: Callable[[], Any]) -> None:
    """Call while the whole family shares one core; whoever is born meanwhile shares it, too."""
    cores = os.sched_getaffinity(0)
    try:
        _move({min(cores)})
        call()
    finally:
        _move(cores)


def _move(cores: set[int]) -> None:
    for pid in family():
        with contextlib.suppress(OSError):
            os.sched_setaffinity(pid, cores)


def peak_of(call: Callable[[], Any]) -> int:
    """The most memory the family had while `call` ran."""
    peak, done = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, family_bytes())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        call()
    finally:
        done.set()
        thread.join()
    return peak
