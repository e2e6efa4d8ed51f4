"""A network worker, as those that ask a service are: runs in the broker, with a secret."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import Annotated, Any

from stoq_core.job import Job
from stoq_core.options import Options, Secret, about
from stoq_core.payload import OpaquePayload
from stoq_core.plugin import Worker


class ServiceOptions(Options, frozen=True):
    """Where its key stands."""

    key: Annotated[Secret, about("the service's key")]


class Service(Worker[ServiceOptions]):
    """Yields what it was given."""

    runs = "broker"
    requires = ("hash",)

    def scan(self, payload: OpaquePayload, job: Job) -> Iterator[Any]:  # type: ignore[override]
        """The same digest from the bytes it would hand on as from the sandbox's own result."""
        digest = hashlib.sha256(b"".join(payload.upload())).hexdigest()
        yield {
            "pid": os.getpid(),
            "key": len(self.options.key.reveal()),
            "same": digest == job.result_of("hash")["sha256"] == payload.sha256,
            "shut": not any(hasattr(payload, one) for one in ("view", "open", "content", "head", "body")),
        }
        yield job.child([b"report of the service"], name="report.txt")
