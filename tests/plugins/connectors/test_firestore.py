"""Firestore's own rules: 1 MiB a document, no list in a list, attempts that cross each other."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from plugins.connectors.firestore import Firestore
from stoq_core.errors import StoreError
from stoq_core.render import document
from stoq_core.testing import make
from tests import gcs
from tests.responses import SCAN_ID, response


@pytest.fixture
def store(firestore: str) -> Iterator[Firestore]:
    """An empty collection."""
    one = make(Firestore, project=gcs.PROJECT, collection=f"t-{uuid.uuid4().hex[:12]}")
    yield one
    one.close()


def parts(store: Firestore) -> list[Any]:
    """What lies below the head."""
    return list(store._head(SCAN_ID).collection("parts").stream())


def test_what_does_not_shrink_is_kept_in_pieces(store: Firestore) -> None:
    """4 MB that no compression helps; the emulator holds to 1 MiB a document, as Firestore does."""
    saved = response(children=1)
    saved.results[0].workers[0]["random"] = {"hex": os.urandom(4_000_000).hex()}
    store.save(saved)
    assert store.get(SCAN_ID) == document(saved)
    assert len([one for one in parts(store) if "-doc-" in one.id]) >= 4


def test_lists_of_lists_are_whole(store: Firestore) -> None:
    """Firestore refuses them in its documents; a result has them in `plugins_run` at least."""
    saved = response()
    saved.results[0].workers[0]["deep"] = {"rows": [[1, [2]], [[[]]]]}
    store.save(saved)
    assert store.get(SCAN_ID) == document(saved)


def test_any_of_many_payloads_is_found(store: Firestore) -> None:
    """5,000 payloads, as many as a request may have; each by its digest."""
    saved = response(children=4_999)
    store.save(saved)
    for one in (saved.results[0], saved.results[2_500], saved.results[-1]):
        assert [line.scan_id for line in store.search(sha256=one.sha256)] == [SCAN_ID]


def test_only_what_the_head_names_is_kept(store: Firestore) -> None:
    """Parts of attempts that lost, or that died before their head, are not read and do not pile up."""
    lesser = response(partial=True, children=1)
    store._write(SCAN_ID, {"dead-doc-00000": {"data": b"half"}})
    assert store.get(SCAN_ID) is None
    store.save(lesser)
    store.save(response(children=3))
    store.save(lesser)
    assert sorted(one.id.partition("-")[2] for one in parts(store)) == ["doc-00000", "payloads-00000"]
    assert store.get(SCAN_ID) == document(response(children=3))


@pytest.mark.parametrize("times", [1, 3])
def test_parts_that_another_attempt_deleted_are_written_again(
    store: Firestore, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Before an attempt is the head, another one may take its parts for those of a dead one."""
    write, left = store._write, [times]

    def swept(scan_id: str, made: dict[str, dict[str, Any]]) -> None:
        write(scan_id, made)
        if left[0]:
            left[0] -= 1
            store._head(scan_id).collection("parts").document(next(iter(made))).delete()

    monkeypatch.setattr(store, "_write", swept)
    store.save(response(children=3))
    assert store.get(SCAN_ID) == document(response(children=3))


def test_an_attempt_that_never_gets_through_comes_again(
    store: Firestore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gives up, and nothing half stands there."""
    monkeypatch.setattr(store, "_write", lambda *_: None)
    with pytest.raises(StoreError) as caught:
        store.save(response())
    assert caught.value.retryable
    assert store.get(SCAN_ID) is None


def test_long_names_fit(store: Firestore) -> None:
    """A name and a finding of a million characters."""
    saved = response(name="n" * 1_000_000, score=1000)
    store.save(saved)
    assert store.get(SCAN_ID) == document(saved)
    [line] = store.list(1)
    assert len(line.name) == 4_096
