"""Name the tests of a source file: those that carry its name, and those that import it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def covering(source: Path) -> list[Path]:
    """Test files by name first, then by import, each once, in order."""
    module = ".".join(source.with_suffix("").parts)
    parent, _, leaf = module.rpartition(".")
    imports = re.compile(
        rf"^\s*(?:from {re.escape(module)} import|import {re.escape(module)}\b"
        rf"|from {re.escape(parent)} import [^\n]*\b{re.escape(leaf)}\b)",
        re.MULTILINE,
    )
    files = sorted((ROOT / "tests").rglob("*.py"))
    named = [file for file in files if file.stem == f"test_{leaf}"]
    importing = [file for file in files if file not in named and imports.search(file.read_text("utf-8"))]
    return [file.relative_to(ROOT) for file in (*named, *importing)]


def main() -> None:
    """Print them, one a line; exit code 1 where there are none."""
    for argument in sys.argv[1:]:
        source = (ROOT / argument).resolve()
        if not source.is_file() or ROOT not in source.parents:
            raise SystemExit(f"{argument}: no file of this project")
        found = covering(source.relative_to(ROOT))
        if not found:
            raise SystemExit(f"{argument}: no test names or imports it")
        print("\n".join(map(str, found)))


if __name__ == "__main__":
    main()
