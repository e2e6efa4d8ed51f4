"""A plugin is code: no folder is taken that another user of the machine could write to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from handlers import bootstrap
from stoq_core.config import load
from stoq_core.errors import ConfigError


@pytest.mark.parametrize("place", ["", "workers", "workers/mine.py"])
@pytest.mark.parametrize("trouble", ["everybody", "another user"])
def test_a_folder_of_others_is_refused(tmp_path: Path, place: str, trouble: str) -> None:
    """It, a kind's folder in it, or a plugin: the line says which and what to do."""
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "mine.py").write_text("")
    config = load(overrides=[("plugin_paths", [str(tmp_path)])])
    bootstrap.registry(config)
    if trouble == "everybody":
        (tmp_path / place).chmod(0o777)
    elif os.getuid() != 0:
        pytest.skip("only root gives a file away")
    else:
        os.chown(tmp_path / place, 4_711, 4_711)
    with pytest.raises(ConfigError, match=trouble) as refused:
        bootstrap.registry(config)
    assert str(tmp_path / place) in str(refused.value)
