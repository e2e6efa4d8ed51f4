"""Cloud Run functions: scan the object of a Cloud Storage event that Eventarc delivers.

Eventarc tells no delivery count and tries again for a day, so an object that kills the function each time
never reaches safe mode: a notification over Pub/Sub (`handlers/gcp/pubsub.py`) does.
"""

from __future__ import annotations

from handlers import first_import
from handlers.gcp.events import CloudEvent, refs_of_event
from handlers.records import DeliverAgainError, Scanner, Source, deadline, process_and_ack


def respond(scanner: Scanner, event: CloudEvent, left_ms: float) -> None:
    """Returns when all is stored; what it raises makes the framework answer 500, and Eventarc try again."""
    source = Source(message_id=str(event["id"]))
    if not process_and_ack(scanner, lambda: refs_of_event(event), deadline(left_ms), source=source):
        raise DeliverAgainError("the log says why")


def handle(event: CloudEvent) -> None:
    """The function's entry point, of signature type `cloudevent`."""
    respond(PIPELINE, event, PIPELINE.config.limits.request_wall_ms)


PIPELINE = first_import.cold_start()
