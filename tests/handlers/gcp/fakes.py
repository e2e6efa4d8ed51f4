"""What the tests of Google's handlers share: recorded events as the framework hands them over."""

from __future__ import annotations

import base64
import json
from typing import Any

from cloudevents.http import CloudEvent

from tests.handlers import fakes


def event(name: str) -> CloudEvent:
    """A recorded CloudEvent."""
    found = fakes.recorded("gcp", name)
    return CloudEvent(found["attributes"], found["data"])


def body(name: str, attempt: int | None = None, **message: Any) -> bytes:
    """A recorded push, with what is given of it changed; `data` is bytes here."""
    found = fakes.recorded("gcp", name)
    if isinstance(message.get("data"), bytes):
        message["data"] = base64.b64encode(message["data"]).decode()
    found["message"].update(message)
    if attempt is not None:
        found["deliveryAttempt"] = attempt
    return json.dumps(found).encode()
