"""A worker in the sandbox whose process ends without a word for `CRASH`, as a parser's might."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from stoq_core.job import Job
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Worker


class Crash(Worker[Options]):
    """Nothing for any other payload."""

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """End the process."""
        if payload.head(5) == b"CRASH":
            os._exit(9)
        yield from ()
