"""The house rules: sizes, first sentences, names, locks, what an import costs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import stoq_core

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = [
    one for top in ("stoq_core", "handlers", "plugins", "infra") for one in sorted((ROOT / top).rglob("*.py"))
]
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a file."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


@pytest.mark.parametrize("file", SOURCES, ids=lambda one: str(one.relative_to(ROOT)))
def test_a_source_file(file: Path) -> None:
    """At most 400 lines (or a reason at the top), functions of 60, a first sentence, nothing unfinished."""
    text = file.read_text()
    assert text.count("\n") <= 400 or text.startswith("# Over 400 lines:")
    assert ast.get_docstring(ast.parse(text))
    long = [one.name for one in functions(file) if (one.end_lineno or 0) - one.lineno + 1 > 60]
    assert not long
    assert not re.search(r"\b(TODO|FIXME|NotImplementedError)\b", text)
    assert file.stem not in {"utils", "helpers", "common", "manager"}


def test_tests_state_their_requirement() -> None:
    """Every test has a docstring."""
    bare = [
        f"{file.name}:{one.name}"
        for file in TESTS
        for one in functions(file)
        if one.name.startswith("test_") and not ast.get_docstring(one)
    ]
    assert not bare


def test_public_names_are_sorted_and_there() -> None:
    """`stoq_core.__all__` is sorted, and each name can be had; any other one is refused as usual."""
    assert list(stoq_core.__all__) == sorted(stoq_core.__all__)
    assert all(hasattr(stoq_core, one) for one in stoq_core.__all__)
    assert set(stoq_core.__all__) <= set(dir(stoq_core))
    assert not hasattr(stoq_core, "Plugins")


def test_locks_name_no_address() -> None:
    """No lock file says where packages come from, and each pins hashes."""
    locks = [*ROOT.glob("requirements*.txt"), ROOT / "package-lock.json"]
    for lock in locks:
        assert "://" not in re.sub(r'"(url|funding|homepage)": .*', "", lock.read_text()), lock
    assert all("--hash=sha256:" in one.read_text() for one in locks if one.suffix == ".txt")


def test_every_target_has_help() -> None:
    """Each target of the Makefile has its line."""
    text = (ROOT / "Makefile").read_text()
    text = text.replace("\\\n", " ")
    targets = set(re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)[0].split())
    helped = set(re.findall(r"^([a-z0-9-]+):.*## ", text, re.MULTILINE))
    assert targets == helped


def loaded(statement: str) -> set[str]:
    """The modules that a statement brings into a fresh interpreter."""
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


HEAVY = {
    "typer",
    "rich",
    "boto3",
    "botocore",
    "yara_x",
    "puremagic",
    "py7zr",
    "pefile",
    "lief",
    "lz4",
    "brotli",
    "acefile",
    "obstore",
    "jinja2",
    "asyncio",
    "cryptography",
    "google.api_core",  # not google itself: its packages put that into every interpreter
    "grpc",
    "psycopg",
    "multiprocessing",
    "oletools",
    "olefile",
    "msoffcrypto",
    "publicsuffixlist",
    "pyparsing",
}


def test_the_core_imports_nothing_heavy() -> None:
    """The core costs msgspec and the standard library, no more."""
    assert not HEAVY & loaded("import stoq_core, stoq_core.pipeline")


def test_plugins_import_nothing_heavy_before_they_work() -> None:
    """Loading every plugin's module brings no library: the cold path pays only for what it uses."""
    modules = [
        ".".join(one.relative_to(ROOT).with_suffix("").parts) for one in (ROOT / "plugins").rglob("[!_]*.py")
    ]
    assert not HEAVY & loaded("import " + ", ".join(sorted(modules)))


def test_the_wheel_holds_the_core_alone(tmp_path: Path) -> None:
    """`plugins` and `handlers` are no names for anybody's site-packages."""
    import zipfile

    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    wheel = next(tmp_path.glob("*.whl"))
    tops = {one.split("/")[0] for one in zipfile.ZipFile(wheel).namelist()}
    assert {one for one in tops if not one.endswith(".dist-info")} == {"stoq_core"}
