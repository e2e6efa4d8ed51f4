"""What the tests of the AWS handlers share: recorded events and Lambda's context."""

from __future__ import annotations

from typing import Any

from tests.handlers import fakes

EVENTS = fakes.EVENTS / "aws"


def event(name: str) -> dict[str, Any]:
    """A recorded event, afresh each time."""
    return fakes.recorded("aws", name)


class Context:
    """Lambda's context; each look at it finds a little less time."""

    aws_request_id = "5a1ba29c-6f72-5ba0-a8a8-d8d2a2a3a4a5"

    def __init__(self, left_ms: int = 300_000, step_ms: int = 0) -> None:
        """`step_ms` is what each record costs."""
        self._left_ms = left_ms
        self._step_ms = step_ms

    def get_remaining_time_in_millis(self) -> int:
        """As Lambda's."""
        self._left_ms -= self._step_ms
        return self._left_ms + self._step_ms
