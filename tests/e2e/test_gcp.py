"""Cloud Storage → Pub/Sub → push → functions framework → archive, PostgreSQL and Firestore, all of it run."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers.local.samples import eicar, nested_eicar, zipped
from stoq_core.payload import ObjectRef, child_id, root_id
from tests.e2e.google_stack import QUIET, Relay, Stack, running
from tests.e2e.slow_files import LITTLE_TIME, slow_zip

pytestmark = pytest.mark.e2e

UNPARSABLE = b'{"no": "reference"}'


class Sown:
    """What takes several deliveries, put in before the first test so that the waiting is shared."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        """`folder` is where the function notes that it was killed."""
        stack.publish(UNPARSABLE)
        self.mark = folder / "killed"
        killing = zipped(a=b"first", b=b"KILL-ONCE:" + bytes(self.mark) + b":", c=b"third")
        self.once = stack.put("killed/once.zip", killing)
        self.always = stack.put("killed/always", b"KILL-ALWAYS")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One for all tests of this file."""
    with running(tmp_path_factory.mktemp("gcp")) as one:
        yield one


@pytest.fixture(scope="module")
def relay(stack: Stack) -> Iterator[Relay]:
    """The function for references, with its subscription."""
    with stack.function("pubsub", "http") as port:
        one = Relay(port)
        stack.connect(one)
        yield one
        one.close()


@pytest.fixture(scope="module")
def sown(stack: Stack, relay: Relay, tmp_path_factory: pytest.TempPathFactory) -> Sown:
    """The slow cases, under way."""
    return Sown(stack, tmp_path_factory.mktemp("marks"))


def verdict(document: dict[str, Any]) -> str:
    """The word."""
    word: str = document["decorators"]["verdict"]["verdict"]
    return word


def reasons(document: dict[str, Any]) -> list[str]:
    """Why something was not read."""
    return [one["reason"] for one in document["decorators"]["verdict"]["unread"]]


ODD = [
    "a b+c.txt", "100%.txt", "%2B%20.txt", "ünï/コード.bin", "quote'\".txt", "dir.with/dots..txt",
    "semi;colon", "a&b=c", "emoji-😀.txt", "tab\tname.txt", "x" * 900, "../up/./here", "//two//slashes",
    "<&>]]>.xml", "back\\slash", "{brace}^`|", "trailing ", "?query=1#part",
]  # fmt: skip
SPECIAL = ["marker/", "empty", "overwritten", "deleted", "eicar.com", "nested.zip", "slash-with-content/"]


def scan(stack: Stack, relay: Relay, count: int, prefix: str) -> None:
    """`count` objects, each of them with one right result in either store."""
    plain = [f"plain/{n}.txt" for n in range(count - len(ODD) - len(SPECIAL))]
    contents = {name: f"{prefix}, content of {name}".encode() for name in (*ODD, *plain)}
    contents |= {"plain/1.txt": contents["plain/0.txt"], "slash-with-content/": b"a file all the same"}
    contents |= {"marker/": b"", "empty": b"", "eicar.com": eicar(), "nested.zip": nested_eicar()}
    contents |= {"overwritten": b"as it was", "deleted": b"gone soon"}
    assert len(contents) == count
    redelivered = prefix + ODD[0]
    relay.lose.add(redelivered)
    with relay.gate:  # everything waits in the queue
        refs = {name: stack.put(prefix + name, content) for name, content in contents.items()}
        overwritten = refs["overwritten"]
        refs["overwritten"] = stack.put(prefix + "overwritten", b"as it is")
        stack.client.bucket(refs["deleted"].bucket).blob(prefix + "deleted").delete()
    stack.publish(reference(refs["empty"]))
    wanted = {stack.scan_id(ref): name for name, ref in refs.items() if name != "marker/"}
    stack.until(lambda: wanted.keys() <= {one.scan_id for one in stack.results.list(1_000)})
    stack.until(lambda: scans(stack, refs[ODD[0]]) == 2 and scans(stack, refs["empty"]) == 2)
    for store in (stack.results, stack.other_results):
        found = {one: store.get(one) for one in wanted}
        every = (store.get(line.scan_id) or {} for line in store.list(1_000))
        keys = {one["scan_id"]: one["request_meta"]["extra_data"]["object"]["key"] for one in every}
        mine = {one for one, key in keys.items() if key.startswith(prefix)}
        assert mine == wanted.keys()  # one record an object, none for the marker
        assert store.get(stack.scan_id(overwritten)) is None  # superseded: the newer one has its own
        by_name = {wanted[scan_id]: document for scan_id, document in found.items() if document is not None}
        unusual = {name: verdict(one) for name, one in by_name.items() if verdict(one) != "clean"}
        assert unusual == {"eicar.com": "malicious", "nested.zip": "malicious", "deleted": "incomplete"}
        assert reasons(by_name["deleted"]) == ["not_fetched"]
        for name, content in contents.items():
            if name not in ("marker/", "overwritten", "deleted"):
                assert by_name[name]["results"][0]["size"] == len(content)
        assert by_name["overwritten"]["results"][0]["size"] == len(b"as it is")
        digests = {
            one["sha256"] for name, one_ in by_name.items() if name != "deleted" for one in one_["results"]
        }
        assert digests <= set(stack.archived())
    archived = stack.archived()
    assert len(archived) == len(set(archived))


def reference(ref: ObjectRef) -> bytes:
    """A message that names the object once more."""
    return json.dumps({"bucket": ref.bucket, "key": ref.key, "version": ref.version}).encode()


def scans(stack: Stack, ref: ObjectRef) -> int:
    """How often the log says that it was stored."""
    return sum(f'"scan_id": "{stack.scan_id(ref)}"' in line for line in stack.log_lines())


def test_thirty_objects_have_thirty_right_outcomes(stack: Stack, relay: Relay, sown: Sown) -> None:
    """Odd names, a marker, one overwritten, one deleted, a lost acknowledgement, a second message."""
    scan(stack, relay, 30, "small/")


@pytest.mark.soak
def test_a_hundred_objects_have_a_hundred_right_outcomes(stack: Stack, relay: Relay) -> None:
    """The same with the issue's number."""
    scan(stack, relay, 100, "soak/")


def test_a_message_without_data_names_its_object(stack: Stack, relay: Relay) -> None:
    """A notification of payload format NONE, which the framework's event signatures would refuse."""
    ref = stack.put("no data here", b"content", QUIET)
    attributes = {"eventType": "OBJECT_FINALIZE", "payloadFormat": "NONE", "bucketId": ref.bucket}
    stack.publish(**attributes, objectId=ref.key, objectGeneration=ref.version or "")
    document = stack.document(ref)
    assert (verdict(document), document["results"][0]["size"]) == ("clean", len(b"content"))


def test_a_function_killed_half_way_leaves_one_record(stack: Stack, sown: Sown) -> None:
    """The retry writes what the first attempt would have written, under the same ids, and nothing else."""
    document = stack.document(sown.once)
    assert sown.mark.exists()
    assert (verdict(document), document["attempt"]) == ("clean", 2)
    root = root_id(stack.scan_id(sown.once), 0)
    ids = [one["payload_id"] for one in document["results"]]
    assert ids == [root, *(child_id(root, "decompress", n) for n in range(3))]


def test_an_object_that_always_kills_ends_as_incomplete(stack: Stack, sown: Sown) -> None:
    """On its third delivery it is not parsed any more; one `incomplete` record with `crashed`."""
    document = stack.document(sown.always)
    assert (verdict(document), reasons(document)) == ("incomplete", ["crashed"])
    assert document["attempt"] == 3
    assert document["results"][0]["sha256"]


def test_a_partial_record_is_replaced_by_a_complete_one_and_never_back(
    stack: Stack, relay: Relay, tmp_path: Path
) -> None:
    """The same object delivered three times: cut short, complete, cut short again; in either store."""
    mark = tmp_path / "mark"
    mark.touch()
    ref = stack.put("partial", b"PARTIAL-WHILE:" + bytes(mark) + b":")
    assert reasons(stack.document(ref)) == ["truncated"]
    again = reference(ref)
    mark.unlink()
    stack.publish(again)
    stack.until(lambda: verdict(stack.document(ref)) == "clean")
    mark.touch()
    stack.publish(again)
    stack.until(lambda: scans(stack, ref) == 3)
    for store in (stack.results, stack.other_results):
        assert verdict(store.get(stack.scan_id(ref)) or {}) == "clean"


def test_an_unparsable_message_is_a_dead_letter_and_nothing_else_is(stack: Stack, sown: Sown) -> None:
    """After five deliveries it is on the dead-letter topic, alone; every other message is done."""
    dead: list[bytes] = []

    def there() -> bool:
        dead.extend(one.data for one in stack.taken("dead-letters"))
        return bool(dead)

    stack.until(there)
    stack.document(sown.always)
    stack.document(sown.once)
    there()
    assert dead == [UNPARSABLE]


def test_results_are_published(stack: Stack, relay: Relay, sown: Sown) -> None:
    """Every scan that was stored has been published at least once."""
    stack.document(sown.always)
    published = {one.attributes["scan_id"] for one in stack.taken("results")}
    assert {one.scan_id for one in stack.results.list(1_000)} <= published


def test_the_log_holds_no_keys_and_no_contents(stack: Stack, relay: Relay) -> None:
    """A line with id and verdict, and nowhere an object's name or content."""
    ref = stack.put("secret-name-4711", b"secret-content-4711")
    stack.document(ref)
    stack.until(lambda: scans(stack, ref) == 1)
    assert not [one for one in stack.log_lines() if "secret-" in one]


def test_an_event_of_eventarc(stack: Stack) -> None:
    """The CloudEvent as HTTP brings it: stored is 200; what cannot be read is 500, so that it comes again."""
    ref = stack.put("by eventarc/コ.txt", b"content", QUIET)
    head = {
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-type": "google.cloud.storage.object.v1.finalized",
        "ce-source": f"//storage.googleapis.com/projects/_/buckets/{QUIET}",
        "Content-Type": "application/json",
    }
    data = {"bucket": ref.bucket, "name": ref.key, "generation": ref.version, "size": "7"}
    with stack.function("gcs", "cloudevent") as port:
        function = Relay(port)
        assert function.post(json.dumps(data).encode(), head) == 200
        assert function.post(b'{"no": "object"}', head) == 500
        assert function.post(json.dumps(data).encode(), {**head, "ce-type": "x"}) == 500
        function.close()
    assert verdict(stack.document(ref)) == "clean"


def test_a_deadline_in_the_middle(stack: Stack, relay: Relay) -> None:
    """What was done in time is stored with `deadline` and acknowledged; one with time enough replaces it."""
    ref = stack.put("deadline.zip", slow_zip(), QUIET)
    message = {"messageId": "1", "data": base64.b64encode(reference(ref)).decode()}
    pushed = json.dumps({"message": message, "subscription": "projects/p/subscriptions/s"}).encode()
    with stack.function("pubsub", "http", **LITTLE_TIME) as port:
        function = Relay(port)
        assert function.hand_on(pushed) == 204
        function.close()
    for store in (stack.results, stack.other_results):
        document = store.get(stack.scan_id(ref)) or {}
        assert verdict(document) == "incomplete"
        assert set(reasons(document)) == {"deadline", "not_searched"}
        root, *members = document["results"]
        assert [one["size"] for one in members] == [1_000, 1_001, 1_002, 1_003]
        assert root["plugins_run"]["workers"]
        assert members[-1]["plugins_run"]["workers"] == []
        assert members[-1]["unread"]
    stack.publish(reference(ref))
    stack.until(lambda: verdict(stack.document(ref)) == "clean")


def test_a_file_in_a_message(stack: Stack) -> None:
    """Its bytes are scanned under the message's id; a message without data is an empty file."""
    with stack.function("messages", "http") as port:
        function = Relay(port)
        for number, data in ((1, eicar()), (2, b"")):
            message = {"messageId": f"{number}", "attributes": {"filename": "e\u0301 .com"}}
            if data:
                message["data"] = base64.b64encode(data).decode()
            pushed = {"message": message, "subscription": "projects/p/subscriptions/files"}
            assert function.hand_on(json.dumps(pushed).encode()) == 204
        function.close()
    words = []
    for number in "12":
        ref = ObjectRef(store="pubsub", bucket="projects/p/subscriptions/files", key=number)
        document = stack.document(ref)
        words.append(verdict(document))
        assert document["results"][0]["payload_meta"]["extra_data"]["filename"] == "e\u0301 .com"
    assert words == ["malicious", "clean"]
