"""Whatever a parser is made to do is contained and named, and the rest of the scan is complete."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from stoq_core.limits import MiB
from stoq_core.response import PayloadReport
from stoq_core.scan.report import Scanned
from tests.servers import free_port
from tests.stoq_core.sandbox.stage import Stage, stage


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Stage]:
    """One sandbox for all tests here: what one attack breaks, the next would notice."""
    with stage() as one:
        yield one


def scanned(
    sandbox: Stage, attack: str, argument: str = "", tail: bytes = b""
) -> tuple[Scanned, PayloadReport]:
    """Scan a payload that carries out the attack; the whole and the payload's own report."""
    done = sandbox.scan(f"DO {attack} {argument}\n".encode() + tail)
    report = done.reports[0]
    assert report.result_of("hash")["sha256"] == report.sha256
    assert report.result_of("hostile")["before"] == attack
    assert report.result_of("later") == {"size": report.size}
    child = done.reports[1]
    assert (child.name, child.result_of("later")["size"]) == ("early", len(f"child of {attack}"))
    return done, report


KILLED = {
    "crash": ("crashed", "SIGSEGV"),
    "abort": ("crashed", "SIGABRT"),
    "allocate": ("memory", "ran out of memory"),
    "hoard": ("memory", "MiB"),
    "loop_python": ("timeout", "stopped after"),
    "loop_c": ("timeout", "killed"),
    "loop_unlocked": ("timeout", "killed"),
    "sleep_deaf": ("timeout", "killed"),
    "disarm_and_loop": ("timeout", "killed"),
    "flood": ("result_too_large", "more than it may"),
    "hint_flood": ("malformed", "more than"),
    "drip": ("malformed", "more than"),
    "drip_bytes": ("timeout", "killed"),
    "drip_frames": ("timeout", "killed"),
    "empty_frames": ("timeout", "killed"),
    "ring": ("timeout", "killed"),
    "one_bytes": ("timeout", "killed"),
    "unasked_body": ("result_too_large", "more than it may"),
    "empty_maps": ("result_too_large", "more than it may"),
    "eight_megabytes": ("malformed", "a frame of"),
    "small_maps": ("malformed", "more than"),
    "deep": ("result_too_large", "more than it may"),
    "long_claims": ("malformed", "protocol"),
    "findings": ("malformed", "more than"),
    "crowd": ("memory", ""),
    "words_of_others": ("malformed", "kind 17"),
    "forge": ("malformed", "out of turn"),
    "hang_up": ("crashed", "hung up"),
    "leave 0": ("crashed", "exit code 0"),
    "leave 7": ("crashed", "exit code 7"),
    "garbage ffffffff0100": ("malformed", "a frame of"),
    "garbage 030000000101000000": ("malformed", "descriptors"),
    "garbage 0300000001008101": ("malformed", ""),
    "garbage 010000000400c1": ("malformed", "protocol"),  # a last word that is none
    "garbage 02000000040091c8": ("malformed", "protocol"),
    "garbage 0200000004009101": ("malformed", "before 'hostile' has ended"),
    "garbage 010000000900ff": ("malformed", "kind 9"),
    "garbage 01000000010090": ("timeout", "stopped"),
    "garbage 010000000100c1": ("malformed", "protocol"),
}


FLOODS = (
    "flood", "hint_flood", "drip", "unasked_body", "empty_maps", "eight_megabytes", "small_maps", "deep",
    "long_claims", "findings", "errors", "child_metas", "breed 400",
)  # fmt: skip


@pytest.mark.parametrize("attack", FLOODS)
def test_the_brokers_memory(sandbox: Stage, attack: str) -> None:
    """Whatever a child says: the broker takes 64 MiB at the most beside the payload."""
    process, most = psutil.Process(), 0
    over = threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.002):
            most = max(most, process.memory_info().rss)

    before = process.memory_info().rss
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        sandbox.scan(f"DO {attack}\n".encode())
    finally:
        over.set()
        watcher.join()
    assert most - before < 64 * MiB


def answers(sandbox: Stage, attack: str, argument: str = "", tail: bytes = b"") -> list[str]:
    """What the system said to each of the attempts; nothing may be wrong with the scan."""
    done, report = scanned(sandbox, attack, argument, tail)
    assert not done.errors
    said: str = report.result_of("hostile")["answer"]
    return said.split(", ")


EPERM, EACCES, EFBIG = "Operation not permitted", "Permission denied", "File too large"


def test_no_process_and_no_program(sandbox: Stage) -> None:
    """seccomp: fork, spawn and exec are refused in a worker."""
    assert set(answers(sandbox, "fork_bomb")) == {EPERM}
    assert set(answers(sandbox, "execute")) == {EPERM}


def test_nothing_is_written(sandbox: Stage, tmp_path: Path) -> None:
    """Seccomp and Landlock: no file is opened to write, no memory file made."""
    tmp_path.chmod(0o777)
    found = answers(sandbox, "fill_disk", str(tmp_path))
    assert set(found) == {EACCES, EPERM}
    assert list(tmp_path.iterdir()) == []


def test_no_network(sandbox: Stage) -> None:
    """seccomp: there are no sockets, not even to this machine."""
    assert set(answers(sandbox, "network", str(free_port()))) == {EPERM}


def test_nothing_is_read_but_libraries(sandbox: Stage, tmp_path: Path) -> None:
    """Landlock, another user, an opaque parent: no environment, no memory, no home directory, no config."""
    (tmp_path / "diary").write_text("mine")
    pid = os.getpid()
    paths = [
        "/proc/1/environ", f"/proc/{pid}/environ", f"/proc/{pid}/mem", f"/proc/{pid}/maps",
        "/etc/passwd", str(tmp_path / "diary"), os.path.expanduser("~/.profile"), "/proc/self/environ",
    ]  # fmt: skip
    found = answers(sandbox, "read", ":".join(paths))
    assert set(found) <= {EACCES, "No such file or directory"}


def test_nothing_is_read_beside_the_packages(sandbox: Stage) -> None:
    """From a checkout: no config, no history, no handler; libraries and plugins are there."""
    root = Path(__file__).resolve().parents[3]
    closed = [
        "stoq.toml",
        ".git/config",
        ".git/HEAD",
        "pyproject.toml",
        "handlers/bootstrap.py",
        "tests/kit.py",
    ]
    there = [str(root / one) for one in closed if (root / one).exists()]
    assert set(answers(sandbox, "read", ":".join(there))) == {EACCES}
    assert answers(sandbox, "read", str(root / "stoq_core" / "job.py")) == ["done"]


def test_no_signal_by_way_of_a_file(sandbox: Stage) -> None:
    """seccomp: no owner, no notice, no lease, and of ioctl only what libraries ask files for."""
    assert set(answers(sandbox, "signals")) == {EPERM, "Inappropriate ioctl for device"}


def test_no_descriptor_of_what_may_not_be_read(sandbox: Stage) -> None:
    """seccomp: O_PATH is refused, which Landlock does not look at."""
    assert set(answers(sandbox, "probe", "/etc/passwd:/etc/shadow:/root:/proc/1/mem")) == {EACCES}


def test_no_other_process_is_touched(sandbox: Stage) -> None:
    """seccomp: neither the broker nor the zygote can be traced, read or killed."""
    assert set(answers(sandbox, "trace", str(os.getpid()))) == {EPERM}


@pytest.mark.parametrize("size", [300_000, 6_000_000])
def test_a_payload_cannot_be_changed(sandbox: Stage, size: int) -> None:
    """Its memory file is sealed and open to read: not written, cut, grown or mapped to write."""
    found = answers(sandbox, "rewrite", tail=bytes(size))
    assert set(found) <= {EPERM, EACCES, EFBIG, "Bad file descriptor", "Invalid argument"}
    assert len(found) == 5


def test_the_attacks_of_one_request_side_by_side(sandbox: Stage) -> None:
    """All at once, as payloads of one request: each is contained by itself."""
    names = ["crash", "loop_c", "fork_bomb", "leave 0", "forge", "hang_up", "execute", "allocate"]
    done = sandbox.scan(*(f"DO {one}\n".encode() for one in names), b"harmless")
    roots = [one for one in done.reports if one.extracted_from is None]
    assert len(roots) == len(names) + 1
    assert all(one.result_of("later") and one.result_of("hash") for one in roots)
    assert {one.code for one in done.errors} == {"crashed", "timeout", "malformed", "memory"}


def test_what_was_in_force(sandbox: Stage) -> None:
    """`stats.sandbox` names each protection, and why one is missing."""
    facts: dict[str, Any] = sandbox.sandbox.facts
    assert {"parent_opaque", "no_network", "rlimits", "landlock", "seccomp"} <= set(facts["protections"])
    assert set(facts["missing"]) <= {"own_uid"}
