"""Kills its own function: once for `KILL-ONCE:PATH`, every time for `KILL-ALWAYS`.

It runs in the broker, since nothing that a worker in the sandbox does ends a function.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from stoq_core.job import Job
from stoq_core.options import Options
from stoq_core.payload import OpaquePayload
from stoq_core.plugin import Worker


class Kill(Worker[Options]):
    """Nothing for any other payload."""

    runs = "broker"

    def scan(self, payload: OpaquePayload, job: Job) -> Iterator[Any]:  # type: ignore[override]
        """End the process without a word, as the platform does."""
        head = next(payload.upload(), b"")[:200]
        if head.startswith(b"KILL-ALWAYS"):
            os._exit(9)
        if head.startswith(b"KILL-ONCE:"):
            mark = head.split(b":")[1].decode()
            if not os.path.exists(mark):
                open(mark, "x").close()
                os._exit(9)
        yield from ()
