"""The document: the shape of both examples of stoQ's README, with additions listed by path."""

from __future__ import annotations

import gc
import time
from typing import Any

from stoq_core.payload import PayloadMeta, RequestMeta
from stoq_core.render import document, flat_documents
from stoq_core.response import PayloadReport, ScanResponse
from stoq_core.verdict import judge
from tests.responses import response

# What stands outside `workers` in the README's examples, with types; a list stands for its elements.
README = {
    "time": str,
    "results": [
        {
            "payload_id": str,
            "size": int,
            "payload_meta": {"should_archive": bool, "extra_data": dict, "dispatch_to": list},
            "workers": list,
            "archivers": dict,
            "plugins_run": {"workers": list, "archivers": list},
            "extracted_from": (str, type(None)),
            "extracted_by": (str, type(None)),
        }
    ],
    "request_meta": {"archive_payloads": bool, "source": (str, type(None)), "extra_data": dict},
    "errors": dict,
    "decorators": dict,
    "scan_id": str,
}
ADDED = {
    "schema", "attempt", "stats", "decorators.verdict",
    "results.sha256", "results.depth", "results.verdict", "results.score", "results.unread",
    "results.coverage", "results.occurrences", "results.payload_meta.should_scan",
}  # fmt: skip


def holds(shape: Any, value: Any, path: str, extra: set[str]) -> None:
    """The value has the shape; what it has beside goes into `extra`."""
    if isinstance(shape, dict):
        assert isinstance(value, dict), path
        assert set(shape) <= set(value), path
        extra.update(f"{path}{key}" for key in set(value) - set(shape))
        for key, inner in shape.items():
            holds(inner, value[key], f"{path}{key}.", extra)
    elif isinstance(shape, list):
        for one in value:
            holds(shape[0], one, path, extra)
    else:
        assert isinstance(value, shape), path


def example(children: int) -> ScanResponse:
    """A file with hash and exif, and what pecarve took out of it."""
    root = "e777051a-832b-489f-b74c-9949b2c9a2ce"
    ran = [["exif", "hash", "pecarve"]] if children else [["exif", "hash"]]
    workers = [{"exif": {"FileType": "DOC"}, "hash": {"md5": "16d9f6e5491d99beb46d7ab1500c1799"}}]
    meta = PayloadMeta(extra_data={"filename": "sample.doc"})
    reports = [
        PayloadReport(
            payload_id=root, size=558592, sha256="0" * 64, meta=meta, workers=workers, workers_run=ran
        )
    ]
    for offset in (11367, 50688)[:children]:
        reports.append(
            PayloadReport(
                payload_id=f"471b49f3-ea99-481f-a0a3-5028{offset:08d}",
                size=31232,
                sha256="1" * 64,
                meta=PayloadMeta(extra_data={"offset": offset}),
                workers=workers,
                workers_run=[["exif", "hash"]],
                extracted_from=root,
                extracted_by="pecarve",
            )
        )
    made = ScanResponse(
        scan_id="04f9aec3-afc7-4fa1-b179-73e46c074e81",
        time="2026-01-01T00:00:00Z",
        request_meta=RequestMeta(),
        results=reports,
    )
    made.verdict = judge(made, (), ())
    return made


def test_both_examples_have_the_readmes_shape() -> None:
    """All that stands outside workers is there with the same nesting and types; additions are known."""
    for children in (0, 2):
        made = document(example(children))
        extra: set[str] = set()
        holds(README, made, "", extra)
        assert extra == ADDED - {"decorators.verdict"}
        assert set(made["decorators"]) == {"verdict"}
        assert made["results"][0]["plugins_run"]["workers"][0][:2] == ["exif", "hash"]
        assert made["results"][0]["extracted_from"] is None
        assert made["results"][0]["workers"][0]["hash"]["md5"] == "16d9f6e5491d99beb46d7ab1500c1799"
    assert [one["extracted_by"] for one in made["results"]] == [None, "pecarve", "pecarve"]
    assert [one["payload_meta"]["extra_data"] for one in made["results"][1:]] == [
        {"offset": 11367},
        {"offset": 50688},
    ]


def test_flat_documents_are_linear() -> None:
    """Ten times the payloads take about ten times the time, not a hundred.

    Measured in CPU time and without the garbage collector, whose passes grow with all else that is
    alive in the process; a quadratic function would be near 100 whatever the machine.
    """

    def cpu_seconds(children: int) -> float:
        made = response(children=children)
        best = float("inf")
        for _ in range(7):
            began = time.process_time()
            flat = flat_documents(made)
            best = min(best, time.process_time() - began)
            assert len(flat) == children + 1
            flat.clear()
        return best

    gc.collect()
    gc.disable()
    try:
        few, many = cpu_seconds(500), cpu_seconds(5_000)
    finally:
        gc.enable()
    assert many < 40 * few


def test_flat_documents_merge_rounds() -> None:
    """Workers of all rounds stand under `workers.NAME`."""
    made = response(children=0)
    made.results[0].workers = [{"a": {"x": 1}}, {"b": {"y": 2}}]
    assert flat_documents(made)[0]["workers"] == {"a": {"x": 1}, "b": {"y": 2}}
