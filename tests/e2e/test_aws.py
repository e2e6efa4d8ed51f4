"""S3 → SQS → function → archive and table, deployed by osls to an emulated AWS that runs it all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers.local.samples import eicar, nested_eicar
from stoq_core.payload import ObjectRef, child_id, root_id, scan_id_for
from tests.e2e.stack import NAME, Stack, deployed
from tests.servers import CREDENTIALS

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One deployment for all tests of this file."""
    before = dict(os.environ)
    os.environ.update(CREDENTIALS)
    with deployed(tmp_path_factory.mktemp("aws")) as one:
        yield one
    os.environ.clear()
    os.environ.update(before)


def names() -> list[str]:
    """Fifty object keys of every kind."""
    odd = [
        "a b+c.txt", "100%.txt", "%2B%20.txt", "ünï/コード.bin", "quote'\".txt", "dir.with/dots..txt",
        "~tilde", "semi;colon", "a&b=c", "emoji-😀.txt", "new\tline.txt", "x" * 900,
    ]  # fmt: skip
    return odd + [f"plain/{n}.txt" for n in range(50 - len(odd))]


def verdict(document: dict[str, Any]) -> str:
    """The word."""
    word: str = document["decorators"]["verdict"]["verdict"]
    return word


def test_fifty_objects_have_fifty_right_outcomes(stack: Stack) -> None:
    """Odd names, a marker, an empty object: each is scanned once and found under its own key."""
    contents = {name: f"content of {n}".encode() for n, name in enumerate(names())}
    contents["plain/0.txt"] = eicar()
    contents["plain/1.txt"] = nested_eicar()
    contents["plain/2.txt"] = b""
    stack.put("marker/", b"")
    for name, content in contents.items():
        stack.put(name, content)
    stack.until(lambda: set(contents) <= set(stack.documents()))
    stack.until(lambda: stack.waiting("incoming") == 0)
    documents = stack.documents()
    assert "marker/" not in documents
    bad = {name for name in contents if verdict(documents[name]) != "clean"}
    assert bad == {"plain/0.txt", "plain/1.txt"}
    assert {verdict(documents[name]) for name in bad} == {"malicious"}
    assert stack.waiting("dead-letters") == 0
    keys = [one["Key"] for one in stack.s3.list_objects_v2(Bucket=stack.archive, MaxKeys=1000)["Contents"]]
    digests = {one["sha256"] for document in documents.values() for one in document["results"]}
    assert {key.rpartition("/")[2] for key in keys} >= digests
    assert len(keys) == len(set(keys))


def test_an_overwritten_object_and_a_deleted_one(stack: Stack) -> None:
    """What was overwritten before its scan is scanned as it is now; what is gone is `not_fetched`."""
    big = os.urandom(64)
    stack.put("busy/first", b"KILL-ONCE:" + str(uuid.uuid4()).encode())  # keeps the function busy
    for n in range(10):
        stack.put("race/overwritten", b"old %d" % n)
    stack.put("race/overwritten", big)
    stack.put("race/deleted", b"gone soon")
    stack.s3.delete_object(Bucket=stack.incoming, Key="race/deleted")
    stack.until(lambda: {"race/overwritten"} <= set(stack.documents()) and stack.waiting("incoming") == 0)
    found = [one for key, one in stack.documents().items() if key == "race/deleted"]
    reasons = [one["reason"] for document in found for one in document["decorators"]["verdict"]["unread"]]
    assert not found or verdict(found[0]) in ("clean", "incomplete")
    assert set(reasons) <= {"not_fetched"}
    assert stack.waiting("dead-letters") == 0


def test_a_function_killed_once_leaves_one_record(stack: Stack, tmp_path: Path) -> None:
    """The retry writes the record that the first attempt would have written, under the same ids."""
    content = b"KILL-ONCE:" + str(tmp_path / "mark").encode() + b":" + uuid.uuid4().bytes
    stack.put("killed/once", content)
    stack.until(lambda: "killed/once" in stack.documents())
    document = stack.documents()["killed/once"]
    assert (tmp_path / "mark").exists()
    assert verdict(document) == "clean"
    assert document["attempt"] > 1
    etag = stack.s3.head_object(Bucket=stack.incoming, Key="killed/once")["ETag"].strip('"')
    ref = ObjectRef(store="s3", bucket=stack.incoming, key="killed/once", etag=etag)
    assert document["scan_id"] == scan_id_for(NAME, ref.identity)
    assert document["results"][0]["payload_id"] == root_id(document["scan_id"], 0)
    assert child_id(document["results"][0]["payload_id"], "x", 0)


def test_an_object_that_always_kills_ends_as_incomplete(stack: Stack) -> None:
    """On its third delivery it is not parsed any more; one `incomplete` record with `crashed`."""
    stack.put("killed/always", b"KILL-ALWAYS" + uuid.uuid4().bytes)
    stack.until(lambda: "killed/always" in stack.documents())
    document = stack.documents()["killed/always"]
    assert verdict(document) == "incomplete"
    assert [one["reason"] for one in document["decorators"]["verdict"]["unread"]] == ["crashed"]
    assert document["attempt"] == 3
    stack.until(lambda: stack.waiting("incoming") == 0)
    assert stack.waiting("dead-letters") == 0


def test_an_unparsable_event_is_a_dead_letter_and_nothing_else_is(stack: Stack) -> None:
    """After five deliveries it is in the dead-letter queue, alone; other messages are unharmed."""
    stack.sqs.send_message(QueueUrl=stack.queue("incoming"), MessageBody='{"no": "event"}')
    stack.put("beside/the-bad-one", b"fine " + uuid.uuid4().bytes)
    stack.until(lambda: "beside/the-bad-one" in stack.documents())
    stack.until(lambda: stack.waiting("dead-letters") == 1)
    found = stack.sqs.receive_message(QueueUrl=stack.queue("dead-letters"))["Messages"]
    assert [one["Body"] for one in found] == ['{"no": "event"}']


def test_the_log_holds_no_keys_and_no_contents(stack: Stack) -> None:
    """Ids and verdicts only: no object's key or content is in the function's log."""
    stack.put("secret-name-4711", b"secret-content-4711")
    stack.until(lambda: "secret-name-4711" in stack.documents())
    assert not [one for one in stack.log_lines() if "4711" in one]
