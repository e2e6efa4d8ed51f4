"""AWS Lambda: scan each object of an S3 notification that invokes the function directly."""

from __future__ import annotations

from typing import Any

from handlers import bootstrap
from handlers.aws.events import s3_refs
from handlers.aws.records import LambdaContext, Scanner, deadline, scan_all


def answer(scanner: Scanner, event: dict[str, Any], context: LambdaContext) -> None:
    """Returns when all is stored; raises what Lambda's asynchronous retry should try again."""
    scan_all(scanner, list(s3_refs(event)), deadline(context), 1)


def handle(event: dict[str, Any], context: LambdaContext) -> None:
    """Lambda's entry point."""
    answer(PIPELINE, event, context)


PIPELINE = bootstrap.cold_start()
