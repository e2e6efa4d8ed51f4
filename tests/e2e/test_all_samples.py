"""All samples of ten packages in one run of the shipped sandbox: nothing fails, what came out is kept."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers import bootstrap
from stoq_core.limits import Deadline
from stoq_core.payload import Request, scan_id_for
from stoq_core.pipeline import Pipeline, payload_of
from stoq_core.response import ScanResponse
from tests import samples

pytestmark = pytest.mark.e2e

KEPT = Path(__file__).with_name("all_samples.json")
WRITE = os.environ.get("STOQ_SNAPSHOT") == "write"
PACKAGES = (
    "clamav", "email", "hachoir", "mail-parser", "oletools", "patool", "pyelftools", "pypdf",
    "rarfile", "tnefparse",
)  # fmt: skip
PINNED = frozenset(samples.VERSIONS)
BROKEN = frozenset({
    "plugin_failed", "crashed", "timeout", "memory", "result_too_large", "duplicate_key", "deadline",
})  # fmt: skip
LACKING = frozenset({"tool_missing", "plugin_missing"})
ADVICE = (
    "what scans of real files give has changed. If each line is what you meant to change, write the snapshot"
    " anew with STOQ_SNAPSHOT=write make e2e ARGS=tests/e2e/test_all_samples.py and commit it; otherwise a"
    " plugin has lost or invented something:"
)

Summary = dict[str, Any]


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    """The shipped settings, with two children that may see several files, as the command line has them."""
    config = bootstrap.configured({}, [("sandbox.processes", 2), ("sandbox.share_children", True)])
    assert config.sandbox.mode == "process"
    made = bootstrap.pipeline(config)
    yield made
    made.close()


@pytest.fixture(scope="module")
def kept() -> Iterator[dict[str, dict[str, Summary]]]:
    """The snapshot by package and file; written anew at the end where that is asked for."""
    found = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    yield found
    if WRITE:
        KEPT.write_text(as_text(found), "utf-8")


def as_text(packages: dict[str, dict[str, Summary]]) -> str:
    """JSON with a line a file, so that a change of one is a line of a diff."""
    blocks = []
    for package, lines in sorted(packages.items()):
        rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(one)}" for name, one in sorted(lines.items()))
        blocks.append(f" {json.dumps(package)}: {{\n{rows}\n }}")
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def scanned(pipeline: Pipeline, file: Path) -> ScanResponse:
    """The whole result of one file."""
    scan_id = scan_id_for("samples", file.name)
    request = Request(scan_id=scan_id, payloads=[payload_of(file.read_bytes(), file.name)])
    return pipeline.scan(request, Deadline.after_ms(pipeline.config.limits.request_wall_ms))


def counted(names: Iterator[str]) -> dict[str, int]:
    """How often each, by name."""
    return dict(sorted(Counter(names).items()))


def summary(response: ScanResponse) -> Summary:
    """What is kept of a file: enough to see a plugin lose or invent something, too little to be brittle."""
    verdict, root = response.verdict, response.results[0]
    assert verdict is not None
    return {
        "sha256": root.sha256[:16],
        "type": root.result_of("mimetype")["label"],
        "verdict": verdict.verdict,
        "payloads": len(response.results),
        "findings": counted(f"{one.finding.name} {one.finding.score}" for one in verdict.findings),
        "reasons": counted(one.reason.value for one in verdict.unread),
        "errors": counted(f"{one.plugin} {one.code}" for one in response.errors),
    }


def broken(response: ScanResponse) -> list[str]:
    """What must not happen on any file, whatever it holds."""
    said = [f"{one.plugin} {one.code}: {one.message}" for one in response.errors if one.code in BROKEN]
    assert response.verdict is not None
    said += [f"{one.plugin} {one.reason}" for one in response.verdict.unread if one.reason in BROKEN]
    protocol = (one for one in response.errors if one.code == "malformed" and "protocol" in one.message)
    return said + [f"{one.plugin}: {one.message}" for one in protocol]


def lacking(one: Summary) -> bool:
    """Whether a program or library was missing where it was scanned: machines differ in that."""
    errors = {name.split()[-1] for name in one["errors"]}
    return bool(errors & LACKING)


def differences(package: str, now: dict[str, Summary], before: dict[str, Summary]) -> list[str]:
    """A line a file that is not as it was; where the machine brings the files, only the same ones count."""
    lines = []
    for name in sorted(now.keys() | before.keys()):
        new, old = now.get(name), before.get(name)
        if new is None or old is None or new["sha256"] != old["sha256"]:
            if package in PINNED:
                lines.append(f"{package}/{name}: {'new' if old is None else 'gone or another file'}")
            continue
        if not lacking(new) and not lacking(old):
            lines += [f"{package}/{name} {k}: {old[k]} -> {new[k]}" for k in new if new[k] != old[k]]
    return lines


@pytest.mark.parametrize("package", PACKAGES)
def test_every_sample(
    package: str, pipeline: Pipeline, kept: dict[str, dict[str, Summary]], record_property: Any
) -> None:
    """No file crashes, hangs or breaks a plugin; type, payloads, findings, reasons and errors are as kept."""
    now: dict[str, Summary] = {}
    failures = []
    for file in samples.files(package):
        response = scanned(pipeline, file)
        name = str(file.relative_to(samples.folder(package)))
        now[name] = summary(response)
        failures += [f"{package}/{name}: {one}" for one in broken(response)]
    assert not failures, "\n".join(failures)
    if WRITE:
        kept[package] = now
    assert package in kept, f"{KEPT.name} knows nothing of {package}: STOQ_SNAPSHOT=write"
    changed = differences(package, now, kept[package])
    assert not changed, "\n".join([ADVICE, *changed])
    record_property("verdicts", counted(one["verdict"] for one in now.values()))


def test_protected(pipeline: Pipeline) -> None:
    """The run was behind the protections that functions require."""
    facts = pipeline.scan(
        Request(scan_id=scan_id_for("samples", "facts"), payloads=[payload_of(b"x", "x")]),
        Deadline.after_ms(10_000),
    ).stats.sandbox
    assert facts["mode"] == "process"
    assert facts["processes"] == 2
    assert set(bootstrap.REQUIRED) <= set(facts["protections"])
