"""What children read from the disk: libraries, plugins and rules; never the folder of a checkout."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from stoq_core.config import Config

_NOT_IMPORTED = frozenset({"handlers", "infra", "tests", "docs", "node_modules"})
"""Folders of this project that no plugin imports."""
_MODULES = (".py", ".pyc", ".so")
_OF_PACKAGES = (".dist-info", ".libs", ".data")


def readable(config: Config, shipped: Path, extra: tuple[Path, ...]) -> list[str]:
    """Folders and files that children read, each once, in no folder of a user's."""
    found = [sys.prefix, sys.base_prefix, str(shipped), *map(str, extra)]
    for path in sys.path:
        found += _of_path(path) if path else []
    found += [config.rules.path] if config.rules.path else []
    existing = dict.fromkeys(os.path.abspath(one) for one in found if os.path.exists(one))
    home = os.path.abspath(os.path.expanduser("~"))
    return [one for one in existing if one not in ("/", home)]


def _of_path(path: str) -> Iterator[str]:
    """An installation's folder as it is; of every other one only the packages and modules in it.

    So a config, a history or a note beside them stays closed.
    """
    if path.endswith((".zip", "-packages")) or _within(path, sys.prefix) or _within(path, sys.base_prefix):
        yield path
        return
    with suppress(OSError):
        for each in os.scandir(path):
            if each.name.startswith(".") or each.name in _NOT_IMPORTED:
                continue
            package = each.is_dir() and os.path.exists(os.path.join(each.path, "__init__.py"))
            if (
                package
                or each.name.endswith(_OF_PACKAGES)
                or (each.is_file() and each.name.endswith(_MODULES))
            ):
                yield each.path


def _within(path: str, folder: str) -> bool:
    return os.path.commonpath([os.path.abspath(path), os.path.abspath(folder)]) == os.path.abspath(folder)
