"""A tool that was taken over, and a worker that asks for one as none should: neither gains anything."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stoq_core.body import Body, spill
from stoq_core.payload import Payload, PayloadMeta
from stoq_core.sandbox import messages as wire
from tests.stoq_core.sandbox.stage import Stage, stage

PERL = "/usr/bin/perl"
ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0, reason="looks into opaque processes: run as root")
pytestmark = pytest.mark.skipif(not Path(PERL).exists(), reason="perl (apt-get install perl)")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Stage]:
    """Its tool is Perl, which runs the payload: a tool that does whatever a file says."""
    with stage(
        scan__only=["tooled", "later"], sandbox__tools={"script": PERL}, limits__worker_wall_ms=3_000
    ) as one:
        yield one


@pytest.fixture(scope="module")
def taken() -> Iterator[Stage]:
    """Its worker speaks to the broker itself."""
    with stage(
        scan__only=["taken", "later"], sandbox__tools={"script": "/bin/sh"}, limits__worker_wall_ms=2_000
    ) as one:
        yield one


def said(sandbox: Stage, script: str) -> str:
    """What a Perl script printed."""
    texts: list[str] = []
    done = sandbox.scan(
        f"# perl\n{script}\n".encode(), examined=lambda _, one: texts.append(one.content.decode())
    )
    assert not done.errors, done.errors
    assert done.reports[1].name == "stdout"
    return texts[1]


TRIED = {
    "a folder": 'mkdir "d"',
    "to take a file away": 'open(F, ">f"); unlink "f"',
    "another name": 'open(F, ">f"); rename "f", "g"',
    "a link": 'symlink "/etc/passwd", "l"',
    "a second link": 'open(F, ">f"); link "f", "h"',
    "a file without a name": "use Fcntl; sysopen(F, '.', 020200000 | O_RDWR, 0600)",
    "a path's descriptor": "sysopen(F, '/etc/shadow', 010000000)",
    "another file": 'open(F, "<", "/etc/shadow")',
    "the folder of programs": 'open(F, "<", "/usr/bin/true")',
    "others' folders": 'opendir(D, "..")',
    "to write to its payload": 'open(F, "+<", "/proc/self/fd/20") && syswrite(F, "x")',
    "to write to its payload as it is": 'open(F, "+<&=20") && syswrite(F, "x")',
    "to cut its payload": "truncate('/proc/self/fd/20', 0)",
    "to be told of a file": "my $on = pack('i', 1); open(F, '<', '/dev/null') && ioctl(F, 0x5452, $on)",
    "to run a program": 'exec("/bin/true")',
    "to fork": "defined(fork)",
    "a socket": "socket(S, 1, 1, 0)",
    "to write to the zygote": 'open(F, ">&=3") && syswrite(F, "x")',
}


@pytest.mark.parametrize("tried", TRIED)
def test_what_a_tool_may_not(sandbox: Stage, tried: str) -> None:
    """Landlock, seccomp and descriptors to read: it computes, and writes plain files where it is."""
    assert said(sandbox, f"no warnings; print((do {{ {TRIED[tried]} }}) ? 'done' : 'refused');") == "refused"


def test_its_folder_is_its_own_and_flat(sandbox: Stage) -> None:
    """While it writes files there, in its own place, and is told where nothing lies above it."""
    assert (
        said(sandbox, "open(F, '>', \"$ENV{TMPDIR}/f\") or die; print F 'x'; close F; print -s 'f';") == "1"
    )


@pytest.mark.parametrize(
    "script",
    [
        "while (1) { syswrite(STDERR, 'x' x 65536) }",
        "syswrite(STDOUT, 'x' x 65536) while 1;",
        "open(F, '>', 'f'); syswrite(F, 'x' x 65536) while 1;",
        "my $n; while (1) { open(F, '>', 'f' . $n++); syswrite(F, 'x' x 65536); close F }",
        "open(F, '>', 'f'); seek(F, 1 << 40, 0); syswrite(F, 'x'); sleep 60;",
        "open(F, '>', 'f'); truncate(F, 1 << 30); sleep 60;",
        "close STDOUT; open(STDOUT, '>&=1'); sleep 60;",
        "$SIG{XFSZ} = $SIG{TERM} = $SIG{ALRM} = 'IGNORE'; syswrite(STDOUT, 'x' x 65536) while 1;",
    ],
)
def test_what_it_does_too_much_of(sandbox: Stage, script: str) -> None:
    """Output, error and files are one budget and time is time, whatever it ignores."""
    began = time.monotonic()
    done = sandbox.scan(f"# perl\n{script}\n".encode())
    assert [one.code for one in done.errors] in (["too_many_bytes"], ["timeout"])
    assert time.monotonic() - began < 20
    assert done.reports[0].result_of("later")


def test_a_payload_on_disk_is_not_the_tools(sandbox: Stage, tmp_path: Path) -> None:
    """No seal holds a file on disk: a tool gets bytes of its own, and the file stays as it was hashed."""
    script = b"# perl\nchmod(0666, '/proc/self/fd/20'); print 'ran'; "
    script += b"open(F, '+<', '/proc/self/fd/20') && syswrite(F, 'changed');"
    body = spill(Body(script), tmp_path)
    kept = os.dup(body.fd or 0)
    done = sandbox.scan(Payload(body, PayloadMeta()))
    assert not done.errors
    assert (done.reports[1].name, done.reports[1].size) == ("stdout", 3)
    assert os.pread(kept, 1_000, 0) == script
    os.close(kept)


ASKED: dict[str, tuple[list[Any], str]] = {
    "another tool": (["7z", "list", {"kind": "zip"}, -1, 1 << 20, 1e4], "tool_missing"),
    "a path": (["/bin/sh", "run", {}, -1, 1 << 20, 1e4], "tool_missing"),
    "the loader": (["../../lib64/ld-linux-x86-64.so.2", "run", {}, -1, 1 << 20, 1e4], "tool_missing"),
    "a body for nobody": (["nobody", "run", {}, 1 << 30, 1 << 20, 1e4], "tool_missing"),
    "another operation": (["script", "-c", {}, -1, 1 << 20, 1e4], "tool_refused"),
    "a parameter more": (["script", "run", {"config": "x"}, -1, 1 << 20, 1e4], "tool_refused"),
    "a body that is refused": (["script", "run", {"config": "x"}, 1 << 29, 1 << 20, 1e4], "tool_refused"),
    "a body of a tebibyte": (["script", "run", {}, 1 << 40, 1 << 20, 1e4], "bytes for script"),
}


@pytest.mark.parametrize("asked", ASKED)
def test_what_a_worker_may_not_ask_for(taken: Stage, asked: str) -> None:
    """Only its own plugin's tools in their own ways; no body is asked for before that is clear."""
    message, code = ASKED[asked]
    done = taken.scan(b"ask\n" + json.dumps(message).encode())
    answer = done.reports[0].result_of("taken")
    assert answer["kind"] == wire.TOOL_RAN
    assert code in answer["said"]


@pytest.mark.parametrize(
    "message",
    [
        ["script", ["-c", "id"], [-1], [], 1, 1e4, False],
        ["script", "run", {}, -2, 1, 1e4],
        ["script", "run", {}, -1, -1, 1e4],
        ["script", "run", {}, -1, 1, "x"],
        [],
        {"name": "script"},
    ],
)
def test_what_is_no_call_of_a_tool(taken: Stage, message: Any) -> None:
    """The child is ended and named."""
    done = taken.scan(b"ask\n" + json.dumps(message).encode())
    assert [one.code for one in done.errors] == ["malformed"]
    assert done.reports[0].result_of("later")


def test_a_body_that_drips(taken: Stage) -> None:
    """It is taken in for as long as its plugin has time, and no longer."""
    began = time.monotonic()
    done = taken.scan(b"drip\n" + json.dumps(["script", "run", {}, 1 << 20, 1 << 20, 1e9]).encode())
    assert [one.code for one in done.errors] == ["timeout"]
    assert done.reports[0].result_of("later")
    assert time.monotonic() - began < 15


@ROOT_ONLY
@pytest.mark.parametrize("size", [100, 600_000, 6_000_000])
def test_every_descriptor_that_left_the_broker(size: int, tmp_path: Path) -> None:
    """/proc/PID/fd of children and of tools: all bytes are open to read, and to nothing else."""
    with stage(scan__only=["hostile", "tooled"], sandbox__tools={"script": PERL}) as one:
        zygote = one.sandbox._zygote.pid
        content = b"DO loop_unlocked 1;\nsleep 1;\n"
        roots = [
            Payload(content.ljust(size, b"#"), PayloadMeta()),
            Payload(spill(Body(content.ljust(size + 1, b"#")), tmp_path), PayloadMeta()),
        ]
        scan = threading.Thread(target=lambda: one.scan(*roots))
        scan.start()
        seen = 0
        while scan.is_alive():
            for pid in Path(f"/proc/{zygote}/task/{zygote}/children").read_text().split():
                seen += checked(int(pid))
            time.sleep(0.05)
        scan.join()
        assert seen > 3


def checked(pid: int) -> int:
    """How many descriptors a process has; each is what it may be."""
    try:
        tool = Path(f"/proc/{pid}/comm").read_text().strip() == "perl"
        held = descriptors(pid)
        time.sleep(0.05)  # what it has in the moment of its birth only is the zygote's
        held &= descriptors(pid)
    except OSError:
        return 0  # it ended meanwhile
    for number, target, mode in held:
        if target.startswith("/dev/null"):
            continue
        if tool:
            assert number in (1, 2, 20) or (mode == os.O_RDONLY and target.startswith("/")), (number, target)
            assert number in (1, 2) or mode == os.O_RDONLY
        elif number > 4:
            assert mode == os.O_RDONLY, (number, target)
    return len(held)


def descriptors(pid: int) -> set[tuple[int, str, int]]:
    """A process's, with what they are and how they were opened."""
    return {(int(one.name), os.readlink(one), access(one)) for one in Path(f"/proc/{pid}/fd").iterdir()}


def access(fd: Path) -> int:
    """How a descriptor was opened (proc(5), fdinfo)."""
    text = (fd.parent.parent / "fdinfo" / fd.name).read_text()
    return int(text.split("flags:")[1].split()[0], 8) & os.O_ACCMODE


def test_no_tool_runs_without_landlock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless `sandbox.accept_missing` names `tool_files`; the error says so."""
    from stoq_core.sandbox import client

    monkeypatch.setattr(client.landlock, "abi", lambda: 0)
    settings: dict[str, Any] = {"scan__only": ["tooled", "later"], "sandbox__tools": {"script": PERL}}
    with stage(**settings) as one:
        [error] = one.scan(b"# perl\nprint 1;\n").errors
        assert (error.code, "no Landlock" in error.message) == ("tool_missing", True)
    with stage(**settings, sandbox__accept_missing=["tool_files"]) as one:
        assert not one.scan(b"# perl\nprint 1;\n").errors
