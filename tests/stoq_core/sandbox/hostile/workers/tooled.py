"""Runs whatever shell script the payload is, as a tool."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stoq_core.body import Body
from stoq_core.job import Job
from stoq_core.limits import KiB
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Worker


class Tooled(Worker[Options]):
    """Yields how the tool ended; its outputs are children."""

    tools = {"script": "dash"}

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """`sh PAYLOAD OTHER-BODY`, with a second body as its argument."""
        name = "shell" if payload.head(6) == b"#other" else "script"
        arguments = [payload, Body(b"second body\n" * 20_000)]
        copied = payload.head(7) == b"#copied"
        ran = job.tool(
            name, arguments, files=["out", "../out", "link"], output_bytes=512 * KiB, copied=copied
        )
        yield {"code": ran.code, "stderr": ran.stderr, "files": sorted(ran.files)}
        yield job.child(ran.stdout, name="stdout")
        for file, body in ran.files.items():
            yield job.child(body, name=file)
