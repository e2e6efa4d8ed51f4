"""The sandbox changes where a payload is examined, and nothing in the result."""

from __future__ import annotations

import datetime as dt
import io
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import py7zr
import pytest

from handlers import bootstrap
from handlers.local.samples import eicar, encrypted_zip, nested_eicar, tar_gz, zipped
from stoq_core.limits import Deadline
from stoq_core.payload import Payload, PayloadMeta, Request, RequestMeta
from stoq_core.pipeline import Pipeline
from stoq_core.render import document
from stoq_core.response import ScanResponse
from tests.stoq_core.sandbox.stage import PLUGINS, SCAN_ID


def seven_zip(password: str | None = None) -> bytes:
    """One member; py7zr looks at more of the system than other libraries do."""
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w", password=password) as made:
        made.writestr(eicar(), "eicar.com")
    return out.getvalue()


SAMPLES = {
    "plain.7z": seven_zip(),
    "encrypted.7z": seven_zip("infected"),
    "nested.zip": nested_eicar(),
    "encrypted.zip": encrypted_zip(),
    "truncated.zip": zipped(a=b"a" * 1000, b=b"b" * 1000)[:-30],
    "twice.zip": zipped(a=b"same", b=b"same", c=zipped(d=b"same")),
    "large.tar.gz": tar_gz("large", bytes(range(256)) * 30_000),
    "many.zip": zipped(**{f"n{n}": b"content %d" % n for n in range(300)}),
    "wide.zip": zipped(**{f"w{n}": bytes([n]) + os.urandom(60_000) for n in range(60)}),
    "text": b"https://example.org " * 1000,
    "empty": b"",
}


@contextmanager
def pipeline(mode: str, **settings: Any) -> Iterator[Pipeline]:
    """The shipped plugins and settings."""
    overrides = {"sandbox.mode": mode, **{name.replace("__", "."): one for name, one in settings.items()}}
    one = bootstrap.pipeline(bootstrap.configured({}, overrides.items()))
    try:
        yield one
    finally:
        one.close()


def scanned(one: Pipeline, name: str, content: bytes) -> dict[str, Any]:
    """The document but for time and stats."""
    payload = Payload(content, PayloadMeta(extra_data={"filename": name}))
    request = Request(scan_id=SCAN_ID, payloads=[payload], meta=RequestMeta(), passwords=["infected"])
    made = document(one.scan(request, Deadline.after_ms(60_000)))
    del made["time"], made["stats"]
    return made


SETTINGS: list[dict[str, Any]] = [
    {},
    {"sandbox__processes": 1},
    {"limits__held_bytes": 9_000_000},
    {"limits__held_bytes": 1_000_000},  # drained all the time: payloads are wanted before their turn
    {"limits__held_bytes": 1_000_000, "sandbox__processes": 1},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_same_documents_with_and_without(settings: dict[str, Any]) -> None:
    """Nested, encrypted, truncated, repeated, large, many, plain and empty; drained early or not."""
    inline_settings = {name: one for name, one in settings.items() if "sandbox" not in name}
    with pipeline("inline", **inline_settings) as inline, pipeline("process", **settings) as process:
        for name, content in SAMPLES.items():
            made = scanned(process, name, content)
            assert made == scanned(inline, name, content), name
            if name.endswith(".7z"):
                assert [one["size"] for one in made["results"]] == [len(content), len(eicar())]


def test_a_tight_budget_is_the_same() -> None:
    """Limits are spent in tree order, whoever works ahead."""
    budget = 50
    with pipeline("inline", limits__payloads=budget) as inline:
        expected = scanned(inline, "many.zip", SAMPLES["many.zip"])
    with pipeline("process", limits__payloads=budget, sandbox__processes=4) as process:
        assert scanned(process, "many.zip", SAMPLES["many.zip"]) == expected
    assert len(expected["results"]) == budget


def test_the_deadline_comes_half_way() -> None:
    """The partial tree is there in time; `deadline` is said of what was not examined, and of no others."""
    settings = {
        "plugin_paths": [str(PLUGINS)], "scan.only": ["hash", "hostile"], "scan.dispatchers": [],
        "limits.reserve_ms": 1_000, "limits.worker_wall_ms": 10_000, "sandbox.processes": 2,
    }  # fmt: skip
    one = bootstrap.pipeline(bootstrap.configured({}, settings.items()))
    names = ["quick", "DO loop_c\n", *(f"later {n}" for n in range(20))]
    try:
        roots = [Payload(name.encode()) for name in names]
        began = time.monotonic()
        response = one.scan(Request(scan_id=SCAN_ID, payloads=roots), Deadline.after_ms(3_000))
        took = time.monotonic() - began
    finally:
        one.close()
    assert took < 3.0
    by_size = [report for report in response.results if report.extracted_from is None]
    assert len(by_size) == len(names)
    assert by_size[0].result_of("hash")
    assert verdict(response) == "incomplete"
    late = {entry.payload_id for entry in unread(response) if entry.reason.value == "deadline"}
    assert by_size[1].payload_id in late
    assert late.intersection(report.payload_id for report in by_size[2:])  # those in the same line
    for report in by_size[2:]:  # the other child had most of them done in time, and they count
        assert (report.workers_run == [["hash", "hostile"]]) != (report.payload_id in late)
    assert by_size[1].result_of("hostile") == {"before": "loop_c"}
    assert dt.datetime.fromisoformat(response.time)


def verdict(response: ScanResponse) -> str:
    """The word."""
    assert response.verdict is not None
    return response.verdict.verdict


def unread(response: ScanResponse) -> list[Any]:
    """What was not read."""
    assert response.verdict is not None
    return response.verdict.unread


def test_the_verdict_is_right_under_the_sandbox() -> None:
    """EICAR at the bottom of three archives, found by a child that never had a file or a socket."""
    with pipeline("process") as one:
        made = scanned(one, "invoice.zip", SAMPLES["nested.zip"])
        assert made["decorators"]["verdict"]["verdict"] == "malicious"
        assert scanned(one, "eicar", eicar())["decorators"]["verdict"]["verdict"] == "malicious"
