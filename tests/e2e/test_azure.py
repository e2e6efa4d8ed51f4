"""Blob → queue → function on Microsoft's worker → archive and Cosmos DB: one right result an object."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers.local.samples import eicar, nested_eicar, zipped
from stoq_core.payload import child_id, root_id
from tests.e2e.azure_stack import ACCOUNT, Stack, deployed
from tests.e2e.slow_files import LITTLE_TIME, slow_zip

UNPARSABLE = '{"no": "event"}'
ODD = [
    "a b+c.txt", "100%.txt", "%2B%20.txt", "ünï/コード.bin", "quote'\".txt", "dir.with/dots..txt", "~tilde",
    "semi;colon", "a&b=c", "emoji-😀.txt", "new\tline.txt", "x" * 900, "a//two//slashes", "<&>]]>.xml",
    "{brace}^`|", "?query=1#part",
]  # fmt: skip
SPECIAL = ["marker/", "empty", "overwritten", "deleted", "eicar.com", "nested.zip", "slash-with-content/"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One deployment for all tests of this file."""
    with deployed(tmp_path_factory.mktemp("azure")) as one:
        yield one


def verdict(document: dict[str, Any]) -> str:
    """The word."""
    word: str = document["decorators"]["verdict"]["verdict"]
    return word


def reasons(document: dict[str, Any]) -> list[str]:
    """Why something was not read."""
    return [one["reason"] for one in document["decorators"]["verdict"]["unread"]]


def right_outcomes(stack: Stack, number: int) -> None:
    """Odd names, a marker, an empty one, one overwritten, one deleted before its scan, redeliveries."""
    plain = [f"plain-{number}/{n}.txt" for n in range(number - len(ODD) - len(SPECIAL))]
    contents = {name: b"content of " + name.encode() for name in (*ODD, *plain)}
    contents |= {"marker/": b"", "empty": b"", "eicar.com": eicar(), "nested.zip": nested_eicar()}
    contents |= {"overwritten": b"as it was", "deleted": b"gone soon", "slash-with-content/": b"a file"}
    assert len(contents) == number
    refs = {name: stack.put(name, content) for name, content in contents.items()}
    overwritten, refs["overwritten"] = refs["overwritten"], stack.put("overwritten", b"as it is")
    stack.incoming.delete_blob("deleted")
    for name in plain:
        stack.deliver(refs[name])
    with stack.host.running():
        stack.until_empty()
    wanted = {stack.scan_id(ref): name for name, ref in refs.items() if name != "marker/"}
    mine = {one["scan_id"]: one for _, one in stack.records() if one["scan_id"] in wanted}
    assert mine.keys() == wanted.keys()  # one record an object, none for the marker
    keys = [key for key, _ in stack.records() if key in plain or key == "marker/"]
    assert sorted(keys) == sorted(plain)
    assert stack.results.get(stack.scan_id(overwritten)) is None  # superseded: the newer one has its own
    by_name = {wanted[scan_id]: document for scan_id, document in mine.items()}
    unusual = {name: verdict(one) for name, one in by_name.items() if verdict(one) != "clean"}
    assert unusual == {"eicar.com": "malicious", "nested.zip": "malicious", "deleted": "incomplete"}
    assert reasons(by_name["deleted"]) == ["not_fetched"]
    assert by_name["overwritten"]["results"][0]["size"] == len(b"as it is")
    digests = {one["sha256"] for name, doc in by_name.items() if name != "deleted" for one in doc["results"]}
    archived = stack.archived()
    assert digests <= set(archived)
    assert len(archived) == len(set(archived))
    assert all(stack.logged(stack.scan_id(refs[name])) == 2 for name in plain)


@pytest.mark.e2e
def test_thirty_objects_have_thirty_right_outcomes(stack: Stack) -> None:
    """With redeliveries; nothing is left over, nothing is poisoned."""
    right_outcomes(stack, 30)
    assert stack.host.failures == []
    assert stack.host.poisoned() == []


@pytest.mark.soak
def test_a_hundred_objects_have_a_hundred_right_outcomes(stack: Stack) -> None:
    """The same at the size that issue 4 names."""
    right_outcomes(stack, 100)


@pytest.mark.e2e
def test_a_worker_that_dies_half_way_leaves_one_record(stack: Stack, tmp_path: Path) -> None:
    """The retry writes what the first attempt would have written, under the same ids, and nothing else."""
    mark, deaths = tmp_path / "mark", stack.host.deaths
    ref = stack.put("killed/once.zip", zipped(a=b"first", b=b"KILL-ONCE:" + bytes(mark) + b":", c=b"third"))
    with stack.host.running(1):
        stack.until_empty()
    document = stack.results.get(stack.scan_id(ref))
    assert document is not None
    assert stack.host.deaths == deaths + 1
    assert (verdict(document), document["attempt"]) == ("clean", 2)
    root = root_id(stack.scan_id(ref), 0)
    ids = [one["payload_id"] for one in document["results"]]
    assert ids == [root, *(child_id(root, "decompress", n) for n in range(3))]
    tokens = {part.split(".")[1] for part in stack.parts(document["scan_id"]) if part != "head"}
    assert len(tokens) == 1  # no parts of another attempt


@pytest.mark.e2e
def test_an_object_that_always_kills_ends_as_incomplete(stack: Stack) -> None:
    """On its third delivery it is not parsed any more; one `incomplete` record with `crashed`."""
    deaths = stack.host.deaths
    ref = stack.put("killed/always", b"KILL-ALWAYS")
    with stack.host.running(1):
        stack.until_empty()
    document = stack.results.get(stack.scan_id(ref))
    assert document is not None
    assert (verdict(document), reasons(document)) == ("incomplete", ["crashed"])
    assert (document["attempt"], stack.host.deaths) == (3, deaths + 2)
    assert document["results"][0]["sha256"]
    assert stack.host.poisoned() == []


@pytest.mark.e2e
def test_a_partial_record_is_replaced_by_a_complete_one_and_never_back(stack: Stack, tmp_path: Path) -> None:
    """The same event delivered three times: cut short, complete, cut short again."""
    mark = tmp_path / "mark"
    mark.touch()
    ref = stack.put("partial", b"PARTIAL-WHILE:" + bytes(mark) + b":")
    seen = []
    with stack.host.running(1):
        for n, there in enumerate((True, False, True), 1):
            if n > 1:
                (mark.touch if there else mark.unlink)()
                stack.deliver(ref)
            stack.until(lambda n=n: stack.logged(stack.scan_id(ref)) == n)  # type: ignore[misc]
            stack.until_empty()
            seen.append(stack.results.get(stack.scan_id(ref)))
    partial, complete, after = seen
    assert partial
    assert complete
    assert (verdict(partial), reasons(partial), verdict(complete)) == ("incomplete", ["truncated"], "clean")
    assert after == complete
    tokens = {part.split(".")[1] for part in stack.parts(complete["scan_id"]) if part != "head"}
    assert len(tokens) == 1


@pytest.mark.e2e
def test_a_reference_is_scanned_like_an_event(stack: Stack) -> None:
    """A back-scan puts plain references into the queue; the record is the event's own."""
    ref = stack.put("by-reference", b"abc")
    stack.send(json.dumps({"bucket": f"{ACCOUNT}/incoming", "key": "by-reference", "etag": ref.etag}))
    with stack.host.running(1):
        stack.until_empty()
    assert [key for key, _ in stack.records()].count("by-reference") == 1
    assert stack.logged(stack.scan_id(ref)) == 2


@pytest.mark.e2e
def test_what_cannot_be_parsed_is_poisoned_and_nothing_else_is(stack: Stack) -> None:
    """After five deliveries it is in the poison queue, alone, and the log says why without its text."""
    before = len(stack.host.failures)
    stack.send(UNPARSABLE)
    with stack.host.running(1):
        stack.until_empty()
    assert stack.host.poisoned() == [UNPARSABLE]
    assert len(stack.host.failures) == before + stack.host.most == before + 5
    assert all(
        "DeliverAgainError" in one and 'no": "event' not in one for one in stack.host.failures[before:]
    )


@pytest.mark.e2e
def test_a_deadline_in_the_middle(stack: Stack) -> None:
    """What was done in time is stored with `deadline` and acknowledged; one with time enough replaces it."""
    poisoned = stack.host.poisoned()
    ref = stack.put("deadline.zip", slow_zip())
    [message] = stack.host.queue.peek_messages(1)
    worker = stack.worker(**LITTLE_TIME)
    body = base64.b64decode(message.content).decode()
    assert worker.invoke(body, Id="m-1", DequeueCount=1, PopReceipt="p") is None
    worker.stop()
    document = stack.results.get(stack.scan_id(ref))
    assert document
    assert verdict(document) == "incomplete"
    assert set(reasons(document)) == {"deadline", "not_searched"}
    root, *members = document["results"]
    assert [one["size"] for one in members] == [1_000, 1_001, 1_002, 1_003]
    assert root["plugins_run"]["workers"]
    assert members[-1]["plugins_run"]["workers"] == []
    assert members[-1]["unread"]
    with stack.host.running(1):
        stack.until_empty()
    assert verdict(stack.results.get(stack.scan_id(ref)) or {}) == "clean"
    assert stack.host.poisoned() == poisoned


@pytest.mark.e2e
def test_the_blob_trigger_hands_over_a_client_and_the_archiver_fetches(stack: Stack) -> None:
    """Microsoft's worker decodes the SDK binding; the same object has the record that the queue gives it."""
    ref = stack.put("a b/by-trigger.txt", b"abc")
    with stack.host.running(1):
        stack.until_empty()
    worker = stack.worker(STOQ_TRIGGER__KIND="blob")
    [binding] = worker.function["bindings"]
    assert (binding["type"], binding["source"]) == ("blobTrigger", "EventGrid")
    assert binding["properties"]["SupportsDeferredBinding"] is True
    place = {"Connection": "Incoming", "ContainerName": "incoming", "BlobName": "a b/by-trigger.txt"}
    assert worker.invoke(place) is None
    worker.stop()
    assert stack.logged(stack.scan_id(ref)) == 2
    assert [key for key, _ in stack.records()].count("a b/by-trigger.txt") == 1


@pytest.mark.e2e
@pytest.mark.parametrize(
    "setting", [{"STOQ_TRIGGER__KIND": "none"}, {"STOQ_SANDBOX__REQUIRE": '["nothing"]'}]
)
def test_a_bad_deployment_does_not_start(stack: Stack, setting: dict[str, str]) -> None:
    """The worker tells the host, which then starts no function: nothing is taken from the queue."""
    with pytest.raises(RuntimeError):
        stack.worker(**setting)


@pytest.mark.e2e
def test_the_log_holds_no_names_and_no_contents(stack: Stack) -> None:
    """A line with id and verdict, and nowhere a blob's name or content; the host is told neither."""
    ref = stack.put("secret-name-4711", b"secret-content-4711")
    with stack.host.running(1):
        stack.until_empty()
    assert stack.logged(stack.scan_id(ref)) == 1
    assert "secret-" not in stack.log.read_text("utf-8", "replace") + str(stack.host.failures)
