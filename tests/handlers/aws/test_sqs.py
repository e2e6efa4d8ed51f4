"""SQS batches: each message succeeds or fails alone, and what is stored is what S3 holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import boto3
import pytest

from plugins.connectors.s3 import S3
from stoq_core.errors import StoreError
from stoq_core.testing import make
from tests.handlers.aws.fakes import Context, event
from tests.handlers.fakes import Noting, closing, cold


@pytest.fixture(scope="module")
def sqs() -> Iterator[ModuleType]:
    """The handler's module, started cold with no stores."""
    with closing(cold("handlers.aws.sqs")) as module:
        yield module


def failed(answer: dict[str, Any]) -> list[str]:
    """The ids of failed messages, from an answer of the shape that Lambda wants."""
    assert set(answer) == {"batchItemFailures"}
    assert all(set(one) == {"itemIdentifier"} for one in answer["batchItemFailures"])
    return [one["itemIdentifier"] for one in answer["batchItemFailures"]]


IDS = [one["messageId"] for one in event("sqs-batch")["Records"]]


def test_an_unparsable_message_fails_alone(sqs: ModuleType) -> None:
    """It goes on to the dead letters; the messages around it are scanned, with their delivery counts."""
    scanner = Noting()
    assert failed(sqs.respond(scanner, event("sqs-batch"), Context())) == [IDS[1]]
    assert scanner.asked == [("one.bin", 1), ("two.bin", 1), ("three.bin", 3)]


@pytest.mark.parametrize("error", [StoreError("busy", retryable=True), RuntimeError("a bug")])
def test_a_message_whose_scan_fails_comes_again_alone(sqs: ModuleType, error: Exception) -> None:
    """A store that fails, and a fault of our own, cost one message one more delivery."""
    scanner = Noting({"two.bin": error})
    assert failed(sqs.respond(scanner, event("sqs-batch"), Context())) == [IDS[1], IDS[2]]
    assert [key for key, _ in scanner.asked] == ["one.bin", "two.bin", "three.bin"]


def test_what_cannot_be_begun_in_time_goes_back(sqs: ModuleType) -> None:
    """With under 15 s left a message is not begun; each message has the time that is left then."""
    scanner = Noting()
    answer = sqs.respond(scanner, event("sqs-batch"), Context(left_ms=45_000, step_ms=16_000))
    assert failed(answer) == IDS[1:]
    assert [key for key, _ in scanner.asked] == ["one.bin"]
    assert 44_000 < scanner.left_ms[0] <= 45_000


@pytest.mark.parametrize("name", ["sqs-test-event", "sqs-sns-test-event"])
def test_a_test_event_is_acknowledged(sqs: ModuleType, name: str) -> None:
    """What S3 sends when the notification is set up is done at once."""
    scanner = Noting()
    assert failed(sqs.respond(scanner, event(name), Context())) == []
    assert scanner.asked == []


def test_an_object_from_its_event_to_its_record(aws: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Odd key, real S3, both stores; delivered twice it is one record; gone it is `not_fetched`."""
    s3 = boto3.client("s3", endpoint_url=aws)
    for bucket in ("incoming-example", "archive", "results"):
        s3.create_bucket(Bucket=bucket)
    key = "a b+c%/コ.txt"
    etag = s3.put_object(Bucket="incoming-example", Key=key, Body=b"X5O!P")["ETag"].strip('"')
    handler = cold(
        "handlers.aws.sqs",
        STOQ_SCAN__FETCH='{"s3":"s3"}',
        STOQ_SCAN__ARCHIVERS='["s3"]',
        STOQ_SCAN__CONNECTORS='["s3"]',
        STOQ_ARCHIVER__S3__BUCKET="archive",
        STOQ_ARCHIVER__S3__ENDPOINT=aws,
        STOQ_CONNECTOR__S3__BUCKET="results",
        STOQ_CONNECTOR__S3__ENDPOINT=aws,
        STOQ_TRIGGER__BUCKET="incoming-example",
    )
    batch = json.loads(json.dumps(event("sqs-s3")).replace("d41d8cd98f00b204e9800998ecf8427e", etag))
    for _ in range(2):
        assert failed(handler.handle(batch, Context())) == []
    store = make(S3, bucket="results", endpoint=aws)
    store.open()
    [line] = store.list(10)
    assert (line.verdict, line.name, line.size) == ("clean", "コ.txt", 5)
    assert s3.list_objects_v2(Bucket="archive")["KeyCount"] == 1
    assert failed(handler.handle(event("sqs-s3"), Context())) == []  # another ETag than the object's
    s3.delete_object(Bucket="incoming-example", Key=key)
    assert failed(handler.handle(event("sqs-s3"), Context())) == []
    logged = [json.loads(one) for one in capsys.readouterr().out.splitlines()]
    assert [one["event"] for one in logged] == ["stored", "stored", "superseded", "not_fetched"]
    assert {one["scan_id"] for one in logged[:2]} == {line.scan_id}
    words = {one.scan_id: one.verdict for one in store.list(10)}
    assert words == {line.scan_id: "clean", logged[3]["scan_id"]: "incomplete"}
    handler.PIPELINE.close()
