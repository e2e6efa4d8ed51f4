"""One record of an event to its end: scan what it names, log one line, say whether to retry."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any, Protocol

from stoq_core.errors import StoreError
from stoq_core.limits import Deadline
from stoq_core.payload import ObjectRef
from stoq_core.pipeline import Outcome
from stoq_core.values import plain_text

MIN_LEFT_MS = 15_000
"""With less than this left, a record is not begun but goes back to the queue."""


class Scanner(Protocol):
    """What a handler needs of the pipeline."""

    def scan_ref(
        self, ref: ObjectRef, *, deadline: Deadline, deliveries: int = 1, campaign: str = "live"
    ) -> Outcome:
        """Fetch, scan and store."""


class LambdaContext(Protocol):
    """What a handler needs of Lambda's context."""

    def get_remaining_time_in_millis(self) -> int:
        """Until the platform kills the function."""


class DeliverAgainError(Exception):
    """Something that a record names is not stored; it is safe to scan all of it again."""


def deadline(context: LambdaContext) -> Deadline:
    """The platform's remaining time; the pipeline keeps `limits.reserve_ms` of it for storing."""
    return Deadline.after_ms(context.get_remaining_time_in_millis())


def scan_all(scanner: Scanner, refs: Iterable[ObjectRef], limit: Deadline, deliveries: int = 1) -> None:
    """Scan every reference of one record, then raise `DeliverAgainError` if any of them is not stored."""
    ended = [_scan(scanner, ref, limit, deliveries) for ref in refs]
    failed = [why for why in ended if why is not None]
    if failed:
        raise DeliverAgainError("; ".join(failed[:5]))


def _scan(scanner: Scanner, ref: ObjectRef, limit: Deadline, deliveries: int) -> str | None:
    """None if it came to its end, else why it did not."""
    began = time.perf_counter()
    facts: dict[str, Any] = {"deliveries": deliveries}
    why: str | None = None
    try:
        outcome = scanner.scan_ref(ref, deadline=limit, deliveries=deliveries)
    except StoreError as error:
        event, why, facts["retryable"] = "store_failed", str(error), error.retryable
    except Exception as error:  # noqa: BLE001 - a fault of our own must not fail the batch's other records
        event, why = "failed", _kind_and_place(error)
    else:
        event, facts["scan_id"] = outcome.kind, outcome.scan_id
        if outcome.response is not None and outcome.response.verdict is not None:
            facts["verdict"] = outcome.response.verdict.verdict
    if why is not None:
        facts["error"] = why
    log(event, **facts, ms=round((time.perf_counter() - began) * 1000))
    return why


def _kind_and_place(error: Exception) -> str:
    """An unforeseen error without its text, which may quote what was scanned."""
    place, at = "", error.__traceback__
    while at is not None:
        place, at = f"{PurePath(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno}", at.tb_next
    return f"{type(error).__name__} at {place}"


def log(event: str, **facts: Any) -> None:
    """One JSON line; ids and numbers, never keys, bodies or contents."""
    safe = {key: plain_text(value) if isinstance(value, str) else value for key, value in facts.items()}
    print(json.dumps({"event": event, **safe}), flush=True)
