"""Hosts by places by cargo: each combination ends found, or the verdict is not clean."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from stoq_core.pipeline import Pipeline

from .cargo import CARGO, USUAL
from .matrix import Cell, cells, pipeline, places

_SEEN: list[Cell] = []


@pytest.fixture(scope="module")
def scanner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """One pipeline for all; at the end the matrix is printed."""
    yield pipeline(tmp_path_factory.mktemp("rules"))
    sys.stdout.write(f"\n{_matrix()}\n")


def _matrix() -> str:
    """A line a place: its host, and what became of each cargo; the counts below."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for cell in _SEEN:
        rows.setdefault((cell.place.host, cell.place.where), {})[cell.cargo] = cell.outcome
    lines = [
        f"{host:14} {where:30} " + "  ".join(f"{name}={what}" for name, what in outcomes.items())
        for (host, where), outcomes in rows.items()
    ]
    return "\n".join([*lines, str(Counter(cell.outcome for cell in _SEEN))])


def _silent(seen: list[Cell]) -> list[str]:
    """Cells that are silent and should not be, and places that are called open and are not."""
    bad = [
        f"{cell.place.host}, {cell.place.where}: {cell.cargo} is silent"
        for cell in seen
        if cell.is_silent and not cell.place.open_issue
    ]
    known = {cell.place.where for cell in seen if cell.place.open_issue}
    return bad + [
        f"{where} is silent no more: take its open_issue away"
        for where in sorted(known)
        if not any(cell.is_silent for cell in seen if cell.place.where == where)
    ]


@pytest.mark.parametrize("host", sorted(places()))
def test_no_place_is_silent(scanner: Pipeline, host: str) -> None:
    """Text, gzip and 7z in each place of a host."""
    seen = cells(scanner, host)
    _SEEN.extend(seen)
    assert _silent(seen) == []


@pytest.mark.soak
@pytest.mark.parametrize("host", sorted(places()))
def test_no_cargo_is_silent(scanner: Pipeline, host: str) -> None:
    """All other formats in each place of a host."""
    seen = cells(scanner, host, [name for name in CARGO if name not in USUAL])
    _SEEN.extend(seen)
    assert [problem for problem in _silent(seen) if "no more" not in problem] == []


@pytest.mark.parametrize("cargo", [name for name in CARGO if name != "text"])
def test_every_cargo_is_hidden(cargo: str) -> None:
    """None of it can be read in plain sight, or the matrix would show nothing."""
    from .matrix import in_plain_sight, packed

    assert not in_plain_sight(packed(cargo))
