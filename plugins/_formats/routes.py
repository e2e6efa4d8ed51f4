"""What each type of file is (container, encoding, leaf, media, text) and which workers it needs: a table."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from stoq_core.errors import ConfigError
from stoq_core.options import build

_SHIPPED = Path(__file__).resolve().parent.parent / "routes.toml"
_PACKED = frozenset({"container", "encoding"})

Kind = Literal["container", "encoding", "leaf", "media", "text"]


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row; a `container` or an `encoding` without workers is `no_worker`."""

    kind: Kind = "leaf"
    workers: list[str] = []

    @property
    def is_packed(self) -> bool:
        """True if there is nothing to be said about what is inside before a worker has opened it."""
        return self.kind in _PACKED


@cache
def shipped_routes() -> dict[str, Route]:
    """The rows of `plugins/routes.toml` by label; not to be changed."""
    return read_routes(_SHIPPED)


def read_routes(file: Path) -> dict[str, Route]:
    """The rows of a file by label; raises `ConfigError` with the file's and the row's name."""
    try:
        rows = tomllib.loads(file.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"dispatcher.filetype.routes: {file} cannot be read: {error}"
        raise ConfigError(msg) from None
    routes = {}
    for label, row in rows.items():
        if not isinstance(row, dict):
            msg = f'{file}: {label!r} is a table: write [{label}] with workers = ["…"] below it'
            raise ConfigError(msg)
        routes[label] = build(Route, row, f"{file}: [{label}]")
    return routes
