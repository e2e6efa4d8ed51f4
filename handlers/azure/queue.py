"""Azure Functions: scan what a Storage queue message names: Event Grid's events and plain references."""

from __future__ import annotations

import azure.functions as func

from handlers import first_import
from handlers.azure.events import refs_of_body
from handlers.records import DeliverAgainError, Scanner, Source, deadline, process_and_ack

app = func.FunctionApp()


def respond(scanner: Scanner, message: func.QueueMessage, left_ms: float) -> None:
    """Returns when all is stored, else raises: the message comes again, at last into the poison queue."""
    body, deliveries = message.get_body(), message.dequeue_count or 1
    limit, source = deadline(left_ms), Source(message_id=message.id or "")
    if not process_and_ack(scanner, lambda: refs_of_body(body), limit, deliveries, source):
        raise DeliverAgainError(f"message {message.id}: the log says why")


@app.queue_trigger(arg_name="message", queue_name="%STOQ_TRIGGER__QUEUE%", connection="Incoming")
def scan_queue(message: func.QueueMessage) -> None:
    """The function; the platform ends it after host.json's functionTimeout."""
    respond(PIPELINE, message, PIPELINE.config.limits.request_wall_ms)


PIPELINE = first_import.cold_start()
