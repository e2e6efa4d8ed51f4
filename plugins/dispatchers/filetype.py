"""From the type of the bytes to the workers that it needs, by a table that users can override."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import msgspec

from plugins._formats.filetype import by_name, kind_of
from stoq_core.errors import ConfigError, Reason
from stoq_core.job import Dispatch, Job
from stoq_core.options import Options, about, build
from stoq_core.payload import Payload
from stoq_core.plugin import Dispatcher

_SHIPPED = Path(__file__).resolve().parent.parent / "routes.toml"


class FiletypeOptions(Options, frozen=True):
    """Where the table is."""

    routes: Annotated[str, about("a TOML file whose rows go over the shipped ones")] = ""


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row: the workers of a type; a `container` without workers is `no_worker`."""

    workers: list[str] = []
    container: bool = False


class Filetype(Dispatcher[FiletypeOptions]):
    """Yields the workers of the payload's type; says so where a container has none.

    The bytes decide; the name does so for brotli alone, which has no mark.
    """

    reads_meta = True

    def __init__(self, options: FiletypeOptions, name: str) -> None:
        """Read and check the table, the user's rows last."""
        super().__init__(options, name)
        self._routes = _read(_SHIPPED)
        if options.routes:
            self._routes.update(_read(Path(options.routes).expanduser()))

    def dispatch(self, payload: Payload, job: Job) -> Iterable[Any]:
        """A `Dispatch` a worker."""
        kind = by_name(kind_of(payload), payload.name)
        route = self._routes.get(kind.label)
        if route is None:
            return []
        if route.container and not route.workers:
            job.unread(Reason.NO_WORKER, f"{kind.label}: no installed worker opens this kind of container")
        return [Dispatch(worker, {"filetype": kind.label}) for worker in route.workers]


def _read(file: Path) -> dict[str, Route]:
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
