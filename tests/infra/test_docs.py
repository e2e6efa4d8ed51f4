"""The generated documents: complete, up to date, and with every finding once."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.docs import CATALOGUE, FINDINGS, Row, catalogue, findings, findings_text
from plugins._rules.rulesets import SHIPPED, compile_sources, read_sources
from plugins._rules.yara import meta_of, score
from stoq_core.registry import Registry

REGISTRY = Registry(SHIPPED.parent / "plugins")


@pytest.mark.parametrize(
    ("file", "made"), [(CATALOGUE, catalogue(REGISTRY)), (FINDINGS, findings_text(REGISTRY))]
)
def test_documents_are_up_to_date(file: Path, made: str) -> None:
    """What stands there is what would be written; if this fails, run `make docs`."""
    assert file.read_text("utf-8") == made


def test_every_finding_is_listed_with_its_source() -> None:
    """Those of classes with the plugin, those of rules with the file; routing rules find nothing."""
    rows = findings(REGISTRY)
    assert Row("eicar_test_file", 1000, "The EICAR anti-malware test file", (), "`rules/eicar.yar`") in rows
    by_plugin = {one.name: one.source for one in rows}
    assert by_plugin["xor_hidden_executable"] == "worker `xordecode`"
    scored = {
        rule.identifier
        for rule in compile_sources(read_sources([SHIPPED])).rules
        if score(meta_of(rule.metadata))
    }
    declared = {name for one in REGISTRY for name in REGISTRY.load(one.kind, one.name).findings}
    assert {one.name for one in rows} == scored | declared


def test_findings_have_one_name_and_a_meaning() -> None:
    """Two sources never share a name, since a payload's score counts each name once; each says what it is."""
    rows = findings(REGISTRY)
    assert len({one.name for one in rows}) == len(rows)
    assert [one.name for one in rows if not one.means] == []
    assert [one.name for one in rows if not 0 <= one.score <= 1000] == []


def test_the_catalogue_shows_findings_errors_and_parts_of_results() -> None:
    """A section has the tables that its class fills."""
    section = catalogue(REGISTRY).partition("\n## worker swfcarve\n")[2].partition("\n## ")[0]
    for line in ("| SwfMovie | type | about |", "| error | means |", "| result | type | about |"):
        assert line in section
    assert "| `xor_hidden_executable` | 500 |" in catalogue(REGISTRY)
