"""Every executable-format worker over real executables: a summary that is kept, and not one failure."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from handlers import bootstrap
from plugins.workers.javaclass import Javaclass
from plugins.workers.lief import Lief
from plugins.workers.pecarve import Pecarve
from plugins.workers.peinfo import Peinfo
from plugins.workers.symhash import Symhash
from stoq_core.limits import Deadline
from stoq_core.payload import Request
from stoq_core.pipeline import Pipeline, payload_of
from stoq_core.render import encode
from stoq_core.testing import Ran, make, payload, run
from stoq_core.verdict import SUSPICIOUS
from tests import samples

SNAPSHOT = Path(__file__).with_name("executables.json")
WORKERS = {"pecarve": Pecarve, "peinfo": Peinfo, "lief": Lief, "symhash": Symhash, "javaclass": Javaclass}


@cache
def scanned() -> dict[str, dict[str, Ran]]:
    """What each worker yields on each file, by the file's folder, name and digest."""
    found = {}
    for file in samples.executables():
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()[:8]
        found[f"{file.parent.name}/{file.name} {digest}"] = {
            name: run(make(worker), payload(content, file.name))  # type: ignore[type-var]
            for name, worker in WORKERS.items()
        }
    return found


def summary(ran: Ran) -> list[str]:
    """One worker on one file: what kind of result, children, findings, errors; empty for nothing at all."""
    told = ran.result or {}
    facts = [f"{key}={told[key]}" for key in ("machine", "format", "class_name", "imphash") if told.get(key)]
    facts += [
        f"{key}={len(told[key])}" for key in ("sections", "imports", "resources", "slices") if told.get(key)
    ]
    facts += [f"child {one.meta.extra_data.get('filename', '')}:{one.body.size}" for one in ran.children]
    facts += [f"finding {one.name}" for one in ran.findings]
    facts += [f"error {one.code}" for one in ran.errors] + [f"reason {one}" for one in sorted(ran.reasons)]
    return facts + [f"symhash {kind}={digest}" for kind, digest in told.get("symhash", {}).items()]


def test_the_summary_is_as_it_was_kept() -> None:
    """A change here is either meant (write the file anew: delete it and run this test) or a fault."""
    made = {
        file: {name: told for name, ran in by_worker.items() if (told := summary(ran))}
        for file, by_worker in scanned().items()
    }
    if not SNAPSHOT.exists():
        SNAPSHOT.write_text(json.dumps(made, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
        pytest.fail(f"{SNAPSHOT.name} was written anew: look at it, and keep it")
    kept = json.loads(SNAPSHOT.read_text("utf-8"))
    known = made.keys() & kept.keys()  # a Debian of another year has other builds of some files
    assert len(known) >= 150
    assert {one: made[one] for one in known} == {one: kept[one] for one in known}


def test_no_file_makes_a_worker_fail() -> None:
    """Anything but a `PluginError` would have been raised by now; those that are raised say `corrupt`."""
    errors: Counter[str] = Counter()
    for by_worker in scanned().values():
        for name, ran in by_worker.items():
            errors.update(f"{name} {one.code}" for one in ran.errors)
            if ran.error is not None:
                errors[f"{name} {ran.error.code}"] += 1
    assert errors == Counter()


def test_ordinary_programs_stay_below_suspicious() -> None:
    """None of these files is malicious: what the formats say of each sums up to less than 300."""
    loud: dict[str, Any] = {}
    for file, by_worker in scanned().items():
        scores = {one.name: one.score for ran in by_worker.values() for one in ran.findings}
        if sum(scores.values()) >= SUSPICIOUS:
            loud[file] = scores
    assert loud == {}


def test_enough_was_seen() -> None:
    """There are at least 150 files, and each worker had something to say about some."""
    assert len(scanned()) >= 150
    for name in WORKERS:
        assert any(summary(by_worker[name]) for by_worker in scanned().values()), name


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    """The shipped configuration, sandbox and routes and all."""
    made = bootstrap.pipeline(bootstrap.configured({}, []))
    with closing(made):
        yield made


def test_routed_and_in_the_sandbox(pipeline: Pipeline) -> None:
    """A plain scan runs the right workers on each kind, and nothing fails, is killed or repeats a key."""
    ran: dict[str, set[str]] = {}
    bad: list[str] = []
    chosen = list(samples.executables())
    for file in [*(one for one in chosen if one.suffix in (".macho", ".class")), *chosen[::4]]:
        request = Request(scan_id=str(uuid.uuid4()), payloads=[payload_of(file.read_bytes(), file.name)])
        document = json.loads(encode(pipeline.scan(request, Deadline.after_ms(120_000))))
        for one in document["results"]:
            names = {name for round_ in one["plugins_run"]["workers"] for name in round_}
            label = one["workers"][0]["mimetype"]["label"]
            ran[label] = ran.get(label, names) & names
        for plugin, errors in document["errors"].items():
            if plugin in WORKERS:
                bad += [f"{file.name}: {plugin} {one['code']}: {one['message']}" for one in errors]
    assert bad == []
    assert "peinfo" in ran["pe"]
    assert "lief" in ran["elf"]
    assert {"lief", "symhash"} <= ran["macho"]
    assert "javaclass" in ran["class"]
