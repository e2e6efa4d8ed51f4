"""The matrix: hosts by family, each with its places, and what becomes of cargo in them.

To add a row, write a function that puts bytes into a file and give it the decorator:

    @place("png", "tail")
    def _png_tail(cargo: bytes) -> bytes:
        return PNG + cargo

A file a family in `tests/hide/hosts/`, found by itself. The function may return None where the place takes no
such cargo (too long, no text). `open_issue` says why a place is still silent; a test fails once it is not.
"""

from __future__ import annotations

import pkgutil
import struct
from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from handlers import bootstrap
from stoq_core.limits import Deadline
from stoq_core.payload import Request
from stoq_core.pipeline import Pipeline, payload_of

from .cargo import CARGO, MARKER, RULE, TEXT, USUAL

SCAN_ID = "33333333-3333-4333-8333-333333333333"
_RULES = Path(__file__).resolve().parent.parent.parent / "rules"

Put = Callable[[bytes], bytes | None]


class Place(NamedTuple):
    """A place in a host where cargo is put; `name` is the file's, where the format goes by it."""

    host: str
    where: str
    put: Put
    name: str
    open_issue: str


PLACES: list[Place] = []


def place(host: str, where: str, *, name: str = "", open_issue: str = "") -> Callable[[Put], Put]:
    """Register a place."""

    def registered(put: Put) -> Put:
        PLACES.append(Place(host, where, put, name, open_issue))
        return put

    return registered


@cache
def places() -> dict[str, list[Place]]:
    """All places by host; imports the families first."""
    folder = import_module(f"{__package__}.hosts").__path__
    for module in pkgutil.iter_modules(folder):
        import_module(f"{__package__}.hosts.{module.name}")
    found: dict[str, list[Place]] = {}
    for one in PLACES:
        found.setdefault(one.host, []).append(one)
    return found


@cache
def packed(cargo: str) -> bytes:
    """The marker's text as this cargo."""
    return CARGO[cargo](TEXT)


def pipeline(folder: Path) -> Pipeline:
    """The shipped settings and rules, with a rule for the marker beside them."""
    for file in _RULES.glob("*.yar"):
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "hidden_marker.yar").write_text(RULE)
    settings = [("sandbox.mode", "inline"), ("rules.path", str(folder))]
    return bootstrap.pipeline(bootstrap.configured({}, settings))


class Cell(NamedTuple):
    """What became of one cargo in one place: found, flagged, a reason of incompleteness, silent or none."""

    place: Place
    cargo: str
    outcome: str

    @property
    def is_silent(self) -> bool:
        """Called clean, and not seen."""
        return self.outcome == "SILENT"


def cells(scanner: Pipeline, host: str, cargo: Iterable[str] = USUAL) -> list[Cell]:
    """Scan each cargo in each place of a host."""
    return [Cell(one, name, _outcome(scanner, one, name)) for one in places()[host] for name in cargo]


def _outcome(scanner: Pipeline, one: Place, cargo: str) -> str:
    inside = packed(cargo)
    try:
        content = one.put(inside) if inside else None
    except struct.error:  # longer than the place can say
        content = None
    if content is None:
        return "-"
    request = Request(scan_id=SCAN_ID, payloads=[payload_of(content, one.name or "sample")])
    response = scanner.scan(request, Deadline.after_ms(60_000))
    verdict = response.verdict
    assert verdict is not None
    if any(found.finding.name == "hidden_marker" for found in verdict.findings):
        return "found"
    if verdict.verdict in ("malicious", "suspicious"):
        return "flagged"
    reasons = sorted({unread.reason.value for unread in verdict.unread})
    return ",".join(reasons) if reasons else "SILENT"


def in_plain_sight(content: bytes) -> bool:
    """Whether the marker can be read in the bytes as they stand."""
    return MARKER in content
