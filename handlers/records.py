"""One record of an event to its end, on any cloud: scan what it names, log one line, say whether to retry."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import Any, Protocol

import msgspec

from stoq_core.errors import StoreError
from stoq_core.limits import Deadline
from stoq_core.payload import ObjectRef, Payload
from stoq_core.pipeline import Outcome
from stoq_core.references import RefusedReferenceError
from stoq_core.values import plain_text

MIN_LEFT_MS = 15_000
"""With less than this left, a record is not begun but goes back to the queue."""


class UnknownEventError(ValueError):
    """A message that names nothing to scan; its text says what was wrong and where, never the body."""


class DeliverAgainError(Exception):
    """Something that a record names is not stored; it is safe to scan all of it again."""


class Brought(msgspec.Struct, frozen=True):
    """Bytes that the event itself brought; `ref` says which message of which queue they came in."""

    ref: ObjectRef
    payload: Payload


class Scanner(Protocol):
    """What a handler needs of the pipeline."""

    def scan_ref(
        self,
        ref: ObjectRef,
        *,
        deadline: Deadline,
        deliveries: int = 1,
        campaign: str = "live",
        payload: Payload | None = None,
    ) -> Outcome:
        """Fetch (unless the event brought the payload), scan and store."""

    def names_in_logs(self, ref: ObjectRef) -> dict[str, str]:
        """What leads from a log line to the object."""


def deadline(left_ms: float) -> Deadline:
    """The time until the platform ends the call; the pipeline keeps `limits.reserve_ms` of it for storing."""
    return Deadline.after_ms(left_ms)


def why(error: Exception) -> str:
    """What was wrong with a body: a ValidationError names types and places, what others say may quote it."""
    return str(error) if isinstance(error, msgspec.ValidationError) else "the body is no JSON"


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a record came from, for its log lines: the queue's message and the platform's invocation."""

    message_id: str = ""
    request_id: str = ""


NOWHERE = Source()
"""A record of which nothing is known."""


def process_and_ack(
    scanner: Scanner,
    found: Callable[[], Iterable[ObjectRef | Brought]],
    limit: Deadline,
    deliveries: int = 1,
    source: Source = NOWHERE,
) -> bool:
    """True if the record has come to its end, False if it is to come again.

    `found` reads the record. One that cannot be read is False too: it goes on to the dead letters.
    """
    if limit.left_ms < MIN_LEFT_MS:
        log("no_time_left", source, left_ms=round(limit.left_ms))
        return False
    try:
        scan_all(scanner, found(), limit, deliveries, source)
    except UnknownEventError as error:
        log("unknown_event", source, error=str(error))
        return False
    except DeliverAgainError:
        return False
    return True


def scan_all(
    scanner: Scanner,
    found: Iterable[ObjectRef | Brought],
    limit: Deadline,
    deliveries: int = 1,
    source: Source = NOWHERE,
) -> None:
    """Scan all that one record names, then raise `DeliverAgainError` if any of it is not stored."""
    ends = [_scan(scanner, item, limit, deliveries, source) for item in found]
    failed = [said for said in ends if said is not None]
    if failed:
        raise DeliverAgainError("; ".join(failed[:5]))


def _scan(
    scanner: Scanner, item: ObjectRef | Brought, limit: Deadline, deliveries: int, source: Source
) -> str | None:
    """None if it came to its end, else why it did not."""
    ref, payload = (item.ref, item.payload) if isinstance(item, Brought) else (item, None)
    began = time.perf_counter()
    facts: dict[str, Any] = {**scanner.names_in_logs(ref), "deliveries": deliveries}
    said: str | None = None
    try:
        outcome = scanner.scan_ref(ref, deadline=limit, deliveries=deliveries, payload=payload)
    except RefusedReferenceError as error:
        event, said = "reference_refused", str(error)
    except StoreError as error:
        event, said, facts["retryable"] = "store_failed", str(error), error.retryable
    except Exception as error:  # noqa: BLE001 - a fault of our own must not fail the batch's other records
        event, said = "failed", _kind_and_place(error)
    else:
        event = outcome.kind
        if outcome.response is not None and outcome.response.verdict is not None:
            facts["verdict"] = outcome.response.verdict.verdict
    if said is not None:
        facts["error"] = said
    log(event, source, **facts, ms=round((time.perf_counter() - began) * 1000))
    return said


def _kind_and_place(error: Exception) -> str:
    """An unforeseen error without its text, which may quote what was scanned."""
    place, at = "", error.__traceback__
    while at is not None:
        place, at = f"{PurePath(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno}", at.tb_next
    return f"{type(error).__name__} at {place}"


def log(event: str, source: Source = NOWHERE, **facts: Any) -> None:
    """One JSON line; ids and numbers, never bodies or contents, keys only where `logging.keys` says so."""
    facts = {**msgspec.to_builtins(source), **facts}
    safe = {key: plain_text(value) if isinstance(value, str) else value for key, value in facts.items()}
    print(json.dumps({"event": event, **safe}), flush=True)
