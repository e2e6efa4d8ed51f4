"""What every connector that can be asked must do; each store runs all of it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugins.connectors.azure_blob import AzureBlob
from plugins.connectors.dynamodb import Dynamodb
from plugins.connectors.filedir import Filedir
from plugins.connectors.s3 import S3
from plugins.connectors.sqlite import Sqlite
from stoq_core.render import document
from stoq_core.store import ResultStore
from stoq_core.testing import make
from tests.contracts.buckets import BlobContainer
from tests.responses import SCAN_ID, response

STORES = ("sqlite", "filedir", "s3", "dynamodb", "azure_blob")


def made(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """An empty store."""
    if kind == "sqlite":
        return make(Sqlite, path=str(tmp_path / "results.db"))
    if kind == "filedir":
        return make(Filedir, path=str(tmp_path / "results"))
    if kind == "azure_blob":
        container = BlobContainer(request.getfixturevalue("azure"))
        names = {"account": container.client.account_name, "container": container.client.container_name}
        return make(AzureBlob, **names, prefix="results/", endpoint=container.address)
    import boto3

    address = request.getfixturevalue("aws")
    name = f"t-{uuid.uuid4().hex[:12]}"
    if kind == "s3":
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket=name)
        return make(S3, bucket=name, prefix="results/", endpoint=address)
    boto3.client("dynamodb", endpoint_url=address).create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[
            {"AttributeName": "scan_id", "KeyType": "HASH"},
            {"AttributeName": "part", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": one, "AttributeType": "S"}
            for one in ("scan_id", "part", "sha256", "verdict", "time")
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by_sha256",
                "KeySchema": [{"AttributeName": "sha256", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            },
            {
                "IndexName": "by_verdict",
                "KeySchema": [
                    {"AttributeName": "verdict", "KeyType": "HASH"},
                    {"AttributeName": "time", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["summary"]},
            },
        ],
    )
    return make(Dynamodb, table=name, endpoint=address)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Each store in turn, open and empty."""
    one = made(request.param, tmp_path, request)
    one.open()
    yield one
    one.close()


def test_what_is_saved_is_found(store: Any) -> None:
    """`get` gives the whole document; an unknown scan is None; the store says that it can be asked."""
    assert isinstance(store, ResultStore)
    assert store.get(SCAN_ID) is None
    saved = response(score=1000)
    store.save(saved)
    assert store.get(SCAN_ID) == document(saved)


def test_saving_twice_is_one_record(store: Any) -> None:
    """A second delivery writes the same record over the first."""
    store.save(response())
    store.save(response())
    assert [one.scan_id for one in store.list(10)] == [SCAN_ID]


def test_partial_is_replaced_by_complete_and_never_back(store: Any) -> None:
    """Whatever the order of attempts, the most complete record stays."""
    partial, complete = response(partial=True, children=1), response(children=3, attempt=2)
    store.save(partial)
    assert store.get(SCAN_ID) == document(partial)
    store.save(complete)
    store.save(partial)
    assert store.get(SCAN_ID) == document(complete)


def test_concurrent_attempts_end_in_the_most_complete(store: Any) -> None:
    """Threads that race leave the most complete record, whole."""
    attempts = [response(partial=n < 3, children=n) for n in range(5)]
    threads = [threading.Thread(target=store.save, args=(one,)) for one in attempts]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert store.get(SCAN_ID) == document(attempts[4])


@pytest.mark.parametrize("name", ["a b+c%20.zip", "ünï/コード", "quote'\"", "x" * 1024, "%_\\"])
def test_odd_names_come_back(store: Any, name: str) -> None:
    """Names with spaces, signs, Unicode and 1,024 bytes are stored and found."""
    store.save(response(name=name))
    store.save(response(scan_id=str(uuid.uuid4()), name="other"))
    assert [one.name for one in store.search(name=name)] == [name]


def test_large_results_are_whole(store: Any) -> None:
    """3 MB of JSON come back to the byte."""
    saved = response(padding=3_000_000, children=200)
    store.save(saved)
    assert store.get(SCAN_ID) == document(saved)


def test_search_and_list(store: Any) -> None:
    """Newest first; by verdict, digest, part of a name, and finding."""
    old = response(scan_id=str(uuid.uuid4()), time="2026-01-01T00:00:00Z", name="old.doc")
    new = response(scan_id=str(uuid.uuid4()), time="2026-01-02T00:00:00Z", name="new.exe", score=1000)
    store.save(old)
    store.save(new)
    assert [one.scan_id for one in store.list(10)] == [new.scan_id, old.scan_id]
    assert [one.name for one in store.list(10, "malicious")] == ["new.exe"]
    assert [one.name for one in store.search(sha256=old.results[1].sha256)] == ["old.doc"]
    assert [one.name for one in store.search(name="NEW")] == ["new.exe"]
    assert [one.name for one in store.search(finding="bad_rule")] == ["new.exe"]
    assert list(store.search(finding="nothing")) == []


def test_dynamodb_keeps_only_what_the_head_names(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Parts of attempts that lost, or that died before their head, are not read and do not pile up."""
    store = made("dynamodb", tmp_path, request)
    dead = response(partial=True, children=1)
    store._write(SCAN_ID, [{"part": {"S": "doc#dead#00000"}, "data": {"B": b"half"}}])
    assert store.get(SCAN_ID) is None
    store.save(dead)
    store.save(response(children=3))
    store.save(dead)
    parts = [one["part"]["S"] for one in store._parts(SCAN_ID)]
    assert len({one.split("#")[1] for one in parts if one != "head"}) == 1
    assert len(parts) == 1 + 1 + 4
