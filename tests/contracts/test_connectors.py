"""What every connector that can be asked must do; each store runs all of it."""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from plugins.connectors import cosmosdb
from plugins.connectors.azure_blob import AzureBlob
from plugins.connectors.cosmosdb import Cosmosdb, CosmosdbOptions
from plugins.connectors.dynamodb import Dynamodb
from plugins.connectors.filedir import Filedir
from plugins.connectors.firestore import Firestore
from plugins.connectors.gcs import Gcs
from plugins.connectors.postgres import Postgres, PostgresOptions
from plugins.connectors.s3 import S3
from plugins.connectors.sqlite import Sqlite
from stoq_core.attempts import AttemptMarks
from stoq_core.errors import StoreError
from stoq_core.options import Secret
from stoq_core.render import document
from stoq_core.response import ScanResponse
from stoq_core.store import ResultStore
from stoq_core.testing import make
from tests import gcs
from tests.contracts.buckets import BlobContainer, GcsBucket
from tests.responses import SCAN_ID, response
from tests.servers import COSMOS_KEY

STORES = ("sqlite", "filedir", "s3", "dynamodb", "azure_blob", "cosmosdb", "gcs", "postgres", "firestore")


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
    if kind == "postgres":
        return postgres_at(request.getfixturevalue("database"), f"t{uuid.uuid4().hex[:12]}")
    if kind == "firestore":
        request.getfixturevalue("firestore")
        return make(Firestore, project=gcs.PROJECT, collection=f"t-{uuid.uuid4().hex[:12]}")
    if kind == "gcs":
        bucket = GcsBucket(request.getfixturevalue("google"))
        options = bucket.archiver.options
        return make(Gcs, bucket=options.bucket, prefix="results/", endpoint=options.endpoint)
    if kind == "cosmosdb":
        from azure.cosmos import CosmosClient, PartitionKey

        address = request.getfixturevalue("cosmos")
        name = f"t-{uuid.uuid4().hex[:12]}"
        with CosmosClient(address, COSMOS_KEY, enable_endpoint_discovery=False) as client:
            client.create_database(name).create_container("results", PartitionKey("/scan_id"))
        return cosmosdb_at(address, name)
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


def postgres_at(dsn: str, schema: str, **options: Any) -> Postgres:
    """A connector with its own schema."""
    return Postgres(PostgresOptions(dsn=Secret("env:DSN", dsn), schema=schema, **options), "postgres")


def cosmosdb_at(address: str, database: str) -> Cosmosdb:
    """A connector with the emulator's key."""
    key = Secret("env:ITS_KEY", COSMOS_KEY)
    return Cosmosdb(CosmosdbOptions(endpoint=address, database=database, key=key), "cosmosdb")


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


def test_marks_of_attempts(store: Any) -> None:
    """A mark is put once, says until when its attempt may live, and goes with that attempt alone."""
    assert isinstance(store, AttemptMarks)
    assert store.begin_attempt(SCAN_ID, 1_700_000_000.25) is None
    assert store.begin_attempt(SCAN_ID, 1_700_000_009.5) == 1_700_000_000.25
    store.end_attempt(SCAN_ID, 1_700_000_009.5)
    assert store.begin_attempt(SCAN_ID, 1_700_000_010.0) == 1_700_000_000.25
    store.save(response())
    assert store.begin_attempt(SCAN_ID, 1_700_000_010.0) == 1_700_000_000.25
    assert store.get(SCAN_ID) == document(response())
    assert [line.scan_id for line in store.list(10)] == [SCAN_ID]
    store.end_attempt(SCAN_ID, 1_700_000_000.25)
    store.end_attempt(SCAN_ID, 1_700_000_000.25)
    assert store.begin_attempt(SCAN_ID, 1_700_000_011.0) is None


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
    lesser = response(partial=True, children=1)
    hours_ago = {"N": str(int(time.time()) - 7200)}
    store._write(SCAN_ID, [{"part": {"S": "doc#dead#00000"}, "data": {"B": b"half"}, "written": hours_ago}])
    assert store.get(SCAN_ID) is None
    store.save(lesser)
    store.save(response(children=3))
    store.save(lesser)
    parts = [one["part"]["S"] for one in store._parts(SCAN_ID)]
    assert len({one.split("#")[1] for one in parts if one != "head"}) == 1
    assert len(parts) == 1 + 1 + 4


@pytest.mark.parametrize("between", ["lesser", "equal"])
def test_dynamodb_leaves_alone_what_another_attempt_is_writing(
    tmp_path: Path, request: pytest.FixtureRequest, between: str
) -> None:
    """An attempt that saves and sweeps between another one's parts and its head costs it no part."""
    slow = made("dynamodb", tmp_path, request)
    quick = make(Dynamodb, table=slow.options.table, endpoint=slow.options.endpoint)
    first = response(children=4, time="2026-01-02T00:00:00Z")
    other = response(children=4) if between == "equal" else response(children=1, partial=True)
    write_head = slow._write_head

    def after_the_other(*arguments: Any) -> Any:
        quick.save(other)
        return write_head(*arguments)

    slow._write_head = after_the_other
    slow.save(first)
    assert slow.get(SCAN_ID) == document(first)
    assert (
        len({one["part"]["S"].split("#")[1] for one in slow._parts(SCAN_ID) if "#" in one["part"]["S"]}) == 1
    )


def test_dynamodb_readers_follow_the_head(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A record that is replaced between a reader's look at the head and at the parts is read anew.

    One whose parts are gone for good is an error, not half a document.
    """
    store = made("dynamodb", tmp_path, request)
    store.save(response(children=1, partial=True))
    newer, read = response(children=2, padding=700_000), store._pieces

    def after_a_replacement(scan_id: str, token: str) -> Any:
        store._pieces = read
        store.save(newer)
        return read(scan_id, token)

    store._pieces = after_a_replacement
    assert store.get(SCAN_ID) == document(newer)
    token = store._head(SCAN_ID)["token"]["S"]
    key = {"scan_id": {"S": SCAN_ID}, "part": {"S": f"doc#{token}#00000"}}
    store._db().delete_item(TableName=store.options.table, Key=key)
    with pytest.raises(StoreError, match="lacks parts"):
        store.get(SCAN_ID)


def test_readers_beside_writers_see_whole_records(store: Any) -> None:
    """Whoever reads while attempts race sees one attempt's document or none yet, and never goes back."""
    attempts = [response(partial=n < 3, children=n) for n in range(5)]
    whole = [None, *map(document, attempts)]
    threads = [threading.Thread(target=store.save, args=(one,)) for one in attempts]
    for one in threads:
        one.start()
    seen = [0]
    while any(one.is_alive() for one in threads):
        seen.append(whole.index(store.get(SCAN_ID)))
    assert seen == sorted(seen)
    assert store.get(SCAN_ID) == whole[-1]


def test_cosmosdb_keeps_only_what_the_head_names(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Parts of attempts that lost, or that died before their head, are not read and do not pile up."""
    store = made("cosmosdb", tmp_path, request)
    lesser = response(partial=True, children=1)
    store._write([{"id": "doc.dead.00000", "scan_id": SCAN_ID, "kind": "doc", "data": "half"}])
    assert store.get(SCAN_ID) is None
    store.save(lesser)
    store.save(response(children=3))
    store.save(lesser)
    parts = [one["id"] for one in store._of(SCAN_ID, "SELECT c.id FROM c WHERE c.scan_id = @scan_id")]
    assert sorted(one.split(".")[0] for one in parts) == ["doc", "head", "payloads"]
    assert store.get(SCAN_ID) == document(response(children=3))
    store.close()


def test_cosmosdb_a_sweep_in_the_middle_of_another_attempt(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was swept before its head stands is written once more, and the record is whole."""
    store = made("cosmosdb", tmp_path, request)
    store.save(response(children=1))
    write_head = store._write_head

    def swept_first(head: dict[str, Any]) -> bool:
        store._sweep(SCAN_ID)
        return bool(write_head(head))

    monkeypatch.setattr(store, "_write_head", swept_first)
    store.save(response(children=3))
    assert store.get(SCAN_ID) == document(response(children=3))
    store.close()


def test_cosmosdb_a_sweep_that_looked_before_another_heads_parts_were_written_again(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that was written anew since a sweep looked at it is not deleted, whatever head it saw."""
    store = made("cosmosdb", tmp_path, request)
    second = response(children=2)
    store.save(response(children=1))
    look, parts = store._head, cosmos_parts(second, "second")

    def late(scan_id: str) -> Any:
        seen = look(scan_id)
        monkeypatch.setattr(store, "_head", look)
        # between a sweep's looking and its deleting another attempt comes to its end
        assert store._write_head(cosmosdb._head_item(second, "second", 1))
        store._write(parts)
        return seen

    store._write(parts)
    monkeypatch.setattr(store, "_head", late)
    store._sweep(SCAN_ID)
    assert store.get(SCAN_ID) == document(second)
    store.close()


def cosmos_parts(saved: ScanResponse, token: str) -> list[dict[str, Any]]:
    """What an attempt writes before its head."""
    return [*cosmosdb._pieces(saved, token), *cosmosdb._searchable(saved, token)]


def test_cosmosdb_attempts_never_share_their_parts(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that dies while it writes leaves the record that stands as it was, however alike the two are."""
    store = made("cosmosdb", tmp_path, request)
    large = response()
    large.results[0].workers[0]["random"] = {"hex": os.urandom(2_000_000).hex()}
    store.save(large)
    again, write = msgspec.structs.replace(large, time="2026-12-01T00:00:00Z", attempt=2), store._items

    class Dying:
        """The container, until its second write."""

        def __init__(self) -> None:
            self.left = 1

        def upsert_item(self, one: dict[str, Any]) -> None:
            """Write, or die."""
            if not self.left:
                message = "the function is killed"
                raise KeyboardInterrupt(message)
            self.left -= 1
            write().upsert_item(one)

    dying = Dying()
    monkeypatch.setattr(store, "_items", lambda: dying)
    with pytest.raises(KeyboardInterrupt):
        store.save(again)
    monkeypatch.setattr(store, "_items", write)
    assert store.get(SCAN_ID) == document(large)
    store.save(again)
    assert store.get(SCAN_ID) == document(again)
    store.close()


def test_cosmosdb_items_fit(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """No item is over Cosmos DB's 2 MB, which the emulator does not hold to."""
    large = response(children=2_000, name="\U0001f4a3" * 2_000)
    large.results[0].workers[0]["random"] = {"hex": os.urandom(4_000_000).hex()}
    parts = cosmos_parts(large, "t" * 16)
    head = cosmosdb._head_item(large, "t" * 16, 9)
    assert max(len(json.dumps(one).encode()) for one in (*parts, head)) < 2_000_000
    assert sum(one["kind"] == "doc" for one in parts) > 3
    assert not [one["id"] for one in parts if set(one["id"]) & set("/\\?#")]


def test_cosmosdb_finds_a_digest_however_it_is_written(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """People paste digests in capitals too."""
    store = made("cosmosdb", tmp_path, request)
    saved = response()
    digest = "ab" * 32
    saved.results[1].sha256 = digest
    store.save(saved)
    assert [one.scan_id for one in store.search(sha256=digest.upper())] == [SCAN_ID]
    store.close()


def test_cosmosdb_failures_say_whether_to_try_again(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A container that is not there is permanent; an account that does not answer is worth another try."""
    address = request.getfixturevalue("cosmos")
    store = cosmosdb_at(address, "none")
    with pytest.raises(StoreError) as caught:
        store.save(response())
    assert not caught.value.retryable
    store.close()
