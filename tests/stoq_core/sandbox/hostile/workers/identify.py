"""Says what a payload is, as `mimetype` does."""

from __future__ import annotations

from typing import Any

from stoq_core.job import Job
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Worker


class Identify(Worker[Options]):
    """Text, all of it; or what comes after `IS `."""

    roles = ("identifies",)

    def scan(self, payload: Payload, job: Job) -> list[Any]:
        """The label and the kind."""
        word, _, kind = payload.content.decode("latin-1").partition(" ")
        return [{"label": "it", "kind": kind.split()[0] if word == "IS" else "text"}]
