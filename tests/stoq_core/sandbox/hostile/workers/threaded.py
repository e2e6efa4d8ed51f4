"""A worker whose library starts a thread as soon as it is loaded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from stoq_core.job import Job
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Worker


class Threaded(Worker[Options]):
    """Works as any other does."""

    def warm(self) -> None:
        """As some libraries do on import."""
        threading.Thread(target=threading.Event().wait, daemon=True).start()

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """How many bytes there are."""
        yield {"size": payload.size}
