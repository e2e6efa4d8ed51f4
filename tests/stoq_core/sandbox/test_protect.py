"""A machine that lacks a protection says so, and a function does not start without those it must have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from handlers import bootstrap
from stoq_core.errors import ConfigError
from stoq_core.sandbox import protect
from tests.stoq_core.sandbox.stage import settings, stage

ROOT = Path(__file__).resolve().parents[3]

POORER = """
import json, os, sys
from stoq_core.sandbox import protect, seccomp, syscalls
from stoq_core.errors import StoqError
from tests.stoq_core.sandbox.stage import stage

# A kernel without seccomp and Landlock, as far as anybody in here can tell.
prctl = syscalls.argued()["prctl"]
code = [seccomp._load(0)]
no_filter = [seccomp._argument(0), seccomp._instruction(0x15, 22, 0, 1), seccomp._refuse(22)]
code += seccomp._block(prctl, [*no_filter, seccomp._return(seccomp._ALLOW)])
code += seccomp._block(444, [seccomp._refuse(38)])
code.append(seccomp._return(seccomp._ALLOW))
protect._no_new_privileges()
seccomp.apply(b"".join(code))
found = {}
for name, more in json.loads(sys.argv[1]).items():
    try:
        with stage(**more) as one:
            done = one.scan(b"DO network 1\\n")
            found[name] = [one.sandbox.facts["missing"], done.reports[0].result_of("later")]
    except StoqError as error:
        found[name] = str(error)
print(json.dumps(found))
"""


def on_a_poorer_machine(**cases: dict[str, Any]) -> dict[str, Any]:
    """What becomes of sandboxes with these settings where the kernel has neither seccomp nor Landlock."""
    command = [sys.executable, "-c", POORER, json.dumps(cases)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's protections")
def test_what_is_missing_is_said_and_required() -> None:
    """No start without what is required, unless it is excused by name; else it works with what is there."""
    pair = ["no_network", "parent_opaque"]
    found = on_a_poorer_machine(
        lax={},
        strict={"sandbox__require": pair},
        excused={"sandbox__require": pair, "sandbox__accept_missing": ["no_network"]},
    )
    missing, later = found["lax"]
    assert {"seccomp", "landlock", "no_network"} <= set(missing)
    assert "parent_opaque" not in missing
    assert later == {"size": len("DO network 1\n")}
    assert "no_network" in found["strict"]
    assert "accept_missing" in found["strict"]
    assert found["excused"][1] == later


def test_handlers_require_two_protections() -> None:
    """By default; a config may ask for more, or excuse from one by name."""
    config = bootstrap._strict(settings())
    assert config.sandbox.require == ("no_network", "parent_opaque")
    assert config.sandbox.share_children is False
    more = bootstrap._strict(settings(sandbox__require=["landlock"], sandbox__share_children=True))
    assert (more.sandbox.require, more.sandbox.share_children) == (("landlock",), True)


def test_an_unknown_protection_is_refused() -> None:
    """A slip of the pen must not leave a function unprotected."""
    with (
        pytest.raises(ConfigError, match="Did you mean 'landlock'"),
        stage(sandbox__require=["landlok"]),
    ):
        pass


def test_the_old_name_of_an_option() -> None:
    """It is refused, and the line names the new one."""
    with pytest.raises(ConfigError, match=r"sandbox\.processes"):
        settings(sandbox__children=2)


def test_a_closed_folder_keeps_the_user(tmp_path: Path) -> None:
    """Where another user could not read the libraries, children keep theirs, and it is said why."""
    (tmp_path / "lib").mkdir()
    tmp_path.chmod(0o700)
    assert str(tmp_path) in protect._closed_to_others([str(tmp_path / "lib")])
    tmp_path.chmod(0o755)
    above = protect._closed_to_others([str(tmp_path.parent)])
    assert protect._closed_to_others([str(tmp_path / "lib")]) == above


def test_the_programs_of_a_tool(tmp_path: Path) -> None:
    """A script's interpreter may run with it; nothing else may."""
    script = tmp_path / "tool"
    script.write_text("#!/bin/sh -e\nexit\n")
    found = protect.programs_of(str(script))
    assert {str(script), os.path.realpath("/bin/sh")} <= set(found)
    assert not any(one.endswith(("bash", "perl")) for one in found)
