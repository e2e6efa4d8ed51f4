"""A worker that kills its own function: once for `KILL-ONCE:PATH`, every time for `KILL-ALWAYS`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from stoq_core.job import Job
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Worker


class Kill(Worker[Options]):
    """Nothing for any other payload."""

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """End the process without a word, as a crash in C would."""
        head = payload.head(200)
        if head.startswith(b"KILL-ALWAYS"):
            os._exit(9)
        if head.startswith(b"KILL-ONCE:"):
            mark = head.split(b":")[1].decode()
            if not os.path.exists(mark):
                open(mark, "x").close()
                os._exit(9)
        yield from ()
