"""Make a function's bundle: locked libraries for the function's platform, the code, the compiled rules."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from plugins._rules.rulesets import SHIPPED, build_ruleset  # noqa: E402 - found by the line above
from stoq_core.plugin import KINDS  # noqa: E402

MOST_BYTES = 250 * 1000 * 1000
"""What Lambda takes, unzipped; the other clouds take more."""

_OF_PYTHON_2 = frozenset({"olefile2.py"})  # Google's build compiles all and stops at what it cannot

NOT_DISTRIBUTED = frozenset({"pcodedmp", "easygui", "win-unicode-console"})
"""What oletools requires and nothing here imports; pcodedmp is GPL-3.0."""

NOT_IN_FUNCTIONS = frozenset({
    "typer", "rich", "pygments", "markdown-it-py", "mdurl", "shellingham", "click", "annotated-doc",
    "colorama", "pydantic", "pydantic-core", "annotated-types", "typing-inspection",
    *NOT_DISTRIBUTED,
})  # fmt: skip
"""The command line's own libraries and theirs: a function prints nothing."""


@dataclass(frozen=True)
class Cloud:
    """What is a cloud's own in its bundle."""

    home: str
    """Where the platform unpacks the bundle: tracebacks name the files there."""
    archs: tuple[str, ...]
    """What its functions run on; the first is the default."""
    keeps: frozenset[str] = frozenset()
    """Libraries of the command line that one of its SDKs needs too."""
    shims: dict[str, str] = field(default_factory=dict)
    """Files that the platform looks for at the bundle's root, by name."""
    libraries: str = "."
    """The folder of the bundle where the platform looks for libraries."""


_GOOGLE_MAIN = '''"""The entry points of handlers/gcp; each starts cold when the framework asks for it."""

import importlib


def __getattr__(name):
    """The trigger's handler: `--target NAME` is `handlers/gcp/NAME.py`."""
    if name.startswith("_"):
        raise AttributeError(name)
    return importlib.import_module(f"handlers.gcp.{name}").handle
'''

CLOUDS = {
    "aws": Cloud(home="/var/task", archs=("arm64", "x86_64")),
    "gcp": Cloud(
        home="/workspace",
        archs=("x86_64",),
        keeps=frozenset({"click"}),  # flask's, of the functions framework
        shims={"main.py": _GOOGLE_MAIN},
    ),
    "azure": Cloud(
        home="/home/site/wwwroot",
        archs=("x86_64",),
        shims={
            name: (ROOT / "infra" / "azure" / name).read_text("utf-8")
            for name in ("function_app.py", "host.json")
        },
        # the worker puts this folder before its own libraries; at the root they would come after them
        libraries=".python_packages/lib/site-packages",
    ),
}

_PLATFORMS = {"arm64": "aarch64-manylinux_2_28", "x86_64": "x86_64-manylinux_2_28"}
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)
# scripts name the interpreter of the machine that built, and so do the lists that name the scripts
_LEFT_OUT = {"RECORD", "REQUESTED", "INSTALLER"}
_IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc")


def needed(lock: str, keeps: frozenset[str] = frozenset()) -> str:
    """The lock file without what functions do not use, but for what `keeps` names."""
    blocks = re.split(r"(?m)^(?=[A-Za-z0-9])", lock)
    return "".join(
        one
        for one in blocks
        if re.split(r"[=\s\[]", one, maxsplit=1)[0].lower().replace("_", "-") not in NOT_IN_FUNCTIONS - keeps
    )


def build(cloud: str, arch: str, python: str, out: Path, extra: list[str], plugins: list[Path]) -> Path:
    """The zip, the same bytes for the same input; stops for one that Lambda would refuse."""
    work = out / f"{cloud}-{arch}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    lock = out / f"{cloud}-{arch}.lock.txt"
    lock.write_text(
        needed((ROOT / f"requirements-{cloud}.txt").read_text("utf-8"), CLOUDS[cloud].keeps), "utf-8"
    )
    _install(work / CLOUDS[cloud].libraries, arch, python, lock, extra)
    add_code(work, cloud, plugins)
    compiled = _compile(work, python, CLOUDS[cloud].home)
    size = sum(one.stat().st_size for one in _files(work))
    if size > MOST_BYTES:
        message = f"the bundle is {size / 1e6:.0f} MB unzipped; Lambda takes {MOST_BYTES / 1e6:.0f} MB"
        raise SystemExit(message)
    target = pack(work, out / f"stoq-{cloud}-{arch}.zip")
    print(f"{target}: {size / 1e6:.1f} MB unzipped, {target.stat().st_size / 1e6:.1f} MB zipped")
    if not compiled:
        print(f"without bytecode, which doubles a cold start: there is no Python {python} on this machine")
    return target


def _install(target: Path, arch: str, python: str, lock: Path, extra: list[str]) -> None:
    beside = Path(sys.executable).with_name("uv")
    install = [
        str(beside) if beside.exists() else "uv", "pip", "install", "--quiet", "--target", str(target),
        "--python-platform", _PLATFORMS[arch], "--python-version", python, "--only-binary", ":all:",
    ]  # fmt: skip
    _run([*install, "--no-deps", "--require-hashes", "-r", str(lock)])
    if extra:
        _run([*install, "--constraint", str(lock), "--", *extra])


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, check=False)  # noqa: S603 - words of our own and the caller's
    except FileNotFoundError:
        message = f"{command[0]} is not installed: make setup-dev brings it"
        raise SystemExit(message) from None
    if done.returncode:
        message = f"{' '.join(command[:3])} failed; what it said stands above"
        raise SystemExit(message)


def add_code(work: Path, cloud: str, plugins: list[Path]) -> None:
    """The core, the shipped plugins, one cloud's handlers, the rules, the config, and others' plugins."""
    for package in ("stoq_core", "plugins", f"handlers/{cloud}"):
        shutil.copytree(ROOT / package, work / package, ignore=_IGNORED)
    shared = sorted(str(one.relative_to(ROOT)) for one in (ROOT / "handlers").glob("*.py"))
    for file in (*shared, "stoq.toml"):
        shutil.copy(ROOT / file, work / file)
    for name, text in CLOUDS[cloud].shims.items():
        (work / name).write_text(text, "utf-8")
    build_ruleset([SHIPPED], work / "rules" / "build")
    kinds = [f"{kind}s" for kind in KINDS]
    for folder in plugins:
        if not any((folder / kind).is_dir() for kind in kinds):
            message = f"--plugins {folder}: holds none of the folders {', '.join(kinds)}"
            raise SystemExit(message)
        shutil.copytree(folder, work / "own_plugins", ignore=_IGNORED, dirs_exist_ok=True)


def interpreter(python: str) -> str | None:
    """A Python of that version on this machine: this one, one on the path, or one that pyenv keeps."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [sys.executable, shutil.which(f"python{python}") or ""]
    candidates += [str(one) for one in sorted(pyenv.glob(f"{python}.*/bin/python{python}"))]
    ask = "import sys; print(f'{sys.version_info[0]}.{sys.version_info[1]}')"
    for one in filter(None, candidates):
        said = subprocess.run([one, "-c", ask], capture_output=True, text=True, check=False)  # noqa: S603
        if said.stdout.strip() == python:
            return one
    return None


def _compile(work: Path, python: str, home: str) -> bool:
    """Bytecode of the function's Python: where it runs nothing can be written, so none would be kept."""
    found = interpreter(python)
    if found is None:
        return False
    # checked against nothing: times do not survive the zip, and the sources beside it never change
    options = ["-q", "-q", "-f", "--invalidation-mode", "unchecked-hash", "-s", str(work), "-p", home]
    command = [found, "-m", "compileall", *options, str(work)]
    # libraries bring files of other Pythons' syntax: those keep their source alone
    subprocess.run(command, check=False, env={**os.environ, "PYTHONHASHSEED": "0"})  # noqa: S603
    return True


def pack(work: Path, target: Path) -> Path:
    """A zip of a folder that depends on names and contents alone."""
    partial = target.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as made:
        for file in _files(work):
            info = zipfile.ZipInfo(file.relative_to(work).as_posix(), _FIXED_TIME)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            made.writestr(info, file.read_bytes())
    return partial.replace(target)


def _files(work: Path) -> Iterator[Path]:
    scripts = {work / cloud.libraries / "bin" for cloud in CLOUDS.values()}
    for one in sorted(work.rglob("*")):
        listed = one.name in _LEFT_OUT and one.parent.name.endswith(".dist-info")
        listed |= one.name in _OF_PYTHON_2
        if one.is_file() and not listed and scripts.isdisjoint(one.parents):
            yield one


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cloud", default="aws", choices=sorted(CLOUDS))
    parser.add_argument("--arch", choices=sorted(_PLATFORMS), help="default: what its functions run on")
    parser.add_argument("--python", default="3.13", help="the runtime's version")
    parser.add_argument("--out", type=Path, default=ROOT / "build")
    parser.add_argument("--with", dest="extra", action="append", default=[], help="a requirement to add")
    parser.add_argument(
        "--plugins", type=Path, action="append", default=[], help="a folder of plugins to add"
    )
    given = parser.parse_args()
    archs = CLOUDS[given.cloud].archs
    arch = given.arch or archs[0]
    if arch not in archs:
        parser.error(f"--cloud {given.cloud} runs on {' or '.join(archs)}")
    given.out.mkdir(parents=True, exist_ok=True)
    build(given.cloud, arch, given.python, given.out.resolve(), given.extra, given.plugins)


if __name__ == "__main__":
    main()
