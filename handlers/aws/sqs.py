"""AWS Lambda: scan each S3 object that an SQS batch names; failed messages go back."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSEvent, SQSRecord

from handlers import bootstrap
from handlers.aws.events import UnknownEventError, body_of, s3_refs
from handlers.aws.records import MIN_LEFT_MS, LambdaContext, Scanner, deadline, log, scan_all
from stoq_core.errors import StoreError


def answer(scanner: Scanner, event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """`{"batchItemFailures": […]}`: the ids of the messages to deliver again."""
    failed = [one.message_id for one in SQSEvent(event).records if not _done(scanner, one, context)]
    return {"batchItemFailures": [{"itemIdentifier": one} for one in failed]}


def _done(scanner: Scanner, record: SQSRecord, context: LambdaContext) -> bool:
    """True if the message has come to its end; one that cannot be parsed goes on to the dead letters."""
    limit = deadline(context)
    if limit.left_ms < MIN_LEFT_MS:
        log("no_time_left", left_ms=round(limit.left_ms))
        return False
    try:
        refs = list(s3_refs(body_of(record.body)))
        scan_all(scanner, refs, limit, int(record.attributes.approximate_receive_count or 1))
    except UnknownEventError as error:
        log("unknown_event", error=str(error))
        return False
    except StoreError:
        return False
    return True


def handle(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Lambda's entry point."""
    return answer(PIPELINE, event, context)


PIPELINE = bootstrap.cold_start()
