"""The zygote's process that is started ahead of time: taken over once, and never left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from handlers.bootstrap import BUNDLE
from stoq_core.sandbox import spawn
from tests.stoq_core.sandbox.stage import stage


def zygotes() -> list[psutil.Process]:
    """Those of this process."""
    return [one for one in psutil.Process().children() if "stoq_core.sandbox.zygote" in str(one.cmdline())]


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No process of a test stays."""
    spawn.drop()
    yield
    spawn.drop()
    assert not zygotes()


def test_it_is_taken_over() -> None:
    """Whoever makes a sandbox gets the process that was started ahead, and the next one a new process."""
    spawn.ahead()
    spawn.ahead()  # once is enough
    [started] = zygotes()
    with stage() as one:
        assert [child.pid for child in zygotes()] == [started.pid]
        assert one.scan(b"content").reports
    with stage() as one:
        assert [child.pid for child in zygotes()] != [started.pid]


def test_it_is_ended_where_it_was_started_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that came later is in the new one's, and the old process is gone."""
    spawn.ahead()
    [started] = zygotes()
    monkeypatch.syspath_prepend(str(BUNDLE / "tests"))
    taken = spawn.take(sys.executable)
    assert taken.pid != started.pid
    assert not started.is_running()
    spawn.end(taken)


def test_it_is_ended_where_there_is_no_sandbox() -> None:
    """`drop` leaves nothing."""
    spawn.ahead()
    spawn.drop()
    assert not zygotes()


def test_a_forked_process_takes_no_other_ones() -> None:
    """What the parent started ahead stays the parent's; a process that is forked from it starts its own."""
    code = (
        "import os\n"
        "from stoq_core.sandbox import spawn\n"
        "spawn.ahead()\n"
        "parents = spawn._ahead[0].pid\n"
        "if os.fork() == 0:\n"
        "    import sys\n"
        "    one = spawn.take(sys.executable)\n"
        "    os.kill(parents, 0)\n"
        "    spawn.end(one)\n"
        "    os._exit(0 if one.pid != parents else 1)\n"
        "assert os.wait()[1] == 0\n"
        "assert spawn.take(__import__('sys').executable).pid == parents\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=BUNDLE)


def test_it_ends_with_whoever_started_it() -> None:
    """A process that ends before it has made a sandbox leaves none."""
    code = "from stoq_core.sandbox import spawn; spawn.ahead(); print(spawn._ahead[0].pid)"
    done = subprocess.run([sys.executable, "-c", code], check=True, cwd=BUNDLE, capture_output=True)
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(done.stdout)).wait(10)


@pytest.mark.parametrize(
    ("setting", "begun"), [({}, True), ({"STOQ_SANDBOX__MODE": "inline"}, False)], ids=["process", "inline"]
)
def test_an_entry_point_begins_with_it(setting: dict[str, str], begun: bool) -> None:
    """Before anything is imported that takes time, and only where there is to be a sandbox."""
    code = (
        "import sys\n"
        "from handlers import first_import\n"
        "from stoq_core.sandbox import spawn\n"
        "heavy = {'msgspec', 'typing', 'pathlib', 'stoq_core.errors'}.intersection(sys.modules)\n"
        "print(len(spawn._ahead), *heavy)\n"
    )
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(command, check=True, cwd=BUNDLE, capture_output=True, env={**os.environ, **setting})
    assert done.stdout.split() == [b"1" if begun else b"0"]
