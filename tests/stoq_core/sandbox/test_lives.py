"""Children come and go: nothing is lost, nothing leaks, no secret is ever in one of them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from stoq_core.limits import MiB
from stoq_core.payload import Payload, PayloadMeta
from tests.stoq_core.sandbox.stage import Stage, stage

ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0, reason="looks into opaque processes: run as root")
SYSTEM_PYTHON = Path("/usr/bin/python3")


def processes(sandbox: Stage) -> list[psutil.Process]:
    """The zygote and its children."""
    zygote = psutil.Process(sandbox.sandbox._zygote.pid)
    return [zygote, *zygote.children(recursive=True)]


def open_files() -> int:
    """Descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


def shared_memory() -> int:
    """Bytes of memory files that exist on the machine's own tmpfs, ours among them."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Shmem:"):
            return int(line.split()[1]) * 1024
    return 0


def child_pids(pid: int) -> list[int]:
    """A process's children, so fast that they are still at work when one is chosen."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    if not listed.exists():
        return [one.pid for one in psutil.Process(pid).children()]
    return [int(one) for one in listed.read_text().split()]


def survives(sandbox: Stage, payloads: int, every: int) -> None:
    """Scan so many payloads while a child is killed about every so many; each has its report, once."""
    killed = ended = 0
    dice = random.Random(1)
    done = sandbox.sandbox.done

    def counted(*words: Any) -> None:
        nonlocal killed, ended
        done(*words)
        ended += 1
        if ended % every == 0 and (children := child_pids(sandbox.sandbox._zygote.pid)):
            with contextlib.suppress(ProcessLookupError):  # it ended by itself just now
                os.kill(dice.choice(children), signal.SIGKILL)
                killed += 1

    sandbox.sandbox.done = counted  # type: ignore[method-assign]
    roots = [
        Payload(b"payload %d" % n, PayloadMeta(extra_data={"filename": str(n)})) for n in range(payloads)
    ]
    try:
        scanned = sandbox.scan(*roots, wall_ms=600_000)
    finally:
        sandbox.sandbox.done = done  # type: ignore[method-assign]
    assert killed > payloads // every // 2
    assert [one.name for one in scanned.reports] == [str(n) for n in range(payloads)]
    blamed = {one.payload_id for one in scanned.errors}
    for report in scanned.reports:
        whole = report.result_of("later") == {"size": report.size} and report.result_of("hash")
        assert whole or report.payload_id in blamed
        assert bool(report.unread) == (report.payload_id in blamed)
    assert {one.code for one in scanned.errors} <= {"memory", "crashed"}


def test_children_killed_at_random() -> None:
    """Whoever kills them: every payload has its report, and whatever was lost is named."""
    with stage(limits__payloads=1_000) as sandbox:
        survives(sandbox, payloads=200, every=20)


@pytest.mark.soak
def test_ten_thousand_payloads_with_children_killed_at_random() -> None:
    """The full number; memory and descriptors are what they were."""
    with stage(limits__payloads=20_000) as sandbox:
        survives(sandbox, payloads=1_000, every=50)
        files, resident = open_files(), psutil.Process().memory_info().rss
        survives(sandbox, payloads=10_000, every=50)
        assert open_files() <= files + 2
        assert psutil.Process().memory_info().rss < resident + 64 * MiB


def requests(sandbox: Stage, count: int) -> None:
    """So many requests in one process, some of them hostile, some large; nothing is left behind."""
    large = bytes(range(256)) * (6 * MiB // 256)
    attacks = [b"harmless", large, b"DO leave 3\n", b"DO crash\n", b"also harmless"]
    for one in attacks:
        sandbox.scan(one)
    time.sleep(0.3)
    files, threads = open_files(), threading.active_count()
    resident, shared = psutil.Process().memory_info().rss, shared_memory()
    for n in range(count):
        sandbox.scan(attacks[n % len(attacks)])
    time.sleep(0.3)
    assert open_files() == files
    assert threading.active_count() == threads
    assert psutil.Process().memory_info().rss < resident + 16 * MiB
    assert shared_memory() < shared + 64 * MiB
    family = processes(sandbox)
    assert len(family) <= 1 + sandbox.sandbox.processes
    assert not [one for one in family if one.status() == psutil.STATUS_ZOMBIE]
    assert not [one for one in psutil.Process().children() if one.status() == psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("share", [False, True])
def test_requests_leave_nothing_behind(share: bool) -> None:
    """As a function runs: no zombie, no descriptor, no memory file, no growth."""
    with stage(sandbox__share_children=share) as sandbox:
        requests(sandbox, 25)


@pytest.mark.soak
def test_two_hundred_requests_leave_nothing_behind() -> None:
    """The full number."""
    with stage() as sandbox:
        requests(sandbox, 200)


def test_no_child_sees_two_requests_unless_it_may() -> None:
    """What one request's file did to its child is gone before the next request's bytes come."""
    for share in (False, True):
        with stage(sandbox__share_children=share, sandbox__processes=1) as sandbox:
            sandbox.scan(b"first")
            before = {one.pid for one in processes(sandbox)[1:]}
            sandbox.scan(b"second")
            after = {one.pid for one in processes(sandbox)[1:]}
            assert bool(before & after) == share


def test_a_child_is_replaced_in_time() -> None:
    """After so many payloads a child has had enough."""
    with stage(sandbox__share_children=True, sandbox__processes=1, sandbox__recycle_payloads=5) as sandbox:
        seen = set()
        for n in range(12):
            sandbox.scan(b"payload %d" % n)
            seen |= {one.pid for one in processes(sandbox)[1:]}
        assert len(seen) >= 3


def test_a_zygote_that_dies_is_replaced() -> None:
    """Even the process that children come from may be killed; the next request has a new one."""
    with stage() as sandbox:
        sandbox.scan(b"first")
        before = sandbox.sandbox._zygote.pid
        family = [one.pid for one in processes(sandbox)]
        os.kill(before, signal.SIGKILL)
        wait_until_gone(family)
        done = sandbox.scan(b"second")
        assert done.reports[0].result_of("later") == {"size": 6}
        assert sandbox.sandbox._zygote.pid != before


def test_a_broker_that_forks_has_a_sandbox_of_its_own() -> None:
    """As a server that loads the function first and forks its workers then; both go on scanning."""
    with stage() as sandbox:
        sandbox.scan(b"first")
        before = sandbox.sandbox._zygote.pid
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                done = sandbox.scan(b"in the worker")
                said = f"{done.reports[0].result_of('later')} {sandbox.sandbox._zygote.pid}"
                sandbox.sandbox.close()
                os.write(writer, said.encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as answer:
            said = answer.read()
        os.waitpid(pid, 0)
        assert said.startswith("{'size': 13}")
        assert int(said.rpartition(" ")[2]) != before
        assert sandbox.scan(b"after it").reports[0].result_of("later") == {"size": 8}
        assert sandbox.sandbox._zygote.pid == before


def test_a_child_that_stays_is_ended() -> None:
    """A child that does not leave when its request is over, since it was taken over, is killed."""
    with stage(sandbox__processes=1) as sandbox:
        sandbox.scan(b"DO linger\n")
        time.sleep(0.5)
        family = processes(sandbox)
        assert len(family) <= 2
        assert all(one.cpu_times().user < 0.4 for one in family[1:])


def test_the_zygote_never_waits_for_the_broker() -> None:
    """Thousands of children come and go though nobody asks how they ended."""
    with stage(sandbox__processes=1) as sandbox:
        zygote = sandbox.sandbox._zygote
        for _ in range(300):
            zygote.dismiss(zygote.fork())
        assert sandbox.scan(b"still there").reports[0].result_of("later") == {"size": 11}
        assert len(zygote._exits) + len(zygote._dismissed) < 20


def test_the_family_ends_with_the_broker(tmp_path: Path) -> None:
    """A broker that is killed leaves no process behind."""
    script = (
        "import sys, time\n"
        "from tests.stoq_core.sandbox.stage import Stage, settings\n"
        "one = Stage(settings()); one.scan(b'x')\n"
        "import psutil\n"
        "zygote = psutil.Process(one.sandbox._zygote.pid)\n"
        "print(zygote.pid, *[p.pid for p in zygote.children()], flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as broker:
        assert broker.stdout is not None
        family = [int(one) for one in broker.stdout.readline().split()]
        broker.kill()
    wait_until_gone(family)


def wait_until_gone(family: list[int]) -> None:
    """Until none of these processes runs any more."""
    until = time.monotonic() + 10
    while not all(is_gone(pid) for pid in family):
        assert time.monotonic() < until
        time.sleep(0.05)


def is_gone(pid: int) -> bool:
    """True for a process that has ended, though nobody may have reaped it yet."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@ROOT_ONLY
def test_no_credential_is_in_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment, command line, descriptors and all memory of zygote and children: no planted secret."""
    secret = "AKIA" + "4711PLANTED" * 3
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    held = bytearray(secret.encode())  # in this process's memory, too
    with stage(sandbox__share_children=True) as sandbox:
        sandbox.scan(b"first", b"second")
        family = processes(sandbox)
        assert len(family) >= 2
        assert secret.encode() in memory_of(os.getpid())  # the search finds what is there
        for one in family:
            for name in ("environ", "cmdline"):
                assert secret.encode() not in Path(f"/proc/{one.pid}/{name}").read_bytes()
            assert secret.encode() not in memory_of(one.pid)
        for child in family[1:]:
            targets = {os.readlink(one) for one in Path(f"/proc/{child.pid}/fd").iterdir()}
            assert {one.partition(":")[0] for one in targets} == {"/dev/null", "socket", "pipe"}
            assert len(list(Path(f"/proc/{child.pid}/fd").iterdir())) == 5
    assert held


def memory_of(pid: int) -> bytes:
    """All that another process holds in writable memory."""
    found = bytearray()
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    with open(f"/proc/{pid}/mem", "rb") as file:
        for line in maps:
            words = line.split()
            if "w" not in words[1] or "[v" in line:
                continue
            start, end = (int(one, 16) for one in words[0].split("-"))
            try:
                file.seek(start)
                found += file.read(end - start)
            except OSError:
                continue
    return bytes(found)


OWN_USERS = """
import json, psutil
from tests.stoq_core.sandbox.stage import stage
with stage(sandbox__share_children=True) as one:
    one.scan(b"first", b"second")
    zygote = psutil.Process(one.sandbox._zygote.pid)
    uids = [child.uids().real for child in zygote.children()]
    print(json.dumps({"uids": uids, "missing": one.sandbox.facts["missing"]}))
"""


@ROOT_ONLY
@pytest.mark.skipif(not SYSTEM_PYTHON.exists(), reason="an interpreter all users may read: Debian's python3")
def test_children_are_users_of_their_own() -> None:
    """Where the libraries are readable to all, each child has an unprivileged user that nobody else has."""
    if _with_system_python("-c", "import msgspec, psutil").returncode:
        pytest.skip(f"the libraries here are for another Python than {SYSTEM_PYTHON}")
    found = _with_system_python("-c", OWN_USERS)
    assert found.returncode == 0, found.stderr
    said = json.loads(found.stdout)
    if "closed to other users" in said["missing"].get("own_uid", ""):
        pytest.skip(f"the checkout cannot be read by other users: {said['missing']['own_uid']}")
    assert not said["missing"]
    assert 0 not in said["uids"]
    assert len(set(said["uids"])) == len(said["uids"]) > 0
    attacks = _with_system_python("-m", "pytest", "-q", str(Path(__file__).with_name("test_hostile.py")))
    assert attacks.returncode == 0, attacks.stdout[-3000:]


def _with_system_python(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a program with Debian's interpreter and this environment's libraries."""
    root = Path(__file__).resolve().parents[3]
    libraries = [str(root), *(one for one in sys.path if one.endswith("site-packages"))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(libraries)}
    command = [str(SYSTEM_PYTHON), *words]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def test_a_worker_that_starts_a_thread() -> None:
    """Named in the config it is refused at the start; dispatched to, it works, and children go on."""
    from stoq_core.errors import PluginLoadError

    with pytest.raises(PluginLoadError, match="'threaded' starts a thread"), stage(scan__only=["threaded"]):
        pass
    with stage() as sandbox:
        for _ in range(3):
            root = Payload(b"bytes", PayloadMeta(dispatch_to=["threaded"]))
            done = sandbox.scan(root, b"others")
            assert done.reports[0].result_of("threaded") == {"size": 5}
            assert not done.errors


def test_memory_does_not_grow_with_the_tree() -> None:
    """Payloads are archived and let go as they are examined: 280 MiB pass through 32 MiB."""
    import io
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for n in range(40):
            made.writestr(f"{n}", random.Random(n).randbytes(16_384) * 448)
    limits = {"limits__held_bytes": 32 * MiB, "limits__worker_wall_ms": 30_000}
    with stage(scan__only=["hash"], scan__dispatchers=["filetype"], **limits) as sandbox:
        sandbox.scan(b"warm up")
        process = psutil.Process()
        before = process.memory_info().rss + shared_memory()
        peak = 0
        done = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.005):
                peak = max(peak, process.memory_info().rss + shared_memory())

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            scanned = sandbox.scan(out.getvalue())
        finally:
            done.set()
            thread.join()
        assert len(scanned.reports) == 41
        assert not scanned.unread
        assert all(not one.unread for one in scanned.reports)
        assert sum(one.size for one in scanned.reports) > 280 * MiB
        assert peak - before < 32 * MiB + 64 * MiB  # resident, and counted twice where it is mapped
