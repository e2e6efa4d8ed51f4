"""Write the lock files: each dependency with its hashes, for all Pythons and platforms, no address."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BUILD = "build"
EXTRAS = ("aws", "gcp", "azure", "image", "dev")
_ADDRESSES = ("resolved", "funding")
"""Fields of npm's lock that hold addresses; `integrity` stays and is what npm checks."""

_HEADER = """# Locked by `make lock` from pyproject.toml ({what}). Install with --require-hashes.
# inputs: {digest}
"""
_SELF = re.compile(r"^stoq-serverless\[(?P<extra>\w+)\]$")


def lock_file(extra: str | None) -> Path:
    """requirements.txt, or requirements-EXTRA.txt; the extra `build` is what makes the editable install."""
    return ROOT / (f"requirements-{extra}.txt" if extra else "requirements.txt")


def inputs(extra: str | None) -> list[str]:
    """The requirements in pyproject.toml that a lock file answers, with those of extras that it names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    if extra == BUILD:
        return list(project["build-system"]["requires"])
    wanted = list(project["project"]["dependencies"])
    return wanted + (_of_extra(project, extra) if extra else [])


def _of_extra(project: dict[str, Any], extra: str) -> list[str]:
    found: list[str] = []
    for one in project["project"]["optional-dependencies"][extra]:
        other = _SELF.match(one)
        found += _of_extra(project, other["extra"]) if other else [one]
    return found


def digest(extra: str | None) -> str:
    """What the header of a lock file says about its inputs, so that a stale one is noticed offline."""
    return hashlib.sha256(json.dumps(sorted(inputs(extra))).encode()).hexdigest()[:16]


def compile_lock(extra: str | None, *, upgrade: bool) -> None:
    """Write one file. All others take the versions of requirements.txt, so any may be installed with it."""
    target = lock_file(extra)
    command = [
        "uv", "pip", "compile", "--universal", "--generate-hashes", "--python-version", "3.11",
        "--no-header", "--no-emit-index-url", "--no-emit-find-links", "--no-annotate", "--quiet",
        "--output-file", str(target),
    ]  # fmt: skip
    if extra:
        command += ["--constraints", str(lock_file(None))]
    if upgrade:
        command.append("--upgrade")
    source = "\n".join(inputs(extra))
    subprocess.run([*command, "-"], input=source, text=True, check=True, cwd=ROOT)  # noqa: S603 - our own words
    lines = [one for one in target.read_text("utf-8").splitlines() if not one.startswith(("--", "#"))]
    what = f"extra {extra}" if extra in EXTRAS else "the build" if extra else "the core"
    target.write_text(_HEADER.format(what=what, digest=digest(extra)) + "\n".join(lines) + "\n", "utf-8")


def lock_npm(*, upgrade: bool) -> None:
    """Write package-lock.json from package.json, then take the addresses out of it."""
    file = ROOT / "package-lock.json"
    if upgrade:
        file.unlink(missing_ok=True)
    npm = ["npm", "install", "--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(npm, check=True, cwd=ROOT)  # noqa: S603 - our own words
    locked = json.loads(file.read_text("utf-8"))
    for package in locked["packages"].values():
        for name in _ADDRESSES:
            package.pop(name, None)
        for name in ("deprecated", "license"):
            if "://" in str(package.get(name, "")):
                package[name] = "deprecated" if name == "deprecated" else "SEE LICENSE IN ITS README"
    file.write_text(json.dumps(locked, indent=2, ensure_ascii=False) + "\n", "utf-8")


def main() -> None:
    """Lock everything; `--upgrade` takes newer versions."""
    upgrade = "--upgrade" in sys.argv
    for extra in (None, BUILD, *EXTRAS):
        compile_lock(extra, upgrade=upgrade)
    lock_npm(upgrade=upgrade)


if __name__ == "__main__":
    main()
