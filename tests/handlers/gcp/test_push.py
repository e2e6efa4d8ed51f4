"""Pub/Sub push: 204 for what has ended, 503 for what is to come again; an event is done or raised."""

from __future__ import annotations

import json
from types import ModuleType

import pytest

from handlers.records import DeliverAgainError
from stoq_core.errors import StoreError
from stoq_core.testing import make
from tests import gcs as store
from tests.contracts.buckets import GcsBucket
from tests.handlers.fakes import Noting, cold
from tests.handlers.gcp.fakes import body, event

LEFT_MS = 60_000
KEY = "a b+c%/コ.txt"


@pytest.fixture(scope="module")
def pubsub() -> ModuleType:
    """The handler of references, started cold with no stores."""
    return cold("handlers.gcp.pubsub", STOQ_SANDBOX__MODE="inline")


@pytest.fixture(scope="module")
def messages() -> ModuleType:
    """The handler of files."""
    return cold("handlers.gcp.messages", STOQ_SANDBOX__MODE="inline")


@pytest.fixture(scope="module")
def gcs() -> ModuleType:
    """The handler of Eventarc's events."""
    return cold("handlers.gcp.gcs", STOQ_SANDBOX__MODE="inline")


def test_the_delivery_count_is_pubsubs(pubsub: ModuleType) -> None:
    """So the third one is scanned in safe mode; the call's time is the limit."""
    scanner = Noting()
    assert pubsub.respond(scanner, body("push-notification"), LEFT_MS) == ("", 204)
    assert pubsub.respond(scanner, body("push-without-data"), LEFT_MS) == ("", 204)
    assert scanner.asked == [(KEY, 3), (KEY, 1)]
    assert 59_000 < scanner.left_ms[0] <= LEFT_MS


@pytest.mark.parametrize("name", ["push-deleted", "push-directory-marker"])
def test_nothing_to_scan_is_done(pubsub: ModuleType, name: str) -> None:
    """Acknowledged at once."""
    assert pubsub.respond(Noting(), body(name), LEFT_MS) == ("", 204)


@pytest.mark.parametrize("error", [StoreError("busy", retryable=True), RuntimeError("a bug")])
def test_a_failure_comes_again(pubsub: ModuleType, error: Exception) -> None:
    """A store that fails, and a fault of our own."""
    assert pubsub.respond(Noting({KEY: error}), body("push-notification"), LEFT_MS) == ("", 503)


def test_what_cannot_be_parsed_comes_again_until_it_is_a_dead_letter(
    pubsub: ModuleType, messages: ModuleType
) -> None:
    """Nothing is scanned for it."""
    scanner = Noting()
    assert pubsub.respond(scanner, body("push-reference", data=b"no reference"), LEFT_MS) == ("", 503)
    assert messages.respond(scanner, b"no message", LEFT_MS) == ("", 503)
    assert scanner.asked == []


def test_a_file_is_scanned_with_what_the_message_says(messages: ModuleType) -> None:
    """Nothing is fetched: the bytes go along, with their delivery count."""
    scanner = Noting()
    assert messages.respond(scanner, body("push-file", attempt=2), LEFT_MS) == ("", 204)
    assert scanner.asked == [("19201834765510234", 2)]
    [payload] = scanner.payloads
    assert payload is not None
    assert payload.content == b"small file\x00\xff"


def test_an_event_by_eventarc_is_done_or_raised(gcs: ModuleType) -> None:
    """What is raised the framework answers with 500, and Eventarc tries again."""
    scanner = Noting()
    gcs.respond(scanner, event("eventarc-finalized"), LEFT_MS)
    gcs.respond(scanner, event("eventarc-deleted"), LEFT_MS)
    assert scanner.asked == [(KEY, 1)]
    with pytest.raises(DeliverAgainError) as caught:
        gcs.respond(Noting({KEY: StoreError("busy", retryable=True)}), event("eventarc-finalized"), LEFT_MS)
    assert KEY not in str(caught.value)


def test_an_object_from_its_message_to_its_record(google: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Odd name, both stores; delivered twice it is one record; overwritten or gone it says so."""
    from plugins.connectors.gcs import Gcs

    archive, results = GcsBucket(google), GcsBucket(google)
    incoming = store.client(google).create_bucket("incoming-example")
    blob = incoming.blob(KEY)
    blob.upload_from_string(b"X5O!P")
    handler = cold(
        "handlers.gcp.pubsub",
        STOQ_SANDBOX__MODE="inline",
        STOQ_SCAN__FETCH='{"gcs":"gcs"}',
        STOQ_SCAN__ARCHIVERS='["gcs"]',
        STOQ_SCAN__CONNECTORS='["gcs"]',
        STOQ_ARCHIVER__GCS__BUCKET=archive.client.name,
        STOQ_ARCHIVER__GCS__ENDPOINT=google,
        STOQ_CONNECTOR__GCS__BUCKET=results.client.name,
        STOQ_CONNECTOR__GCS__ENDPOINT=google,
        STOQ_TRIGGER__BUCKET="incoming-example",
    )
    limit = handler.PIPELINE.config.limits.request_wall_ms
    reference = {"bucket": incoming.name, "key": KEY, "version": str(blob.generation)}
    pushed = body("push-reference", data=json.dumps(reference).encode())
    for _ in range(2):
        assert handler.respond(handler.PIPELINE, pushed, limit) == ("", 204)
    found = make(Gcs, bucket=results.client.name, endpoint=google)
    found.open()
    [line] = found.list(10)
    assert (line.verdict, line.name, line.size) == ("clean", "コ.txt", 5)
    assert len(list(archive.client.list_blobs())) == 1
    blob.upload_from_string(b"newer")
    assert handler.respond(handler.PIPELINE, pushed, limit) == ("", 204)
    incoming.blob(KEY).delete()
    gone = pushed.replace(b"19201834765510234", b"2")
    assert handler.respond(handler.PIPELINE, gone, limit) == ("", 204)
    logged = [json.loads(one) for one in capsys.readouterr().out.splitlines()]
    assert [one["event"] for one in logged] == ["stored", "stored", "superseded", "not_fetched"]
    [line] = found.list(10)
    assert line.verdict == "clean"  # a complete record is not replaced by that of a later delivery
    handler.PIPELINE.close()
