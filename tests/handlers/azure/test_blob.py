"""The blob trigger: its binding, and that of its client only the reference is taken."""

from __future__ import annotations

from types import ModuleType

import azure.functions as func
import pytest
from azurefunctions.extensions.bindings.blob import BlobClient

from handlers.records import DeliverAgainError, UnknownEventError
from stoq_core.errors import StoreError
from tests.contracts.buckets import BlobContainer
from tests.handlers.fakes import Noting, cold


@pytest.fixture(scope="module")
def blob() -> ModuleType:
    """The handler's module, started cold with no stores."""
    return cold("handlers.azure.blob", STOQ_SANDBOX__MODE="inline")


def test_the_binding(blob: ModuleType) -> None:
    """Event Grid is the source, which the Flex plan demands, and the container is named by a setting."""
    [function] = blob.app.get_functions()
    assert function.get_function_name() == "scan_blob"
    [binding] = [one.get_dict_repr() for one in function.get_bindings()]
    assert (binding["type"], binding["direction"].name) == ("blobTrigger", "IN")
    assert binding["source"] == func.BlobSource.EVENT_GRID.value == "EventGrid"
    assert (binding["path"], binding["connection"]) == ("%STOQ_TRIGGER__BUCKET%/{name}", "Incoming")
    # what makes the worker hand over a client instead of reading the blob into memory
    assert blob.BlobClient is BlobClient


@pytest.mark.parametrize("key", ["plain", "a b+c%/コ.txt", "a//b"])
def test_only_the_reference_is_taken(blob: ModuleType, azure: str, key: str) -> None:
    """Account, container, name, and the ETag of this moment; the bytes stay where they are."""
    container = BlobContainer(azure)
    ref = container.put(key, b"abc")
    found = blob.refs_of_client(container.client.get_blob_client(key))
    assert [(one.identity, one.size) for one in found] == [(ref.identity, 3)]
    scanner = Noting()
    blob.respond(scanner, container.client.get_blob_client(key), 60_000)
    assert scanner.asked == [(key, 1)]


def test_a_blob_that_is_gone_is_still_a_reference(blob: ModuleType, azure: str) -> None:
    """The archiver then finds it gone, and that is recorded."""
    [found] = blob.refs_of_client(BlobContainer(azure).client.get_blob_client("gone"))
    assert (found.key, found.etag) == ("gone", None)


def test_a_failure_is_raised(blob: ModuleType, azure: str) -> None:
    """The platform tries again, at last the trigger's own poison queue."""
    container = BlobContainer(azure)
    container.put("k", b"abc")
    scanner = Noting({"k": StoreError("busy", retryable=True)})
    with pytest.raises(DeliverAgainError):
        blob.respond(scanner, container.client.get_blob_client("k"), 60_000)


def test_a_connection_without_an_account_is_refused(blob: ModuleType) -> None:
    """A custom domain tells no account, and a reference without one would be another object's."""
    from azure.storage.blob import BlobClient as StorageClient

    with pytest.raises(UnknownEventError):
        blob.refs_of_client(StorageClient("https://files.example.com", "c", "b"))
