"""AWS Lambda: scan each S3 object that an SQS batch names; failed messages go back."""

from __future__ import annotations

from typing import Any

from handlers import ahead
from handlers.aws.events import LambdaContext, Message, messages, refs_of_body
from handlers.records import Scanner, deadline, ended


def answer(scanner: Scanner, event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """`{"batchItemFailures": […]}`: the ids of the messages to deliver again."""
    failed = [one.id for one in messages(event) if not _ended(scanner, one, context)]
    return {"batchItemFailures": [{"itemIdentifier": one} for one in failed]}


def _ended(scanner: Scanner, message: Message, context: LambdaContext) -> bool:
    limit = deadline(context.get_remaining_time_in_millis())
    return ended(scanner, lambda: refs_of_body(message.body), limit, message.attributes.deliveries)


def handle(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Lambda's entry point."""
    return answer(PIPELINE, event, context)


PIPELINE = ahead.cold_start()
