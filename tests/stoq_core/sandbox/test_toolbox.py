"""Tools run outside the worker's process, under the same protections, and only those that are declared."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stoq_core.scan.report import Scanned
from tests.servers import free_port
from tests.stoq_core.sandbox.stage import Stage, stage

SETTINGS: dict[str, Any] = {
    "scan__only": ["tooled", "later"],
    "sandbox__tools": {"script": "/bin/sh", "shell": "/bin/sh"},
    "limits__worker_wall_ms": 2_000,
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Stage]:
    """One sandbox for all tests here."""
    with stage(**SETTINGS) as one:
        yield one


def run(sandbox: Stage, script: str) -> tuple[dict[str, Any], dict[str, int], Scanned]:
    """Run a script as the tool; the worker's result, the children's sizes by name."""
    done = sandbox.scan(f"#!script\n{script}\n".encode())
    root = done.reports[0]
    assert root.result_of("later") == {"size": root.size}
    children = {one.name: one.size for one in done.reports if one.extracted_from == root.payload_id}
    return root.result_of("tooled") or {}, children, done


def test_outputs_come_back(sandbox: Stage) -> None:
    """Standard output, error, exit code, and the files asked for."""
    script = 'read -r line < "$0"; echo "$line"; echo oops >&2; echo made > out; echo no > other; exit 3'
    result, children, _ = run(sandbox, script)
    assert result == {"code": 3, "stderr": "oops\n", "files": ["out"]}
    assert children == {"stdout": len("#!script\n"), "out": 5}


@pytest.mark.parametrize("padding", [0, 3_000_000])
def test_other_bytes_than_the_payload(sandbox: Stage, padding: int) -> None:
    """What a worker made of its payload is sent to the tool, and nothing is taken in before it is due."""
    done = sandbox.scan(b"#derived\necho all of it\nexit 7\n" + b"#" * padding)
    assert not done.errors
    assert done.reports[0].result_of("tooled")["code"] == 7
    assert (done.reports[1].name, done.reports[1].size) == ("stdout", len("all of it\n"))


def test_parameters_have_their_places(sandbox: Stage) -> None:
    """One stands behind a fixed beginning, one on standard input, where no other process sees it."""
    done = sandbox.scan(b'#asked\nread -r word; echo "$word $1 $#"\n')
    assert not done.errors
    assert (done.reports[1].name, done.reports[1].size) == ("stdout", len("a word -n12 1\n"))


@pytest.mark.parametrize("word", ["#option", "#lines", "#unknown", "#operation"])
def test_parameters_that_are_not_as_declared(sandbox: Stage, word: str) -> None:
    """An option, a second line, another parameter, another operation: refused and named."""
    [error] = sandbox.scan(f"{word}\n".encode()).errors
    assert (error.code, error.plugin) == ("tool_refused", "tooled")


def test_payloads_may_wait_meanwhile() -> None:
    """A child that waits for its tool has got the next payloads already: they keep their order and bytes."""
    scripts = [f"#!script\necho {n}; exit {n}\n".encode() for n in range(12)]
    with stage(**SETTINGS, sandbox__processes=1) as one:
        done = one.scan(*scripts)
    roots = [report for report in done.reports if report.extracted_from is None]
    assert [report.result_of("tooled")["code"] for report in roots] == list(range(12))
    assert not done.errors


def test_it_may_run_and_write_nothing_else(sandbox: Stage, tmp_path: Path) -> None:
    """Landlock and seccomp: no other program, no file outside its folder, no secrets, no sockets."""
    tmp_path.chmod(0o777)
    (tmp_path / "diary").write_text("mine")
    attempts = [
        f": > {tmp_path}/made", f"read x < {tmp_path}/diary", f"read x < /proc/{os.getpid()}/environ",
        f"kill -9 {os.getpid()}", "read x < /etc/hostname", "/bin/true", "true & wait",
    ]  # fmt: skip
    for attempt in (*attempts, "exec /bin/true", "exec /usr/bin/perl -v"):
        result, children, _ = run(sandbox, f"command {attempt} 2>/dev/null && echo done")
        assert result["code"] != 0, attempt
        assert children["stdout"] == 0
    result, children, _ = run(sandbox, "command : > made && read x < made || echo done")
    assert (result["code"], children["stdout"]) == (0, 5)  # while its own folder is its own
    assert [one.name for one in tmp_path.iterdir()] == ["diary"]


@pytest.mark.parametrize(("mark", "said"), [("#script", "link\n#script\n"), ("#copied", "#copied\n")])
def test_bodies_are_files_for_tools_that_refuse_links(sandbox: Stage, mark: str, said: str) -> None:
    """With `copied` a body's path is a plain file in the tool's folder, with its bytes; else it is a link."""
    script = f'{mark}\n[ -L "$0" ] && echo link\nread -r line < "$0"\necho "$line"\n'
    done = sandbox.scan(script.encode())
    assert done.reports[0].result_of("tooled")["code"] == 0
    assert (done.reports[1].name, done.reports[1].size) == ("stdout", len(said))


def test_its_links_are_not_followed(sandbox: Stage) -> None:
    """A link in the place of an output is none; the shell has no `ln`, so a folder stands for it here."""
    result, children, _ = run(sandbox, "echo x > ../out 2>/dev/null; exit 0")
    assert (result["files"], list(children)) == ([], ["stdout"])


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("while :; do :; done", "timeout"),
        ("while :; do echo more and more and more; done", "too_many_bytes"),
        ("while :; do echo more and more and more; done > out", "too_many_bytes"),
        ("n=0; while :; do n=$((n+1)); echo more > f$n; done", "too_many_bytes"),
        ("boom() { boom | boom & }; boom; exit 0", None),  # dash says: Cannot fork
    ],
)
def test_what_it_does_too_much_of(sandbox: Stage, script: str, code: str | None) -> None:
    """Time, output, files and processes are bounded; nothing that it started lives on."""
    done = run(sandbox, script)[2]
    assert [one.code for one in done.errors] == ([code] if code else [])
    assert not strays(sandbox)


def strays(sandbox: Stage) -> set[str]:
    """Processes of the zygote's that run a shell."""
    zygote = sandbox.sandbox._zygote.pid
    children = Path(f"/proc/{zygote}/task/{zygote}/children").read_text().split()
    return {pid for pid in children if Path(f"/proc/{pid}/comm").read_text().strip() in ("sh", "dash")}


def test_only_declared_tools_run(sandbox: Stage) -> None:
    """`shell` is placed by the settings, but no plugin declares it: named, with what to do."""
    done = sandbox.scan(b"#other\n")
    [error] = done.errors
    assert (error.code, error.plugin) == ("tool_missing", "tooled")
    assert "stoq doctor" in error.message
    assert [one.reason.value for one in done.reports[0].unread] == ["plugin_missing"]


def test_a_tool_has_no_network(sandbox: Stage) -> None:
    """A program that can open sockets elsewhere cannot here; perl stands in for one."""
    perl = "/usr/bin/perl"
    if not Path(perl).exists():
        pytest.skip("perl (apt-get install perl)")
    with stage(**{**SETTINGS, "sandbox__tools": {"script": perl}}) as other:
        script = f'use IO::Socket::INET; print defined(IO::Socket::INET->new("127.0.0.1:{free_port()}"))'
        other.scan(f"{script} ? 'open' : \"$!\";".encode())
        done = other.scan(b"socket(my $s, 2, 1, 0) ? print 'open' : print $!;")
        child = done.reports[1]
        assert (child.name, child.size) == ("stdout", len("Operation not permitted"))
