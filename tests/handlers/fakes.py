"""What the tests of all clouds' handlers share: recorded events, a pipeline that only notes, a cold start."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from stoq_core.limits import Deadline
from stoq_core.payload import ObjectRef, Payload, scan_id_for
from stoq_core.pipeline import Outcome
from stoq_core.references import object_digest

EVENTS = Path(__file__).resolve().parent.parent / "events"


def recorded(cloud: str, name: str) -> dict[str, Any]:
    """A recorded event, afresh each time."""
    found: dict[str, Any] = json.loads((EVENTS / cloud / f"{name}.json").read_text("utf-8"))
    return found


class Noting:
    """A pipeline that notes what it was asked for, and fails where it is told to."""

    def __init__(self, failing: dict[str, Exception] | None = None) -> None:
        """`failing` maps keys to what scanning them raises."""
        self.asked: list[tuple[str, int]] = []
        self.payloads: list[Payload | None] = []
        self.left_ms: list[float] = []
        self._failing = failing or {}

    def scan_ref(
        self,
        ref: ObjectRef,
        *,
        deadline: Deadline,
        deliveries: int = 1,
        campaign: str = "live",
        payload: Payload | None = None,
    ) -> Outcome:
        """Note, then end as told."""
        self.asked.append((ref.key, deliveries))
        self.payloads.append(payload)
        self.left_ms.append(deadline.left_ms)
        if ref.key in self._failing:
            raise self._failing[ref.key]
        return Outcome(kind="stored", scan_id=f"scan of {len(self.asked)}")

    def names_in_logs(self, ref: ObjectRef) -> dict[str, str]:
        """The names that a pipeline of the deployment `test` gives."""
        return {"scan_id": scan_id_for("test", ref.identity), "object": object_digest("test", ref)}


@contextmanager
def closing(handler: ModuleType) -> Iterator[ModuleType]:
    """End what a cold start began."""
    try:
        yield handler
    finally:
        handler.PIPELINE.close()


def cold(module: str, **settings: str) -> ModuleType:
    """A handler's module as a cold start imports it, with those settings and no others."""
    before = dict(os.environ)
    for name in [one for one in os.environ if one.startswith("STOQ_")]:
        del os.environ[name]
    os.environ.update(settings)
    sys.modules.pop(module, None)
    try:
        return importlib.import_module(module)
    finally:
        os.environ.clear()
        os.environ.update(before)
