"""Real files from other projects' test packages: fetched once, kept under build/samples, never committed."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

KEPT = Path(__file__).resolve().parent.parent / "build" / "samples"


def sdist(name: str, version: str) -> Path:
    """The source archive of a package, from the index that pip uses; skips where it cannot be had."""
    KEPT.mkdir(parents=True, exist_ok=True)
    file = KEPT / f"{name}-{version}.tar.gz"
    if not file.exists():
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:"]
        command += ["--no-build-isolation", "--quiet", "--dest", str(KEPT), f"{name}=={version}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not file.exists():
            pytest.skip(f"{name} {version} cannot be downloaded: {done.stderr[-200:]}")
    return file


def sdist_member(name: str, version: str, member: str) -> bytes:
    """One file of it, named from the archive's top folder."""
    with tarfile.open(sdist(name, version)) as archive:
        reader = archive.extractfile(f"{name}-{version}/{member}")
        assert reader is not None
        return reader.read()


def debian(package: str, below: str) -> dict[str, bytes]:
    """The files of a Debian package below a folder, by name; skips where apt cannot bring it."""
    KEPT.mkdir(parents=True, exist_ok=True)
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip(f"{package} comes from Debian's archive, which needs apt-get and dpkg-deb")
    if not list(KEPT.glob(f"{package}_*.deb")):
        subprocess.run(["apt-get", "download", package], cwd=KEPT, capture_output=True, check=False)
    found = sorted(KEPT.glob(f"{package}_*.deb"))
    if not found:
        pytest.skip(f"{package} cannot be downloaded (apt-get download {package})")
    content = subprocess.run(["dpkg-deb", "--fsys-tarfile", found[-1]], capture_output=True, check=True)
    files = {}
    with tarfile.open(fileobj=io.BytesIO(content.stdout)) as archive:
        for one in archive:
            reader = archive.extractfile(one) if one.isfile() else None
            if reader is not None and one.name.removeprefix("./").startswith(below):
                files[one.name.rpartition("/")[2]] = reader.read()
    return files
