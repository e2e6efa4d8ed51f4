"""AWS Lambda: scan each S3 object that an SQS batch names; failed messages go back."""

from __future__ import annotations

from typing import Any

from handlers import bootstrap
from handlers.aws.events import Message, UnknownEventError, messages, refs_of_body
from handlers.aws.records import (
    MIN_LEFT_MS,
    DeliverAgainError,
    LambdaContext,
    Scanner,
    deadline,
    log,
    scan_all,
)


def answer(scanner: Scanner, event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """`{"batchItemFailures": […]}`: the ids of the messages to deliver again."""
    failed = [one.id for one in messages(event) if not _done(scanner, one, context)]
    return {"batchItemFailures": [{"itemIdentifier": one} for one in failed]}


def _done(scanner: Scanner, message: Message, context: LambdaContext) -> bool:
    """True if the message has come to its end; one that cannot be parsed goes on to the dead letters."""
    limit = deadline(context)
    if limit.left_ms < MIN_LEFT_MS:
        log("no_time_left", left_ms=round(limit.left_ms))
        return False
    try:
        scan_all(scanner, refs_of_body(message.body), limit, message.attributes.deliveries)
    except UnknownEventError as error:
        log("unknown_event", error=str(error))
        return False
    except DeliverAgainError:
        return False
    return True


def handle(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Lambda's entry point."""
    return answer(PIPELINE, event, context)


PIPELINE = bootstrap.cold_start()
