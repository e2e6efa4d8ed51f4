"""TrID's output as a stand-in writes it: TrID itself may not be passed on, so it is not run here."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins._rules.trid import parse
from plugins.workers.trid import Trid
from stoq_core.errors import PluginError
from stoq_core.testing import Ran, job, make, payload
from stoq_core.tools import LocalTools

SAID = r"""
TrID/32 - File Identifier v2.24 - (C) 2003-16 By M.Pontello
Definitions found:  13570
Analyzing...

Collecting data from file: FILE
 41.0% (.EXE) Win32 Executable MS Visual C++ (generic) (31206/45/13)
 36.3% (.EXE) Win64 Executable (generic) (27644/10/2)
  8.6% (.DLL) Win32 Dynamic Link Library (generic) (6578/25/2)
  5.9% (.EXE) Win32 Executable (generic) (4508/7/1)
  2.7% (.EXE/DLL) Something of two kinds (2000/1)
  1.0% (.) A kind without an extension (1/1)
"""


def stand_in(folder: Path, said: str = SAID, code: int = 0) -> Path:
    """A program that says this, and which arguments it was given."""
    text = folder / "said.txt"
    text.write_text(said)
    program = folder / "trid-stand-in"
    program.write_text(
        f'#!/bin/sh\ntest -r "$2" || exit 9\ncat {text}\necho "given: $1 $2" >&2\nexit {code}\n'
    )
    program.chmod(0o755)
    return program


def ask(program: Path, content: bytes = b"MZ and so on") -> Ran:
    """Run the worker with that program for TrID."""
    worker = make(Trid, bin="trid-stand-in", defs="/opt/trid/triddefs.trd")
    work, ran = job(worker), Ran()
    work._tools = LocalTools({"trid-stand-in": str(program)}, allowed=list(worker.tools))
    try:
        for emit in worker.scan(payload(content), work):
            ran.add(emit)
    except PluginError as error:
        ran.error = error
    ran.errors = [one for one in work.drain() if hasattr(one, "code")]
    return ran


def test_guesses_by_extension(tmp_path: Path) -> None:
    """Each extension has its guesses, the likeliest first, as TrID writes them and as a number."""
    found = ask(stand_in(tmp_path)).result
    assert found is not None
    assert list(found) == ["exe", "dll", "exe/dll", "unknown"]
    assert found["exe"][0] == {
        "likely": "41.0%",
        "percent": 41.0,
        "type": "Win32 Executable MS Visual C++ (generic) (31206/45/13)",
    }
    assert len(found["exe"]) == 3


def test_no_guess_is_no_result(tmp_path: Path) -> None:
    """An unknown file, and plain text, about which TrID warns: neither result nor error."""
    ran = ask(
        stand_in(tmp_path, "Collecting\n       Unknown!\nWarning: file seems to be plain text/ASCII\n"), b"u"
    )
    assert (ran.result, ran.error, ran.errors) == (None, None, [])


def test_other_warnings_are_errors(tmp_path: Path) -> None:
    """What TrID warns of otherwise is reported beside its guesses."""
    ran = ask(stand_in(tmp_path, SAID + "Warning: file is damaged\n"), b"w")
    assert [(one.code, one.message) for one in ran.errors] == [("trid_warning", "file is damaged")]
    assert ran.result is not None


def test_a_trid_that_fails(tmp_path: Path) -> None:
    """An exit code without guesses is `trid_failed`; a program that is not there `tool_missing`."""
    ran = ask(stand_in(tmp_path, "Error: no definitions\n", 3), b"f")
    assert ran.error is not None
    assert (ran.error.code, "given: -d:/opt/trid/triddefs.trd" in ran.error.message) == ("trid_failed", True)
    gone = ask(tmp_path / "nowhere", b"g")
    assert gone.error is not None
    assert gone.error.code == "tool_missing"


@pytest.mark.parametrize("line", ["100.0% (.A) b", " 99.9% (.TAR.GZ) c d", "0.1% (.X) y (1/2)"])
def test_lines_that_are_guesses(line: str) -> None:
    """One to three digits before the point."""
    assert len(parse(f"x\n{line}\n")) == 1


@given(st.text(alphabet="0123456789.%() ABEX\n", max_size=400))
def test_any_output(said: str) -> None:
    """Whatever the program says ends in guesses with a number, at most fifty."""
    found = parse(said * 3)
    assert len(found) <= 50
    assert all(0 <= guess.percent < 1000 for _, guess in found)
