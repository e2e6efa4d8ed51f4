"""Real files out of other projects' packages: fetched once, kept under `build/samples`, never committed."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

VERSIONS = {
    "hachoir": "3.4.0",
    "mail-parser": "4.8.0",
    "oletools": "0.60.2",
    "patool": "4.0.7",
    "pyelftools": "0.33",
    "pypdf": "7.1.1",
    "rarfile": "4.5",
    "tnefparse": "1.4.0",
}
"""Source packages, pinned: what a test says about their files stays true."""

_FOLDERS = {
    "hachoir": "tests/files",
    "mail-parser": "tests/mails",
    "oletools": "tests/test-data",
    "patool": "tests/data",
    "pyelftools": "test",
    "pypdf": "resources",
    "rarfile": "test/files",
    "tnefparse": "tests/examples",
}
_KEPT = Path(__file__).resolve().parent.parent / "build" / "samples"
_FETCH_S = 300


@functools.cache
def source(name: str) -> Path:
    """The top folder of a source package; skips the test where it cannot be downloaded."""
    requirement = f"{name}=={VERSIONS[name]}"
    folder = _kept(requirement, lambda into: _pip(into, requirement, "--no-binary", ":all:"))
    return next(one for one in folder.iterdir() if one.is_dir())


@functools.cache
def wheel(requirement: str, platform: str, python: str) -> Path:
    """The folder of a wheel for a platform (`win_amd64`) and a Python (`3.11`); nothing of it is run."""
    words = ("--only-binary", ":all:", "--platform", platform, "--python-version", python)
    return _kept(f"{requirement}-{platform}", lambda into: _pip(into, requirement, *words))


@functools.cache
def debian(package: str) -> Path:
    """The folder of a Debian package's files; skips the test where apt cannot bring it."""
    return _kept(package, lambda into: _apt(into, package))


def folder(name: str) -> Path:
    """Where the samples of a package lie: one of `VERSIONS`, `clamav` (Debian's) or `email` (CPython's)."""
    if name == "clamav":
        return debian("clamav-testfiles") / "usr" / "share" / "clamav-testfiles"
    if name == "email":
        return _email()
    return source(name) / _FOLDERS[name]


def files(name: str) -> list[Path]:
    """Every sample of a package, sorted; programs that make or test them are none."""
    found = (one for one in folder(name).rglob("*") if one.is_file() and not one.is_symlink())
    return sorted(one for one in found if one.suffix not in (".py", ".pyc"))


def content(name: str, sample: str) -> bytes:
    """One sample, named from the package's `folder`."""
    return (folder(name) / sample).read_bytes()


def executables() -> Iterator[Path]:
    """PE (packed ones, drivers, DLLs, signed ones), NE, ELF of many processors, Mach-O and Java classes."""
    for pattern in ("*.exe", "*.elf", "*.macho", "*.class", "ping_*"):
        yield from sorted(folder("hachoir").glob(pattern))
    for one in files("pyelftools"):
        with one.open("rb") as file:
            if file.read(4) == b"\x7fELF":
                yield one
    yield from files("clamav")
    yield from sorted(wheel("msvc-runtime==14.44.35112", "win_amd64", "3.11").rglob("*.dll"))


def _email() -> Path:
    """CPython's own mails; skips where the interpreter came without its tests."""
    data = Path(sysconfig.get_path("stdlib")) / "test" / "test_email" / "data"
    if not data.is_dir():
        pytest.skip("this Python came without its tests: its mails are not there (libpython3-testsuite)")
    return data


def _kept(name: str, fetch: Callable[[Path], object]) -> Path:
    """The folder `name`; fetched and unpacked beside it first, so that no half of it is ever used."""
    kept = _KEPT / name
    if kept.is_dir():
        return kept
    _KEPT.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=_KEPT))
    try:
        fetch(made)
        made.chmod(0o755)
        os.rename(made, kept)
    except (OSError, subprocess.SubprocessError) as error:
        if not kept.is_dir():  # another worker may have been faster
            pytest.skip(f"{name} brings the samples and cannot be fetched here: {type(error).__name__}")
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return kept


def _pip(into: Path, requirement: str, *words: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += [*words, "--dest", str(into), requirement]
    subprocess.run(command, check=True, capture_output=True, timeout=_FETCH_S)
    for one in list(into.iterdir()):
        if one.suffix in (".whl", ".zip"):
            with zipfile.ZipFile(one) as archive:
                archive.extractall(into)
        else:
            with tarfile.open(one) as packed:
                packed.extractall(into, filter="data")
        one.unlink()


def _apt(into: Path, package: str) -> None:
    command = ["apt-get", "download", "-qq", package]
    subprocess.run(command, cwd=into, check=True, capture_output=True, timeout=_FETCH_S)
    for one in list(into.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(one), str(into)], check=True, capture_output=True)
        one.unlink()
