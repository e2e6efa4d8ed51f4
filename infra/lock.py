"""Write the lock files: every dependency with hashes, for all Pythons and platforms, no address in them."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("aws", "gcp", "azure", "image", "dev")
_HEADER = "# Locked by `make lock` from pyproject.toml ({what}). Install with --require-hashes.\n"


def lock(extra: str | None, *, upgrade: bool) -> None:
    """One file: requirements.txt, or requirements-EXTRA.txt with the versions of the first one."""
    target = ROOT / (f"requirements-{extra}.txt" if extra else "requirements.txt")
    command = [
        "uv", "pip", "compile", "--universal", "--generate-hashes", "--python-version", "3.11",
        "--no-header", "--no-emit-index-url", "--no-emit-find-links", "--no-annotate", "--quiet",
        "--output-file", str(target), str(ROOT / "pyproject.toml"),
    ]  # fmt: skip
    if extra:
        command += ["--extra", extra]
        if extra != "dev":
            command += ["--constraints", str(ROOT / "requirements.txt")]
    if upgrade:
        command.append("--upgrade")
    subprocess.run(command, check=True)  # noqa: S603 - our own words
    text = "\n".join(line for line in target.read_text().splitlines() if not line.startswith("--"))
    target.write_text(
        _HEADER.format(what=f"extra {extra}" if extra else "the core") + text.lstrip("\n") + "\n"
    )


def main() -> None:
    """Lock everything; `--upgrade` takes newer versions."""
    tomllib.loads((ROOT / "pyproject.toml").read_text())
    for extra in (None, *EXTRAS):
        lock(extra, upgrade="--upgrade" in sys.argv)


if __name__ == "__main__":
    main()
