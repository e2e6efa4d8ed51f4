"""Runs whatever shell script the payload is, as a tool."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stoq_core.body import Body
from stoq_core.job import Job
from stoq_core.limits import KiB
from stoq_core.operations import Operation, Tool
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_FILES = ("out", "../out", "link")
_CALLS: dict[str, tuple[str, dict[str, str]]] = {
    "#copied": ("copied", {}),
    "#asked": ("asked", {"number": "12", "word": "a word"}),
    "#option": ("asked", {"number": "-c"}),
    "#lines": ("asked", {"word": "two\nlines"}),
    "#unknown": ("asked", {"config": "x"}),
    "#operation": ("anything", {}),
}
"""What a payload asks for by its first line."""


class Tooled(Worker[Options]):
    """Yields how the tool ended; its outputs are children."""

    tools = {
        "script": Tool(
            brings="dash",
            operations={
                "run": Operation(words=("{payload}",), files=_FILES),
                "copied": Operation(words=("{payload}",), files=_FILES, copied=True),
                "asked": Operation(
                    words=("{payload}", "-n{number}"),
                    parameters={"number": "[0-9]{1,3}", "word": ".*"},
                    stdin="word",
                ),
            },
        )
    }

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """`sh PAYLOAD`, or what follows its first line, which may say in which way."""
        word = payload.head(10).split(b"\n")[0].decode("ascii", "replace")
        name = "shell" if word == "#other" else "script"
        operation, given = _CALLS.get(word, ("run", {}))
        body = Body(payload.content.partition(b"\n")[2]) if word == "#derived" else payload.body
        ran = job.tool(name, operation, body, output_bytes=512 * KiB, **given)
        yield {"code": ran.code, "stderr": ran.stderr, "files": sorted(ran.files)}
        yield job.child(ran.stdout, name="stdout")
        for file, body in ran.files.items():
            yield job.child(body, name=file)
