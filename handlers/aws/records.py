"""One record of an event to its end: scan what it names, log one line, say whether to retry."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any, Protocol

from stoq_core.errors import StoreError
from stoq_core.limits import Deadline
from stoq_core.payload import ObjectRef
from stoq_core.pipeline import Outcome
from stoq_core.values import plain_text


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


MIN_LEFT_MS = 15_000
"""With less than this left, a record is not begun but goes back to the queue."""


def deadline(context: LambdaContext) -> Deadline:
    """The platform's remaining time."""
    return Deadline.after_ms(context.get_remaining_time_in_millis())


def scan_all(scanner: Scanner, refs: Iterable[ObjectRef], limit: Deadline, deliveries: int) -> None:
    """Scan every reference of one record; raises the retryable `StoreError` of the last that failed."""
    failed: StoreError | None = None
    for ref in refs:
        began = time.perf_counter()
        try:
            outcome = scanner.scan_ref(ref, deadline=limit, deliveries=deliveries)
        except StoreError as error:
            log("store_failed", retryable=error.retryable, error=str(error), deliveries=deliveries)
            failed = error
            continue
        verdict = outcome.response.verdict if outcome.response else None
        log(
            outcome.kind,
            scan_id=outcome.scan_id,
            verdict=verdict.verdict if verdict else None,
            deliveries=deliveries,
            ms=round((time.perf_counter() - began) * 1000),
        )
    if failed is not None:
        raise failed


def log(event: str, **facts: Any) -> None:
    """One JSON line; ids and numbers, never keys, bodies or contents."""
    safe = {key: plain_text(value) if isinstance(value, str) else value for key, value in facts.items()}
    print(json.dumps({"event": event, **safe}), flush=True)
