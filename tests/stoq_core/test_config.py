"""Layers, and refusals that say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoq_core.config import load
from stoq_core.errors import ConfigError


def test_layers(tmp_path: Path) -> None:
    """File over defaults, settings over the file, the call over all; 0 and false are honoured."""
    file = tmp_path / "stoq.toml"
    file.write_text("[limits]\ndepth = 3\npayloads = 7\n[scan]\ndedup = false\n")
    config = load(file, {"STOQ_LIMITS__PAYLOADS": "8", "HOME": "/"}, [("limits.depth", "0")])
    assert (config.limits.depth, config.limits.payloads, config.scan.dedup) == (0, 8, False)
    assert config.digest != load().digest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[limts]\n", "Did you mean 'limits'"),
        ("[limits]\ndepht = 1\n", "Did you mean 'depth'"),
        ("[limits]\ndepth = -1\n", "limits.depth"),
        ("[limits]\ndepth = 'x'\n", "limits.depth"),
        ("[scan]\nmax_recursion = 1\n", "limits.depth"),
        ("limits = 3\n", "is a section"),
        ("[worker]\nyara = 1\n", r"\[worker.yara\]"),
        ("a = [", "not valid TOML"),
    ],
)
def test_mistakes_are_named(text: str, words: str, tmp_path: Path) -> None:
    """One message that names the file and what to do."""
    file = tmp_path / "stoq.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        load(file)
    assert str(file) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Named, with the reason."""
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.toml")
