"""A function does not start on a deployment that somebody has to mend."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def started(**settings: str) -> subprocess.CompletedProcess[str]:
    """A cold start in a process of its own, as any cloud's entry point makes it."""
    code = "from handlers.first_import import cold_start as c; made = c(); print(made.warnings); made.close()"
    environment = {**os.environ, **settings}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


@pytest.mark.parametrize("mode", ["process", "inline"])
def test_bad_rules_stop_the_start(tmp_path: Path, mode: str) -> None:
    """Sentence 5: rules that would be left out are named, and nothing is scanned without them."""
    (tmp_path / "own.yar").write_text("rule good { condition: true }\nrule bad { condition: $x }\n")
    refused = started(STOQ_RULES__PATH=str(tmp_path), STOQ_SANDBOX__MODE=mode)
    assert refused.returncode != 0
    assert "ConfigError: own.yar:2: rule 'bad' left out" in refused.stderr
    (tmp_path / "own.yar").write_text("rule good { condition: true }\n")
    assert started(STOQ_RULES__PATH=str(tmp_path), STOQ_SANDBOX__MODE=mode).stdout == "()\n"
