"""One cloud's function, started cold in a process of its own: `python -m tests.e2e.cloud_path aws|gcp|azure`.

Each line of input is a message as its queue hands it over, each line of output the platform's side of the
answer: true if the message is done. What the handler logs goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

LEFT_MS = 300_000


class _Context:
    """Lambda's, as far as the handler asks it."""

    aws_request_id = "5a1ba29c-6f72-5ba0-a8a8-d8d2a2a3a4a5"

    def get_remaining_time_in_millis(self) -> int:
        """Five minutes."""
        return LEFT_MS


def _aws() -> tuple[Callable[[Any], bool], Any]:
    from handlers.aws import sqs

    def handed(event: Any) -> bool:
        return sqs.handle(event, _Context()) == {"batchItemFailures": []}

    return handed, sqs.PIPELINE


def _gcp() -> tuple[Callable[[Any], bool], Any]:
    from flask import Request
    from werkzeug.test import EnvironBuilder

    from handlers.gcp import pubsub

    def handed(push: Any) -> bool:
        request = EnvironBuilder(method="POST", json=push).get_request(Request)
        return pubsub.handle(request) == ("", 204)

    return handed, pubsub.PIPELINE


def _azure() -> tuple[Callable[[Any], bool], Any]:
    from azure.functions.queue import QueueMessage

    from handlers.azure import queue
    from handlers.records import DeliverAgainError

    [function] = queue.app.get_functions()
    scan = function.get_user_function()

    def handed(message: Any) -> bool:
        try:
            scan(QueueMessage(**message))
        except DeliverAgainError:
            return False
        return True

    return handed, queue.PIPELINE


def main(cloud: str) -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    handed, pipeline = {"aws": _aws, "gcp": _gcp, "azure": _azure}[cloud]()
    for line in sys.stdin:
        print(json.dumps(handed(json.loads(line))), file=answers, flush=True)
    pipeline.close()


if __name__ == "__main__":
    main(sys.argv[1])
