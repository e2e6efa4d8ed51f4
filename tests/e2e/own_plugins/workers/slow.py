"""A worker that takes `SLOW:SECONDS:` over a payload that says so, as a file does that was made to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from stoq_core.job import Job
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Worker


class Slow(Worker[Options]):
    """Nothing for any other payload."""

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Sleep, then say so."""
        head = bytes(payload.view()[:20])
        if head.startswith(b"SLOW:"):
            time.sleep(float(head.split(b":")[1]))
            yield {"slept": True}
