"""AWS Lambda: scan each S3 object that an SQS batch names; failed messages go back."""

from __future__ import annotations

from typing import Any

from handlers import first_import
from handlers.aws.events import LambdaContext, Message, messages, refs_of_body
from handlers.records import Scanner, Source, deadline, process_and_ack


def respond(scanner: Scanner, event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """`{"batchItemFailures": […]}`: the ids of the messages to deliver again."""
    failed = [message.id for message in messages(event) if not _done(scanner, message, context)]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _done(scanner: Scanner, message: Message, context: LambdaContext) -> bool:
    limit = deadline(context.get_remaining_time_in_millis())
    source = Source(message_id=message.id, request_id=context.aws_request_id)
    return process_and_ack(
        scanner, lambda: refs_of_body(message.body), limit, message.attributes.deliveries, source
    )


def handle(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Lambda's entry point."""
    return respond(PIPELINE, event, context)


PIPELINE = first_import.cold_start()
