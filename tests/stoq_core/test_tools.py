"""Tools run with what they are given, nothing else, and end within their limits."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from stoq_core.body import Body
from stoq_core.errors import PluginError
from stoq_core.operations import Operation
from stoq_core.tools import LocalTools, ToolCall, find


def call(script: str, name: str = "run", *, output_bytes: int = 1 << 26, wall_ms: float = 30_000,
         files: tuple[str, ...] = (), copied: bool = False) -> ToolCall:  # fmt: skip
    """A shell script, with the payload's path as its first argument."""
    template = Operation(words=("-c", script, "sh", "{payload}"), files=files, copied=copied)
    return ToolCall(name=name, operation="run", template=template, body=Body(b"content"),
                    output_bytes=output_bytes, wall_ms=wall_ms)  # fmt: skip


@pytest.fixture
def shell() -> LocalTools:
    """A runner that knows `sh` under another name."""
    return LocalTools({"run": "/bin/sh"}, ["run"])


def test_a_body_becomes_a_path_and_output_comes_back(shell: LocalTools) -> None:
    """The tool reads the bytes at the path that stands in the argument's place."""
    script = 'cat "$1"; echo oops >&2; printf made > out; exit 3'
    ran = shell.run(call(script, files=("out", "no")))
    assert (ran.code, ran.stdout.content(), ran.stderr) == (3, b"content", "oops\n")
    assert {name: body.content() for name, body in ran.files.items()} == {"out": b"made"}


def test_a_copied_body_is_a_plain_file(shell: LocalTools) -> None:
    """For tools that refuse links as paths."""
    script = 'test -L "$1" && echo link; test -f "$1" && cat "$1"'
    for copied, said in ((True, b"content"), (False, b"link\ncontent")):
        assert shell.run(call(script, copied=copied)).stdout.content() == said


def test_the_environment_is_not_inherited(shell: LocalTools, monkeypatch: pytest.MonkeyPatch) -> None:
    """No secret of the parent's environment reaches a tool."""
    monkeypatch.setenv("PLANTED", "secret-4711")
    ran = shell.run(call("env; ls /proc/self/fd | wc -l"))
    assert b"4711" not in ran.stdout.content()


def test_a_link_or_a_path_is_no_output(shell: LocalTools, tmp_path: Path) -> None:
    """Only a regular file directly in the tool's folder comes back."""
    (tmp_path / "outside").write_text("mine")
    script = f"ln -s {tmp_path}/outside link; mkdir d; mkfifo pipe"
    names = ("link", "d", "pipe", "../outside", str(tmp_path / "outside"), "..", "")
    assert shell.run(call(script, files=names)).files == {}


@pytest.mark.parametrize("script", ["sleep 60", "sleep 60 & exit 0", "exec >&- 2>&-; sleep 60"])
def test_one_that_overstays_is_stopped_with_what_it_started(shell: LocalTools, script: str) -> None:
    """Whether it sleeps itself, in the background, or behind closed pipes."""
    began = time.monotonic()
    with pytest.raises(PluginError) as caught:
        shell.run(call(script, wall_ms=300))
    assert caught.value.code == "timeout"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("script", ["cat /dev/zero", "head -c 3000000 /dev/zero > out"])
def test_one_that_writes_too_much_is_stopped(shell: LocalTools, script: str) -> None:
    """Standard output and files are both bounded."""
    with pytest.raises(PluginError) as caught:
        shell.run(call(script, files=("out",), output_bytes=1 << 20))
    assert caught.value.code == "too_many_bytes"


def test_only_what_is_allowed_and_there_runs(shell: LocalTools) -> None:
    """A name outside the list or without a program is `tool_missing`, and says what to do."""
    for name in ("sh", "no-such-tool"):
        with pytest.raises(PluginError, match="stoq doctor") as caught:
            shell.run(call("exit 0", name))
        assert caught.value.code == "tool_missing"
    assert find("x", {"x": "relative/path"}) is None
