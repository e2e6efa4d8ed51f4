"""Runs after `hostile`, by name, and shows that it did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stoq_core.job import Job
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Worker


class Later(Worker[Options]):
    """Yields the payload's size."""

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Always the same."""
        yield {"size": payload.size}
