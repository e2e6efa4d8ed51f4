"""Cloud Run functions: scan the object that a pushed Pub/Sub message names; failed ones come again.

An HTTP function, since the framework's event signatures answer 400 to a message without data for ever.
"""

from __future__ import annotations

from handlers import first_import
from handlers.gcp.events import Request, deliveries, refs_of_push, source_of_push
from handlers.records import Scanner, deadline, process_and_ack


def respond(scanner: Scanner, body: bytes, left_ms: float) -> tuple[str, int]:
    """204: done. 503: deliver it again; the subscription makes a dead letter of it after its last attempt."""
    limit, source = deadline(left_ms), source_of_push(body)
    done = process_and_ack(scanner, lambda: refs_of_push(body), limit, deliveries(body), source)
    return "", 204 if done else 503


def handle(request: Request) -> tuple[str, int]:
    """The function's entry point, of signature type `http`."""
    return respond(PIPELINE, request.get_data(), PIPELINE.config.limits.request_wall_ms)


PIPELINE = first_import.cold_start()
