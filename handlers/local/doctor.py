"""`stoq doctor`: what this machine offers, what it lacks, and what to do about each."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from rich.text import Text

from handlers import bootstrap
from stoq_core.config import Config
from stoq_core.errors import StoqError
from stoq_core.registry import Registry
from stoq_core.sandbox import landlock, protect
from stoq_core.sandbox.client import Sandbox
from stoq_core.tools import find

from .scanning import configured
from .show import console, safe

ADVICE = {
    "parent_opaque": "Linux has it; elsewhere scan files you trust to no secrets of this user",
    "no_network": "a Linux kernel with seccomp filters (CONFIG_SECCOMP_FILTER), x86_64 or aarch64",
    "no_new_privileges": "Linux 3.5 or newer",
    "own_uid": "run as root where the libraries are readable to all (a container), or live with it",
    "no_capabilities": "Linux has it",
    "rlimits": "a system with setrlimit",
    "landlock": (
        "Linux 5.13 or newer, with landlock in the kernel's `lsm=` list; without it children read what this"
        " user may read, also of its other processes that are not closed to it"
    ),
    "tool_files": (
        "the same; without it no tool runs (7-Zip, unar, ExifTool), unless sandbox.accept_missing names"
        " tool_files"
    ),
    "seccomp": "a Linux kernel with seccomp filters (CONFIG_SECCOMP_FILTER), x86_64 or aarch64",
}
"""What brings each protection, by its name."""


def examine(config_file: Path | None) -> int:
    """Print all of it; 0 where nothing is lacking that handlers require, else 2."""
    config = configured(config_file)
    found = bootstrap.registry(config)
    console.print(
        f"{platform.system()} {platform.release()} {platform.machine()}, Landlock ABI {landlock.abi()}"
    )
    console.print(f"Python {platform.python_version()}")
    lacking = _sandbox(config)
    _tools(found, config)
    _libraries(found)
    return 2 if lacking else 0


def _sandbox(config: Config) -> bool:
    _title("sandbox")
    try:
        sandbox = Sandbox(config, bootstrap.BUNDLE / "plugins", tuple(map(Path, config.plugin_paths)))
    except StoqError as error:
        _line("sandbox", str(error), good=False)
        return True
    try:
        sandbox.ready()
        facts = sandbox.facts
    except StoqError as error:
        _line("sandbox", str(error), good=False)
        return True
    finally:
        sandbox.close()
    missing: dict[str, str] = facts["missing"]
    for name, what in protect.PROTECTIONS.items():
        if name in missing:
            _line(name, f"{missing[name]}. To have it: {ADVICE[name]}", good=False)
        else:
            _line(name, what, good=True)
    return any(name in missing for name in bootstrap.REQUIRED)


def _tools(found: Registry, config: Config) -> None:
    wanted: dict[str, tuple[str, set[str]]] = {}
    for cls in _classes(found):
        for name, tool in cls.tools.items():
            wanted.setdefault(name, (tool.brings, set()))[1].add(cls.__module__.rpartition(".")[2])
    _title("tools")
    if not wanted:
        console.print("  no plugin runs any")
    for tool, (brings, users) in sorted(wanted.items()):
        path = find(tool, config.sandbox.tools)
        advice = f"not found; {', '.join(sorted(users))} needs it: apt-get install {brings}"
        _line(tool, path or f"{advice}, or sandbox.tools.{tool} = /path/to/it", good=path is not None)


def _libraries(found: Registry) -> None:
    _title("plugins")
    count = 0
    for one in found:
        try:
            trouble = found.missing_library(one.kind, one.name)
        except StoqError as error:
            trouble = str(error)
        if trouble:
            _line(f"{one.kind} {one.name}", trouble, good=False)
        count += trouble is None
    console.print(f"  {count} plugins have all that they need")


def _classes(found: Registry) -> list[Any]:
    classes = []
    for one in found:
        try:
            classes.append(found.load(one.kind, one.name))
        except StoqError:
            continue  # named under `plugins`
    return classes


def _title(text: str) -> None:
    console.print(Text(text, "bold"))


def _line(name: str, what: str, *, good: bool) -> None:
    mark = Text("  yes " if good else "  no  ", "green" if good else "magenta")
    console.print(mark.append(f"{name:<18}", "bold").append(f" {safe(what)}", "dim"))
