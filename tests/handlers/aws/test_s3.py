"""S3 and EventBridge events that invoke the function itself: done, or raised so that Lambda retries."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest

from handlers.records import DeliverAgainError, UnknownEventError
from stoq_core.errors import StoreError
from tests.handlers.aws.fakes import Context, event
from tests.handlers.fakes import Noting, closing, cold


@pytest.fixture(scope="module")
def s3() -> Iterator[ModuleType]:
    """The handler's module, started cold with no stores."""
    with closing(cold("handlers.aws.s3")) as module:
        yield module


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("s3-put", ["a b+c%/コ.txt"]),
        ("s3-several", ["one.bin", "two 2.bin"]),
        ("eventbridge-put", ["a+b%2Bc %25/コ.txt"]),
        ("s3-test-event", []),
        ("s3-removed", []),
    ],
)
def test_every_object_is_scanned(s3: ModuleType, name: str, keys: list[str]) -> None:
    """All that the event names and nothing else, as a first delivery."""
    scanner = Noting()
    s3.respond(scanner, event(name), Context())
    assert scanner.asked == [(key, 1) for key in keys]


def test_a_failure_is_raised_after_the_others(s3: ModuleType) -> None:
    """Lambda tries the event again; what was stored already is stored again under the same ids."""
    scanner = Noting({"one.bin": StoreError("busy", retryable=True)})
    with pytest.raises(DeliverAgainError):
        s3.respond(scanner, event("s3-several"), Context())
    assert len(scanner.asked) == 2


def test_an_event_that_is_none_is_raised(s3: ModuleType) -> None:
    """So it comes to the function's on-failure destination."""
    with pytest.raises(UnknownEventError):
        s3.respond(Noting(), {"no": "event"}, Context())


def test_nothing_configured_to_fetch_is_a_result_not_a_retry(s3: ModuleType) -> None:
    """Through the real pipeline: an object that nothing fetches ends as `not_fetched`."""
    s3.handle(event("s3-put"), Context())
