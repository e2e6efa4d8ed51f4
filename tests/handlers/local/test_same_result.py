"""The same request gives the same document, whatever the hash seed and the number of threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

CODE = """
import sys
from handlers import bootstrap
from handlers.local.samples import nested_eicar
from stoq_core.limits import Deadline
from stoq_core.payload import Request
from stoq_core.pipeline import payload_of
from stoq_core.render import encode
settings = [("scan.threads", int(sys.argv[1]))]
one = bootstrap.pipeline(bootstrap.configured({}, settings))
roots = [payload_of(nested_eicar(), "a.zip")]
request = Request(scan_id="00000000-0000-5000-8000-000000000001", payloads=roots)
sys.stdout.buffer.write(encode(one.scan(request, Deadline.after_ms(60000))))
"""


def document(seed: str, threads: int) -> dict[str, Any]:
    """The document of a fresh interpreter, without what tells the time."""
    command = [sys.executable, "-c", CODE, str(threads)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
    )
    made: dict[str, Any] = json.loads(done.stdout)
    made.pop("time")
    made.pop("stats")
    return made


@pytest.mark.parametrize(("seed", "threads"), [("2", 1), ("1", 4), ("2", 4)])
def test_two_runs_are_equal(seed: str, threads: int) -> None:
    """Equal but for `time` and `stats`, order and ids included."""
    first = document("1", 1)
    assert len(first["results"]) > 3
    assert json.dumps(document(seed, threads)) == json.dumps(first)
