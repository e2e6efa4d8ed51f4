"""One record to its end: what is logged, what comes again."""

from __future__ import annotations

import json

import pytest

from handlers.records import (
    MIN_LEFT_MS,
    Brought,
    DeliverAgainError,
    Source,
    UnknownEventError,
    log,
    process_and_ack,
    scan_all,
)
from stoq_core.errors import StoreError
from stoq_core.limits import Deadline
from stoq_core.payload import ObjectRef, scan_id_for
from stoq_core.references import RefusedReferenceError, object_digest
from stoq_core.testing import payload
from tests.handlers.fakes import Noting

NAMES = {
    "scan_id": scan_id_for("test", ObjectRef(store="s3", bucket="in", key="secret-1").identity),
    "object": object_digest("test", ObjectRef(store="s3", bucket="in", key="secret-1")),
}
ONE, TWO = (ObjectRef(store="s3", bucket="in", key=f"secret-{n}") for n in "12")


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """What was logged."""
    return [json.loads(one) for one in capsys.readouterr().out.splitlines()]


def test_bytes_that_the_event_brought_are_scanned_under_its_reference() -> None:
    """Nothing is fetched for them; references beside them have no payload."""
    scanner, brought = Noting(), payload(b"small", "a.txt")
    scan_all(scanner, [Brought(ONE, brought), TWO], Deadline.after_ms(1_000))
    assert scanner.asked == [(ONE.key, 1), (TWO.key, 1)]
    assert scanner.payloads == [brought, None]


@pytest.mark.parametrize(
    ("raised", "event"),
    [(None, "stored"), (UnknownEventError("no reference"), "unknown_event")],
)
def test_a_record_ends_or_comes_again(
    raised: Exception | None, event: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is read and stored has ended; what cannot be read comes again until it is a dead letter."""

    def found() -> list[ObjectRef]:
        if raised is not None:
            raise raised
        return [ONE]

    assert process_and_ack(Noting(), found, Deadline.after_ms(60_000), 2) is (raised is None)
    [line] = lines(capsys)
    assert line["event"] == event


def test_a_record_whose_scan_fails_comes_again() -> None:
    """Whatever it was that failed."""
    scanner = Noting({ONE.key: StoreError("busy", retryable=True)})
    assert not process_and_ack(scanner, lambda: [ONE], Deadline.after_ms(60_000))


def test_a_record_is_not_begun_without_time(capsys: pytest.CaptureFixture[str]) -> None:
    """Under 15 s it is not even read."""
    scanner = Noting()
    assert not process_and_ack(scanner, lambda: [ONE], Deadline.after_ms(MIN_LEFT_MS - 100))
    assert scanner.asked == []
    assert [one["event"] for one in lines(capsys)] == ["no_time_left"]


def test_one_line_a_record(capsys: pytest.CaptureFixture[str]) -> None:
    """Outcome, id, deliveries and milliseconds."""
    scan_all(Noting(), [ONE], Deadline.after_ms(1_000), 2)
    [line] = lines(capsys)
    assert line.pop("ms") in range(1_000)
    assert line == {"event": "stored", **NAMES, "deliveries": 2}


def test_every_line_leads_to_its_object(capsys: pytest.CaptureFixture[str]) -> None:
    """Scan id, a digest of the key, message and request: of failures and refusals as well."""
    source = Source(message_id="m-1", request_id="r-1")
    for error in (StoreError("down", retryable=True), ValueError(), RefusedReferenceError("elsewhere")):
        scanner = Noting({ONE.key: error})
        assert not process_and_ack(scanner, lambda: [ONE], Deadline.after_ms(60_000), 2, source)
    assert not process_and_ack(Noting(), lambda: [ONE], Deadline.after_ms(10), 2, source)
    found = lines(capsys)
    assert [line["event"] for line in found] == [
        "store_failed",
        "failed",
        "reference_refused",
        "no_time_left",
    ]
    assert all(line["message_id"] == "m-1" and line["request_id"] == "r-1" for line in found)
    assert all({name: line[name] for name in NAMES} == NAMES for line in found[:3])


@pytest.mark.parametrize(
    "error",
    [StoreError("busy", retryable=True), StoreError("", retryable=False), ValueError("secret-content")],
)
def test_a_failure_waits_for_the_others(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    """The other references of a record are scanned, then the record comes again; whatever was raised."""
    scanner = Noting({ONE.key: error})
    with pytest.raises(DeliverAgainError) as caught:
        scan_all(scanner, [ONE, TWO], Deadline.after_ms(1_000))
    assert [key for key, _ in scanner.asked] == [ONE.key, TWO.key]
    said = str(caught.value) + str(lines(capsys))
    assert "secret" not in said


def test_a_fault_of_our_own_is_logged_by_kind_and_place(capsys: pytest.CaptureFixture[str]) -> None:
    """The type, file and line of what nobody foresaw, without its text."""
    with pytest.raises(DeliverAgainError):
        scan_all(Noting({ONE.key: KeyError("secret")}), [ONE], Deadline.after_ms(1_000))
    [line] = lines(capsys)
    assert line["event"] == "failed"
    assert str(line["error"]).startswith("KeyError at fakes.py:")


def test_a_line_stays_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters and lone surrogates are escaped: nobody forges a second line."""
    log("store_failed", error='x\r\n\x1b[31m{"event":"stored"}\u2028\udcff')
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert printed.isascii()
    assert printed[:-1].isprintable()
