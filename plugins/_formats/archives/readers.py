"""All formats that there are readers for: whatever a module beside this one declares as its `FORMATS`."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module

from .declare import Format

_HERE = __name__.rpartition(".")[0]
_NOT_READERS = frozenset({"readers", "detect", "declare"})


def _declared() -> Iterator[Format]:
    for module in pkgutil.iter_modules(import_module(_HERE).__path__):
        if module.name not in _NOT_READERS:
            yield from getattr(import_module(f"{_HERE}.{module.name}"), "FORMATS", ())


FORMATS: dict[str, Format] = {declared.label: declared for declared in _declared()}
"""Every format by its label."""
