"""PostgreSQL's own rules: NUL, migrations, lost connections, TLS, what an error says."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from typing import Any

import msgspec
import psycopg
import pytest

from plugins._stores import postgres_tables
from plugins.connectors import postgres
from plugins.connectors.postgres import Postgres, PostgresOptions
from stoq_core.errors import ConfigError, StoreError
from stoq_core.options import Secret
from stoq_core.render import document
from tests.responses import SCAN_ID, response


@pytest.fixture
def schema() -> str:
    """A new one, with a name that must be quoted."""
    return f'T "{uuid.uuid4().hex[:12]}"'


@pytest.fixture
def store(database: str, schema: str) -> Iterator[Postgres]:
    """An empty store."""
    one = made(database, schema)
    yield one
    one.close()


def made(dsn: str, schema: str, **options: Any) -> Postgres:
    """A connector that knows the string already."""
    return Postgres(PostgresOptions(dsn=Secret("env:DSN", dsn), schema=schema, **options), "postgres")


def test_nul_stands_as_its_escape(store: Postgres) -> None:
    """In values, keys and names; everything else of the document is as it was."""
    saved = response(name="a\x00b")
    saved.results[0].workers[0]["odd"] = {"k\x00": ["\x00", "\\u0000", "x"], "n": [1, -0.5, 1e-7, None, True]}
    store.save(saved)
    found = store.get(SCAN_ID)
    wanted = document(saved)
    wanted["results"][0]["payload_meta"]["extra_data"]["filename"] = "a\\u0000b"
    wanted["results"][0]["workers"][0]["odd"] = {
        "k\\u0000": ["\\u0000", "\\u0000", "x"],
        "n": [1, -0.5, 1e-7, None, True],
    }
    assert found == wanted
    assert [one.name for one in store.search(name="a\x00b")] == ["a\\u0000b"]


def test_long_names_fit_their_indexes(store: Postgres) -> None:
    """A finding's name of any length is stored and found."""
    saved = response(score=1000)
    assert saved.verdict is not None
    found = saved.verdict.findings[0]
    long = type(found.finding)("r" * 100_000, 1000)
    findings = [msgspec.structs.replace(found, finding=long)]
    saved.verdict = msgspec.structs.replace(saved.verdict, findings=findings)
    store.save(saved)
    assert [one.scan_id for one in store.search(finding="r" * 100_000)] == [SCAN_ID]


def test_a_lost_connection_is_made_anew(store: Postgres, database: str) -> None:
    """What the server hung up between two scans is no failure of the second."""
    store.save(response(children=1))
    with psycopg.connect(database, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'stoq'"
        )
    store.save(response(children=2))
    assert store.get(SCAN_ID) == document(response(children=2))


def test_many_that_start_at_once_make_the_tables_once(database: str, schema: str) -> None:
    """Cold starts that race wait for the first one's migration."""
    stores = [made(database, schema) for _ in range(8)]
    failures: list[StoreError] = []

    def save(one: Postgres) -> None:
        try:
            one.save(response())
        except StoreError as error:
            failures.append(error)

    threads = [threading.Thread(target=save, args=(one,)) for one in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for one in stores:
        one.close()


def test_a_step_that_is_new_runs_once_over_what_is_there(
    store: Postgres, database: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older table is updated, its records stay; a role that may not update is told so."""
    store.save(response())
    step = "ALTER TABLE scans ADD COLUMN added text NOT NULL DEFAULT 'there'"
    monkeypatch.setattr(postgres, "MIGRATIONS", (*postgres_tables.MIGRATIONS, step))
    with pytest.raises(StoreError, match="migrate = true") as caught:
        made(database, schema, migrate=False).get(SCAN_ID)
    assert not caught.value.retryable
    for _ in range(2):
        newer = made(database, schema)
        assert newer.get(SCAN_ID) == document(response())
        newer.close()
    monkeypatch.undo()
    with pytest.raises(StoreError, match="newer stoQ") as caught:
        made(database, schema).get(SCAN_ID)
    assert not caught.value.retryable


def test_without_migrate_the_tables_must_be_there(database: str, schema: str) -> None:
    """A permanent failure; with them it works."""
    with pytest.raises(StoreError, match="UndefinedTable") as caught:
        made(database, schema, migrate=False).save(response())
    assert not caught.value.retryable
    first = made(database, schema)
    first.save(response())
    first.close()
    second = made(database, schema, migrate=False)
    assert second.get(SCAN_ID) is not None
    second.close()


def test_over_tcp_tls_is_asked_for(database: str, schema: str) -> None:
    """The server here has none: refused unless the string itself says `sslmode=disable`."""
    port = psycopg.conninfo.conninfo_to_dict(database)["port"]
    tcp = f"host=127.0.0.1 port={port} user=stoq password=very-secret dbname=postgres"
    with pytest.raises(StoreError) as caught:
        made(tcp, schema).get(SCAN_ID)
    assert caught.value.retryable
    assert "secret" not in str(caught.value)
    plain = made(f"{tcp} sslmode=disable", schema)
    assert plain.get(SCAN_ID) is None
    plain.close()


def test_an_attempt_that_dies_leaves_the_record_that_stood(
    store: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything or nothing: a failure between head and children changes neither."""
    store.save(response(children=1))
    rows = postgres._rows

    def broken(one: Any) -> Any:
        scan, payloads, findings = rows(one)
        return scan, [*payloads, payloads[0]], findings  # the same key twice

    monkeypatch.setattr(postgres, "_rows", broken)
    with pytest.raises(StoreError) as caught:
        store.save(response(children=3))
    assert not caught.value.retryable
    assert store.get(SCAN_ID) == document(response(children=1))
    assert len(list(store.search(sha256=response(children=1).results[1].sha256))) == 1


def test_a_wrong_connection_string_stops_the_start(schema: str) -> None:
    """And is not quoted: there may be a password in it."""
    with pytest.raises(ConfigError, match="dsn") as caught:
        made("host=x password='very-secret", schema).open()
    assert "secret" not in str(caught.value)
