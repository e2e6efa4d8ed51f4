"""Make a function's bundle: locked libraries for the function's platform, the code, the compiled rules."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MOST_BYTES = 250 * 1000 * 1000
_PLATFORMS = {"arm64": "aarch64-manylinux_2_28", "x86_64": "x86_64-manylinux_2_28"}
# the command line's own libraries: a function prints nothing
_NOT_IN_FUNCTIONS = {
    "typer", "rich", "pygments", "markdown-it-py", "mdurl", "shellingham", "click", "annotated-doc",
}  # fmt: skip
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)


def needed(lock: str) -> str:
    """The lock file without what functions do not use."""
    blocks = re.split(r"(?m)^(?=[A-Za-z0-9])", lock)
    kept = [
        one for one in blocks if re.split(r"[=\s\[]", one, maxsplit=1)[0].lower() not in _NOT_IN_FUNCTIONS
    ]
    return "".join(kept)


def build(cloud: str, arch: str, python: str, out: Path, extra: list[str], plugins: list[Path]) -> Path:
    """The zip; refuses one over 250 MB unzipped, which Lambda would refuse."""
    work = out / f"{cloud}-{arch}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    lock = out / "lock.txt"
    lock.write_text(needed((ROOT / f"requirements-{cloud}.txt").read_text()))
    install = [
        "uv", "pip", "install", "--quiet", "--target", str(work), "--python-platform", _PLATFORMS[arch],
        "--python-version", python, "--only-binary", ":all:",
    ]  # fmt: skip
    subprocess.run([*install, "--no-deps", "--require-hashes", "-r", str(lock)], check=True)  # noqa: S603
    if extra:
        subprocess.run([*install, *extra], check=True)  # noqa: S603
    _add_code(work, cloud, plugins)
    size = sum(one.stat().st_size for one in _files(work))
    if size > MOST_BYTES:
        message = f"the bundle is {size / 1e6:.0f} MB unzipped; Lambda takes {MOST_BYTES / 1e6:.0f} MB"
        raise SystemExit(message)
    target = out / f"stoq-{cloud}-{arch}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:
        for file in _files(work):
            info = zipfile.ZipInfo(file.relative_to(work).as_posix(), _FIXED_TIME)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            made.writestr(info, file.read_bytes())
    print(f"{target}: {size / 1e6:.1f} MB unzipped, {target.stat().st_size / 1e6:.1f} MB zipped")
    return target


def _add_code(work: Path, cloud: str, plugins: list[Path]) -> None:
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    for package in ("stoq_core", "plugins"):
        shutil.copytree(ROOT / package, work / package, ignore=ignore)
    (work / "handlers").mkdir()
    for file in ("__init__.py", "bootstrap.py"):
        shutil.copy(ROOT / "handlers" / file, work / "handlers" / file)
    shutil.copytree(ROOT / "handlers" / cloud, work / "handlers" / cloud, ignore=ignore)
    shutil.copy(ROOT / "stoq.toml", work / "stoq.toml")
    sys.path.insert(0, str(ROOT))
    from plugins._rules import SHIPPED, build_ruleset

    build_ruleset([SHIPPED], work / "rules" / "build")
    for folder in plugins:
        shutil.copytree(folder, work / "own_plugins", ignore=ignore, dirs_exist_ok=True)


def _files(work: Path) -> Iterator[Path]:
    for one in sorted(work.rglob("*")):
        if one.is_file() and "__pycache__" not in one.parts:
            yield one


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cloud", default="aws", choices=("aws",))
    parser.add_argument("--arch", default="arm64", choices=sorted(_PLATFORMS))
    parser.add_argument("--python", default="3.13", help="the runtime's version")
    parser.add_argument("--out", type=Path, default=ROOT / "build")
    parser.add_argument("--with", dest="extra", action="append", default=[], help="a requirement to add")
    parser.add_argument(
        "--plugins", type=Path, action="append", default=[], help="a folder of plugins to add"
    )
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    build(given.cloud, given.arch, given.python, given.out, given.extra, given.plugins)


if __name__ == "__main__":
    main()
