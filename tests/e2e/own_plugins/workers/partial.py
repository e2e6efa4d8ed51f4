"""A broker worker that leaves `PARTIAL-WHILE:PATH` unread for as long as that path is there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from stoq_core.errors import Reason
from stoq_core.job import Job
from stoq_core.options import Options
from stoq_core.payload import OpaquePayload
from stoq_core.plugin import Worker


class Partial(Worker[Options]):
    """Nothing for any other payload."""

    runs = "broker"

    def scan(self, payload: OpaquePayload, job: Job) -> Iterator[Any]:  # type: ignore[override]
        """Say that the work was cut short, as a worker does that ran into a limit."""
        head = next(payload.upload(), b"")[:200]
        if head.startswith(b"PARTIAL-WHILE:") and os.path.exists(head.split(b":")[1].decode()):
            job.unread(Reason.TRUNCATED, "the path is there")
        yield from ()
