"""Queue messages: done, or raised so that the platform delivers again; stored is what the blob holds."""

from __future__ import annotations

import json
from types import ModuleType

import azure.functions as func
import pytest

from handlers.records import DeliverAgainError
from plugins.connectors.azure_blob import AzureBlob
from stoq_core.errors import StoreError
from stoq_core.testing import make
from tests.contracts.buckets import BlobContainer
from tests.handlers.fakes import Noting, cold, recorded

LEFT_MS = 60_000


@pytest.fixture(scope="module")
def queue() -> ModuleType:
    """The handler's module, started cold with no stores."""
    return cold("handlers.azure.queue", STOQ_SANDBOX__MODE="inline")


def message(name: str, count: int | None = 1) -> func.QueueMessage:
    """A recorded event as the worker hands it over."""
    from azure.functions.queue import QueueMessage

    body = json.dumps(recorded("azure", name))
    return QueueMessage(id="m-1", body=body, dequeue_count=count)


def test_the_binding(queue: ModuleType) -> None:
    """One function on one queue, named by settings, with no output that could be forgotten."""
    [function] = queue.app.get_functions()
    assert function.get_function_name() == "scan_queue"
    [binding] = [one.get_dict_repr() for one in function.get_bindings()]
    assert (binding["type"], binding["direction"].name) == ("queueTrigger", "IN")
    assert (binding["queueName"], binding["connection"]) == ("%STOQ_TRIGGER__QUEUE%", "Incoming")


@pytest.mark.parametrize(("count", "deliveries"), [(1, 1), (3, 3), (5, 5), (None, 1)])
def test_the_delivery_count_is_the_queues(queue: ModuleType, count: int | None, deliveries: int) -> None:
    """So the third one is scanned in safe mode; the call's time is the limit."""
    scanner = Noting()
    queue.respond(scanner, message("eventgrid-several", count), LEFT_MS)
    assert scanner.asked == [("one.bin", deliveries), ("three.bin", deliveries)]
    assert 59_000 < scanner.left_ms[0] <= LEFT_MS


@pytest.mark.parametrize("error", [StoreError("busy", retryable=True), RuntimeError("a bug")])
def test_a_failure_is_raised_after_the_others(queue: ModuleType, error: Exception) -> None:
    """The platform delivers the message again; nothing of the object stands in the error."""
    scanner = Noting({"one.bin": error})
    with pytest.raises(DeliverAgainError) as caught:
        queue.respond(scanner, message("eventgrid-several"), LEFT_MS)
    assert len(scanner.asked) == 2
    assert str(caught.value) == "message m-1: the log says why"
    assert caught.value.__context__ is None  # the platform logs the whole chain


def test_what_cannot_be_parsed_is_raised(queue: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """After five deliveries it is in the poison queue."""
    from azure.functions.queue import QueueMessage

    with pytest.raises(DeliverAgainError):
        queue.respond(Noting(), QueueMessage(id="m-2", body=b"\xffsecret", dequeue_count=5), LEFT_MS)
    assert '"unknown_event"' in (said := capsys.readouterr().out)
    assert "secret" not in said


def test_other_events_are_done_at_once(queue: ModuleType) -> None:
    """A deletion names nothing to scan."""
    scanner = Noting()
    queue.respond(scanner, message("eventgrid-deleted"), LEFT_MS)
    assert scanner.asked == []


def test_an_object_from_its_event_to_its_record(azure: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Odd name, real blobs, both schemas: delivered twice it is one record; gone it is `not_fetched`."""
    incoming, archive, results = (BlobContainer(azure) for _ in range(3))
    key = "a b+c%/コ.txt"
    ref = incoming.put(key, b"X5O!P")
    account, container = ref.bucket.split("/")
    handler = cold(
        "handlers.azure.queue",
        STOQ_SANDBOX__MODE="inline",
        STOQ_SCAN__FETCH='{"azure_blob":"azure_blob"}',
        STOQ_SCAN__ARCHIVERS='["azure_blob"]',
        STOQ_SCAN__CONNECTORS='["azure_blob"]',
        STOQ_ARCHIVER__AZURE_BLOB__ACCOUNT=account,
        STOQ_ARCHIVER__AZURE_BLOB__CONTAINER=archive.client.container_name,
        STOQ_ARCHIVER__AZURE_BLOB__ENDPOINT=azure,
        STOQ_CONNECTOR__AZURE_BLOB__ACCOUNT=account,
        STOQ_CONNECTOR__AZURE_BLOB__CONTAINER=results.client.container_name,
        STOQ_CONNECTOR__AZURE_BLOB__ENDPOINT=azure,
        STOQ_TRIGGER__BUCKET=container,
        STOQ_TRIGGER__QUEUE="any",
    )

    def deliver(name: str, etag: str | None) -> None:
        text = json.dumps(recorded("azure", name))
        for old, new in (
            ("incomingexample", account), ("/incoming/", f"/{container}/"), ("0x8DD0C5B9E0A1B2C", etag or ""),
        ):  # fmt: skip
            text = text.replace(old, new)
        handler.scan_queue.build().get_user_function()(func.QueueMessage(id="m", body=text))

    for name in ("eventgrid-put", "cloudevent-put"):
        deliver(name, ref.etag)
    store = make(AzureBlob, account=account, container=results.client.container_name, endpoint=azure)
    store.open()
    [line] = store.list(10)
    assert (line.verdict, line.name, line.size) == ("clean", "コ.txt", 5)
    assert len(list(archive.client.list_blobs())) == 1
    deliver("eventgrid-put", "0x1")  # another ETag than the blob's
    incoming.delete(key)
    deliver("eventgrid-put", "0x2")
    logged = [json.loads(one) for one in capsys.readouterr().out.splitlines()]
    assert [one["event"] for one in logged] == ["stored", "stored", "superseded", "not_fetched"]
    assert {one["scan_id"] for one in logged[:2]} == {line.scan_id}
    words = {one.scan_id: one.verdict for one in store.list(10)}
    assert words == {line.scan_id: "clean", logged[3]["scan_id"]: "incomplete"}
    handler.PIPELINE.close()
