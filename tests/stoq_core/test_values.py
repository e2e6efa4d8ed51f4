"""Whatever a worker yields becomes JSON-like values, or an error."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoq_core.errors import PluginError
from stoq_core.values import ValueLimits, plain

JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.binary(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON_LIKE))
def test_anything_becomes_strict_json(value: dict[str, Any]) -> None:
    """The result is strict JSON that UTF-8 and PostgreSQL take: no NaN, no NUL, no lone surrogate."""
    made = json.dumps(plain(value, ValueLimits())[0], allow_nan=False, ensure_ascii=False)
    made.encode("utf-8")
    assert "\\u0000" not in made.replace("\\\\u0000", "")


class Slow(dict[str, Any]):
    """A mapping that is looked at item by item."""


def slowly(value: Any) -> Any:
    """The same with each mapping and list such that its items are looked at one by one."""
    if isinstance(value, dict):
        return Slow({key: slowly(item) for key, item in value.items()})
    if isinstance(value, list):
        return (*(slowly(item) for item in value), Slow())
    return value


def without_marks(value: Any) -> Any:
    """Without what `slowly` put at the end of each list."""
    if isinstance(value, dict):
        return {key: without_marks(item) for key, item in value.items()}
    return [without_marks(item) for item in value[:-1]] if isinstance(value, list) else value


def lists_in(value: Any) -> int:
    """How many lists."""
    if isinstance(value, dict):
        return sum(map(lists_in, value.values()))
    return 1 + sum(map(lists_in, value)) if isinstance(value, list) else 0


@given(
    st.dictionaries(st.text(), JSON_LIKE),
    st.builds(ValueLimits, depth=st.integers(1, 6), nodes=st.integers(0, 60), bytes=st.integers(0, 200)),
)
def test_plain_values_are_only_looked_at_faster(value: dict[str, Any], limits: ValueLimits) -> None:
    """Many at once or one by one: the same values, the same cost, and the same refusals."""
    slow, used_bytes, used_nodes = plain(slowly(value), ValueLimits())
    wanted = (without_marks(slow), used_bytes, used_nodes - lists_in(value))
    assert plain(value, ValueLimits()) == wanted
    try:
        made = plain(value, limits)
    except PluginError:
        made = None
    fits = used_bytes <= limits.bytes and wanted[2] <= limits.nodes and depth_of(value) <= limits.depth
    assert (made is not None) == fits
    assert made in (None, wanted)


def depth_of(value: Any) -> int:
    """Levels of mappings and lists."""
    if isinstance(value, dict):
        return 1 + max((depth_of(item) for item in value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (float("nan"), None),
        (2**53 + 1, str(2**53 + 1)),
        (-(2**53), -(2**53)),
        ("a\0b", "a\\u0000b"),
        ("\ud800", "\\ud800"),
        (b"\x01\xff", "01ff"),
        (dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "2026-01-02T00:00:00Z"),
        ((1, {"x": 2}), [1, {"x": 2}]),
        pytest.param(2**20_000, hex(2**20_000), id="huge"),
    ],
)
def test_single_values(value: Any, wanted: Any) -> None:
    """Each kind has one form."""
    assert plain({"v": value}, ValueLimits())[0] == {"v": wanted}


def nest(levels: int) -> dict[str, Any]:
    """A mapping in a mapping."""
    made: dict[str, Any] = {}
    for _ in range(levels):
        made = {"in": made}
    return made


@pytest.mark.parametrize(
    "value", [nest(1000), {"n": list(range(200_000))}, {"t": "x" * 2**21}, {"b": bytes(2**20)}]
)
def test_too_much_is_refused(value: Any) -> None:
    """Depth, nodes and bytes each have a ceiling."""
    with pytest.raises(PluginError) as caught:
        plain(value, ValueLimits())
    assert caught.value.code == "result_too_large"


@pytest.mark.parametrize("value", [5, {"o": object()}, [1], {("a",): 1}])
def test_wrong_types_are_named(value: Any) -> None:
    """What is no JSON is `wrong_type`."""
    with pytest.raises(PluginError) as caught:
        plain(value, ValueLimits())
    assert caught.value.code == "wrong_type"
