"""Real documents and mails from other projects' test packages, downloaded once into build/samples."""

from __future__ import annotations

import functools
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent / "build" / "samples"
PACKAGES = {"oletools": "0.60.2", "tnefparse": "1.4.0", "mail-parser": "4.8.0"}
_FOLDERS = {"oletools": "tests/test-data", "tnefparse": "tests/examples", "mail-parser": "tests/mails"}


@functools.cache
def package(name: str) -> Path:
    """The folder of a package's samples; skips the test where it cannot be downloaded."""
    version = PACKAGES[name]
    target = ROOT / f"{name}-{version}"
    if not target.exists():
        _download(f"{name}=={version}", target)
    return next(target.glob(f"*/{_FOLDERS[name]}"))


def _download(requirement: str, target: Path) -> None:
    held = ROOT / "downloads"
    held.mkdir(parents=True, exist_ok=True)
    before = set(held.iterdir())
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-binary",
        ":all:",
        requirement,
    ]
    done = subprocess.run([*command, "-d", str(held)], capture_output=True, text=True, check=False)
    archive = next(iter(set(held.iterdir()) - before), None)
    if done.returncode or archive is None:
        pytest.skip(
            f"{requirement} cannot be downloaded: pip download --no-deps --no-binary :all: {requirement}"
        )
    part = target.with_suffix(".part")
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(part)
    else:
        with tarfile.open(archive) as unpacked:
            unpacked.extractall(part, filter="data")
    archive.unlink()
    part.rename(target)


@functools.cache
def clamav() -> Path:
    """Debian's clamav-testfiles; skips where apt cannot bring it."""
    target = ROOT / "clamav-testfiles"
    if not target.exists():
        ROOT.mkdir(parents=True, exist_ok=True)
        for stale in ROOT.glob("clamav-testfiles_*.deb"):
            stale.unlink()
        try:
            subprocess.run(
                ["apt-get", "download", "clamav-testfiles"], cwd=ROOT, check=True, capture_output=True
            )
            deb = next(ROOT.glob("clamav-testfiles_*.deb"))
            subprocess.run(["dpkg-deb", "-x", str(deb), str(target)], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError, StopIteration):
            pytest.skip("clamav-testfiles cannot be downloaded: apt-get download clamav-testfiles")
    return target / "usr" / "share" / "clamav-testfiles"


def email_data() -> Path:
    """CPython's own mails; skips where the interpreter came without its tests."""
    folder = Path(sysconfig.get_path("stdlib")) / "test" / "test_email" / "data"
    if not folder.is_dir():
        pytest.skip("this Python came without its tests: its mails are not there")
    return folder


def files(name: str) -> list[Path]:
    """Every sample of a source, sorted."""
    folder = {"clamav": clamav, "email": email_data}.get(name, lambda: package(name))()
    return sorted(one for one in folder.rglob("*") if one.is_file() and one.suffix != ".py")
