"""The image: what it installs is what the plugins' classes name; small, pinned, not root; lint is clean."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stoq_core.registry import Registry

ROOT = Path(__file__).resolve().parent.parent.parent
DOCKERFILE = ROOT / "infra" / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Every instruction and its words, comments out and lines joined."""
    text = re.sub(r"(?m)^\s*#.*\n", "", DOCKERFILE.read_text()).replace("\\\n", " ")
    rows = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [(name, words) for name, words in rows]


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage; what stands before the first FROM is left out."""
    found: list[list[tuple[str, str]]] = []
    for name, words in instructions():
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, words))
    return found


def installed(stage: list[tuple[str, str]]) -> set[str]:
    """The Debian packages of a stage."""
    packages: set[str] = set()
    for name, words in stage:
        for part in words.split("&&") if name == "RUN" else ():
            if part.split()[:2] == ["apt-get", "install"]:
                packages |= {one for one in part.split()[2:] if not one.startswith("-")}
    return packages


def named_by_plugins() -> set[str]:
    """The Debian packages that the classes' `tools` name; advice in words is none."""
    registry = Registry(ROOT / "plugins")
    values = {
        tool.brings for found in registry for tool in registry.load(found.kind, found.name).tools.values()
    }
    return {one for one in values if re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", one)}


def test_the_image_installs_the_tools_and_nothing_else() -> None:
    """The last stage's packages are the union of the plugins' `tools`."""
    assert installed(stages()[-1]) == named_by_plugins()
    assert installed(stages()[0]) == {"g++"}


def test_the_packages_exist_here() -> None:
    """Apt would install them: all on the image's Debian, those that an older one has on that."""
    if shutil.which("apt-get") is None:
        pytest.skip("apt-get knows the packages: a Debian or Ubuntu is needed")
    known = [
        one
        for one in sorted(installed(stages()[-1]))
        if subprocess.run(["apt-cache", "show", one], capture_output=True, check=False).returncode == 0
    ]
    if "trixie" in Path("/etc/os-release").read_text():
        assert set(known) == installed(stages()[-1])
    if not known:
        pytest.skip("apt has no lists yet: apt-get update")
    done = subprocess.run(
        ["apt-get", "install", "--simulate", "--no-install-recommends", *known],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_apt_layer_is_clean() -> None:
    """No recommended packages, no lists left behind, all in one layer."""
    layers = [words for name, words in instructions() if name == "RUN" and "apt-get" in words]
    assert len(layers) == len(stages())
    for words in layers:
        assert "apt-get update" in words
        assert "--no-install-recommends" in words
        assert "rm -rf /var/lib/apt/lists/*" in words


def test_it_does_not_run_as_root() -> None:
    """The last USER is a number that is not 0, and nothing after it changes that."""
    users = [words for name, words in stages()[-1] if name == "USER"]
    assert users
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])


def test_nothing_comes_from_elsewhere() -> None:
    """No ADD, no address, no curl: packages come from Debian and from the locks, which pin hashes."""
    names = {name for name, _ in instructions()}
    assert "ADD" not in names
    words = " ".join(words for _, words in instructions())
    assert "://" not in words
    assert not re.search(r"\b(curl|wget|git clone)\b", words)
    pips = re.findall(r"pip install (.*?)(?:&&|$)", words)
    assert pips
    assert all("--require-hashes" in one and "--no-cache-dir" in one for one in pips)


def test_the_base_is_pinned() -> None:
    """Both stages stand on one base, named by version and release of Debian; never `latest`."""
    bases = [words for name, words in instructions() if name == "ARG" and words.startswith("BASE=")]
    assert len(bases) == 1
    assert re.fullmatch(r"BASE=python:3\.13-slim-[a-z]+", bases[0])
    assert all(words.startswith("${BASE}") for name, words in instructions() if name == "FROM")


def test_what_is_copied_is_there() -> None:
    """Each COPY from the checkout names what exists and what the ignore file lets through."""
    ignore = (ROOT / "infra" / "Dockerfile.dockerignore").read_text().splitlines()
    for name, words in instructions():
        if name != "COPY" or "--from" in words:
            continue
        for source in words.split()[:-1]:
            concrete = source.replace("${CLOUD}", "aws").removeprefix("./")
            assert (ROOT / concrete).exists(), concrete
            shown = {"!" + concrete, "!requirements-*.txt" if concrete.startswith("requirements") else ""}
            assert shown & set(ignore), concrete


def test_hadolint_finds_nothing() -> None:
    """The Dockerfile's own linter is content."""
    program = Path(sys.executable).with_name("hadolint")
    if not program.exists():
        pytest.skip("hadolint checks the Dockerfile: make setup-dev brings it")
    done = subprocess.run([str(program), str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_image_has_what_a_lambda_container_needs() -> None:
    """AWS starts a container by its runtime interface client, which the image's lock pins."""
    assert "\nawslambdaric==" in (ROOT / "requirements-image.txt").read_text()
