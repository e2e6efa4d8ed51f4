"""What classes say of themselves: types in words, defaults as JSON, parts of results, examples that load."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest

from stoq_core.describe import UNSET, does, example, fields, parts, says, type_name
from stoq_core.options import Options, Secret, about
from stoq_core.plugin import Connector, Worker
from stoq_core.registry import Registry

REGISTRY = Registry(Path(__file__).resolve().parent.parent.parent / "plugins")


class Inner(msgspec.Struct):
    """An inner part.

    With more words.
    """

    deep: list[int]


class Outer(msgspec.Struct):
    """The outer one."""

    many: dict[str, list[Inner]]
    again: Inner | None = None


class OwnOptions(Options, frozen=True):
    """Options of every kind."""

    must: str
    size: Annotated[int, about("a size", ge=1, le=9)] = 5
    names: Annotated[tuple[str, ...], about("names")] = ("a", "b")
    key: Secret | None = None
    mode: Literal["x", "y"] = "x"


class Own(Connector[OwnOptions]):
    """A connector."""


@pytest.mark.parametrize(
    ("hint", "name"),
    [
        (int, "integer"),
        (bool, "true or false"),
        (list[str], "list of text"),
        (dict[str, Any], "table of anything"),
        (str | None, "text or nothing"),
        (Literal["a", 1], '"a" or 1'),
        (Annotated[float, about("x")], "number"),
        (Secret, "secret (`env:NAME`, `file:PATH`)"),
        (list[Inner], "list of Inner"),
    ],
)
def test_types_are_words(hint: Any, name: str) -> None:
    """As a reader of stoq.toml would call them."""
    assert type_name(hint) == name


def test_fields_have_defaults_and_bounds() -> None:
    """Defaults as JSON, one that must be set is told; help text with its bounds."""
    found = {one.name: one for one in fields(OwnOptions, defaults=True)}
    assert found["must"].default == UNSET
    assert (found["size"].default, found["size"].about) == ("5", "a size; ≥ 1; ≤ 9")
    assert found["names"].default == '["a","b"]'
    assert [one.default for one in fields(Outer, defaults=False)] == [None, None]


def test_parts_are_found_however_deep() -> None:
    """Each struct of a result once; a struct's words are one line."""
    assert parts(Outer) == {"Inner": Inner}
    assert parts(Inner) == {}
    assert says(Inner) == "An inner part. With more words."


def test_an_example_shows_what_must_be_set() -> None:
    """Options at their defaults are comments, the others are not."""
    assert example("connector", "own", Own).splitlines() == [
        "[scan]",
        'connectors = ["own"]',
        "[connector.own]",
        'must = "…"',
        "# size = 5",
        '# names = ["a","b"]',
        "# key = null",
        '# mode = "x"',
    ]
    assert example("worker", "w", Worker) == "stoq scan --always w FILE"


@pytest.mark.parametrize("one", list(REGISTRY), ids=lambda one: f"{one.kind}-{one.name}")
def test_every_plugin_has_an_example_that_is_toml(one: Any) -> None:
    """Read with its comments opened, each option has the type that its class wants; each has a sentence."""
    cls = REGISTRY.load(one.kind, one.name)
    assert does(cls).endswith(".")
    lines = [line.removeprefix("# ") for line in example(one.kind, one.name, cls).splitlines()]
    text = "\n".join(line for line in lines if not line.startswith("stoq ") and not line.endswith("= null"))
    own = tomllib.loads(text).get(one.kind, {}).get(one.name, {})
    assert set(own) <= set(cls.options_type.__struct_fields__)
