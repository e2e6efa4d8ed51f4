"""Cloud Run functions: scan the small file that a pushed Pub/Sub message brings; failed ones come again.

A topic of its own: were references and files told apart by their look, a file could pass for a reference.
"""

from __future__ import annotations

from handlers import first_import
from handlers.gcp.events import Request, deliveries, file_of_push, source_of_push
from handlers.records import Scanner, deadline, process_and_ack


def respond(scanner: Scanner, body: bytes, left_ms: float) -> tuple[str, int]:
    """204: done. 503: deliver it again; the subscription makes a dead letter of it after its last attempt."""
    limit, source = deadline(left_ms), source_of_push(body)
    done = process_and_ack(scanner, lambda: file_of_push(body), limit, deliveries(body), source)
    return "", 204 if done else 503


def handle(request: Request) -> tuple[str, int]:
    """The function's entry point, of signature type `http`."""
    return respond(PIPELINE, request.get_data(), PIPELINE.config.limits.request_wall_ms)


PIPELINE = first_import.cold_start()
