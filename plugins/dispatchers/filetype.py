"""From the type of the bytes to the workers that it needs, by a table that users can override."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from plugins._formats.filetype import by_name, kind_of
from plugins._formats.routes import read_routes, shipped_routes
from stoq_core.errors import Reason
from stoq_core.job import Dispatch, Job
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Dispatcher


class FiletypeOptions(Options, frozen=True):
    """Where the table is."""

    routes: Annotated[str, about("a TOML file whose rows go over the shipped ones")] = ""


class Filetype(Dispatcher[FiletypeOptions]):
    """Yields the workers of the payload's type; says so where a container has none.

    The bytes decide; the name does so for brotli alone, which has no mark.
    """

    reads_meta = True

    def __init__(self, options: FiletypeOptions, name: str) -> None:
        """Read and check the table, the user's rows last."""
        super().__init__(options, name)
        self._routes = dict(shipped_routes())
        if options.routes:
            self._routes.update(read_routes(Path(options.routes).expanduser()))

    def dispatch(self, payload: Payload, job: Job) -> Iterable[Any]:
        """A `Dispatch` a worker."""
        kind = by_name(kind_of(payload), payload.name)
        route = self._routes.get(kind.label)
        if route is None:
            return []
        if route.is_packed and not route.workers:
            job.unread(Reason.NO_WORKER, f"{kind.label}: no installed worker opens this kind of {route.kind}")
        return [Dispatch(worker, {"filetype": kind.label}) for worker in route.workers]
