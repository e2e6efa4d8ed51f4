"""Dispatcher attributes: what each matcher holds for, what it refuses, and what follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.dispatchers.attributes import Attributes
from stoq_core.errors import ConfigError
from stoq_core.job import Archive
from stoq_core.payload import Payload
from stoq_core.testing import job, make, payload

SCRIPT = payload(
    b"#!/bin/sh\nid\n", "In/Run.SH", bucket="mail", key="in/Run.SH", origin={"host": "a.example"}
)


def dispatched(when: dict[str, Any], given_payload: Payload = SCRIPT, **results: Any) -> bool:
    """Whether one rule with that condition names its worker."""
    plugin = make(Attributes, rules=[{"name": "r", "when": when, "workers": ["w"]}])
    emitted = list(plugin.dispatch(given_payload, job(plugin, results=results)))
    assert [one.plugin for one in emitted] in ([], ["w"])
    return bool(emitted)


HOLDS: list[dict[str, Any]] = [
    {"size": 13},
    {"size": {"min": 13, "max": 13}},
    {"size": {"min": 1}},
    {"name": "in/*.sh"},
    {"extension": "sh"},
    {"extension": ["js", "sh"]},
    {"mimetype": "text/*"},
    {"type": "shell", "group": "script"},
    {"depth": 0},
    {"bucket": "mail", "key": "in/*"},
    {"extra.origin.host": "*.example"},
    {"any": [{"size": 1}, {"type": "shell"}]},
    {"all": [{"size": 13}, {"not": {"type": "pe"}}]},
    {"any": [{"result.later.x": 1}, {"size": 13}]},
]
FAILS: list[dict[str, Any]] = [
    {"size": 12},
    {"size": {"max": 12}},
    {"name": "*.s"},
    {"extension": ["js", "vbs"]},
    {"size": 13, "type": "pe"},
    {"not": {"size": 13}},
    {"extra.none": "*"},
    {"extra.origin.host.deeper": "*"},
    {"result.later.x": 1},
    {"not": {"result.later.x": 1}},
    {"entropy": {"min": 0}},
    {"size": True},
]


@pytest.mark.parametrize("when", HOLDS, ids=str)
def test_holds(when: dict[str, Any]) -> None:
    """The rule names its worker."""
    assert dispatched(when)


@pytest.mark.parametrize("when", FAILS, ids=str)
def test_fails(when: dict[str, Any]) -> None:
    """The rule does not; what is not known yet neither holds nor fails to."""
    assert not dispatched(when)


def test_results_of_earlier_workers() -> None:
    """Once a worker ran, its result can be asked about, lists item by item."""
    results = {"entropy": {"entropy": 7.9}, "mimetype": {"tags": ["a", "b"]}}
    assert dispatched({"entropy": {"min": 7.5}}, **results)
    assert dispatched({"result.mimetype.tags": "b"}, **results)
    assert dispatched({"not": {"result.mimetype.tags": "c"}}, **results)
    assert not dispatched({"not": {"entropy": {"min": 7.5}}}, **results)


def test_a_payload_without_a_name() -> None:
    """It has no extension either, so no rule about them holds."""
    assert not dispatched({"name": "*"}, payload(b"x"))
    assert not dispatched({"extension": "*"}, payload(b"x"))


def test_what_else_a_rule_can_say() -> None:
    """A score is a finding, and `save = false` keeps the bytes out of archives."""
    rule = {"name": "big", "when": {"size": {"min": 1}}, "score": 60, "attack": ["T1027"], "save": False}
    plugin = make(Attributes, rules=[rule])
    archive, finding = plugin.dispatch(SCRIPT, job(plugin))
    assert archive == Archive(keep=False)
    assert (finding.name, finding.score, finding.attack) == ("big", 60, ("T1027",))


BAD: dict[str, dict[str, Any]] = {
    "there is no attribute 'sise'. Did you mean 'size'?": {"sise": 1},
    "a range has min, max or both": {"size": {"least": 1}},
    "min 3 is above max 2": {"size": {"min": 3, "max": 2}},
    "any is a list of conditions": {"any": {"size": 1}},
    "at least one key": {},
    "a list holds the texts or numbers": {"name": []},
    "there is no attribute 'result.'": {"result.": 1},
}


@pytest.mark.parametrize("message", sorted(BAD))
def test_a_bad_condition_stops_the_start(message: str) -> None:
    """It says where and what is allowed."""
    with pytest.raises(ConfigError) as raised:
        make(Attributes, rules=[{"name": "r", "when": BAD[message], "workers": ["w"]}])
    assert message in str(raised.value)
    assert str(raised.value).startswith("dispatcher.attributes.rules[0].when")


def test_bad_rules_stop_the_start(tmp_path: Path) -> None:
    """Without effect, with an unknown field, in a file that is missing or holds something else."""
    with pytest.raises(ConfigError, match="does nothing"):
        make(Attributes, rules=[{"name": "r", "when": {"size": 1}}])
    with pytest.raises(ConfigError, match="wrokers"):
        make(Attributes, rules=[{"name": "r", "when": {"size": 1}, "wrokers": ["w"]}])
    with pytest.raises(ConfigError, match="cannot be read"):
        make(Attributes, file=str(tmp_path / "none.toml"))
    file = tmp_path / "rules.toml"
    file.write_text("[other]\n")
    with pytest.raises(ConfigError, match=r"holds \[\[rules\]\]"):
        make(Attributes, file=str(file))
    file.write_text('[[rules]]\nname = "r"\nworkers = ["w"]\n[rules.when]\nsize = 13\n')
    plugin = make(Attributes, file=str(file))
    assert [one.plugin for one in plugin.dispatch(SCRIPT, job(plugin))] == ["w"]


def test_nesting_has_an_end() -> None:
    """A condition nested without end is refused, not recursed into."""
    when: dict[str, Any] = {"size": 1}
    for _ in range(200):
        when = {"not": when}
    with pytest.raises(ConfigError, match="nested more than"):
        dispatched(when)


@given(st.binary(max_size=600), st.text(max_size=40))
def test_any_bytes_and_any_name(content: bytes, name: str) -> None:
    """Nothing raises, and size is what it is."""
    assert dispatched({"size": len(content), "any": [{"name": "*"}, {"depth": 0}]}, payload(content, name))
