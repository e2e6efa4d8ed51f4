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

    def __init__(self, left_ms: int = 300_000, step_ms: int = 0) -> None:
        """`step_ms` is what each record costs."""
        self._left_ms = left_ms
        self._step_ms = step_ms

    def get_remaining_time_in_millis(self) -> int:
        """As Lambda's."""
        self._left_ms -= self._step_ms
        return self._left_ms + self._step_ms
