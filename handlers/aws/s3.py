"""AWS Lambda: scan each object of an S3 or EventBridge event that invokes the function directly.

Lambda tells no delivery count here and gives up after two retries, so an object that kills the
function each time never reaches safe mode: give the function an on-failure destination, or use a queue.
"""

from __future__ import annotations

from typing import Any

from handlers import first_import
from handlers.aws.events import LambdaContext, refs_of_event
from handlers.records import Scanner, Source, deadline, scan_all


def respond(scanner: Scanner, event: dict[str, Any], context: LambdaContext) -> None:
    """Returns when all is stored; raises what Lambda's asynchronous retry should try again."""
    source = Source(request_id=context.aws_request_id)
    scan_all(scanner, refs_of_event(event), deadline(context.get_remaining_time_in_millis()), source=source)


def handle(event: dict[str, Any], context: LambdaContext) -> None:
    """Lambda's entry point."""
    respond(PIPELINE, event, context)


PIPELINE = first_import.cold_start()
