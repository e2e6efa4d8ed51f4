"""The tests of a source file are found by name and by import."""

from __future__ import annotations

from pathlib import Path

from infra.where import covering


def test_by_name_first_then_by_import() -> None:
    """The file's own test comes first; others that import it follow."""
    found = [str(file) for file in covering(Path("stoq_core/account.py"))]
    assert found[0] == "tests/stoq_core/test_account.py"
    assert "tests/plugins/workers/test_carve.py" in found


def test_what_nobody_tests() -> None:
    """A file without a test has none."""
    assert covering(Path("plugins/nothing_of_that_name.py")) == []
