"""Takes payloads apart at brackets and looks for nothing, but to the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stoq_core.job import Job
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Worker


class Search(Worker[Options]):
    """What stands in brackets is a child."""

    roles = ("searches",)

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """The child, if there is one."""
        _, bracket, inside = payload.content.partition(b"[")
        if bracket:
            yield job.child([inside.rpartition(b"]")[0]], name="inside")
