"""S3 → SQS → function → archive and table, deployed by osls to an emulated AWS that runs it all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers.local.samples import eicar, nested_eicar, zipped
from stoq_core.payload import child_id, root_id
from tests.e2e.stack import Stack, deployed
from tests.servers import CREDENTIALS

pytestmark = pytest.mark.e2e

UNPARSABLE = '{"no": "event"}'


class Sown:
    """What takes several deliveries, put in before the first test so that the waiting is shared."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        """`folder` is where the function notes that it was killed."""
        self.mark = folder / "killed"
        stack.sqs.send_message(QueueUrl=stack.queue("incoming"), MessageBody=UNPARSABLE)
        self.killing = zipped(a=b"first", b=b"KILL-ONCE:" + bytes(self.mark) + b":", c=b"third")
        self.once = stack.put("killed/once.zip", self.killing)
        self.always = stack.put("killed/always", b"KILL-ALWAYS")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One deployment for all tests of this file."""
    before = dict(os.environ)
    os.environ.update(CREDENTIALS)
    with deployed(tmp_path_factory.mktemp("aws")) as one:
        yield one
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def sown(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Sown:
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
    "a b+c.txt", "100%.txt", "%2B%20.txt", "ünï/コード.bin", "quote'\".txt", "dir.with/dots..txt", "~tilde",
    "semi;colon", "a&b=c", "emoji-😀.txt", "new\tline.txt", "x" * 900, "../up/./here", "//two//slashes",
    "<&>]]>.xml", "back\\slash", "{brace}^`|", "trailing ", "?query=1#part",
]  # fmt: skip
SPECIAL = ["marker/", "empty", "overwritten", "deleted", "eicar.com", "nested.zip", "slash-with-content/"]
PLAIN = [f"plain/{n}.txt" for n in range(50 - len(ODD) - len(SPECIAL))]


def test_fifty_objects_have_fifty_right_outcomes(stack: Stack, sown: Sown) -> None:
    """Odd names, a marker, an empty one, one overwritten and one deleted before its scan."""
    contents = {name: b"content of " + name.encode() for name in (*ODD, *PLAIN)}
    contents |= {"plain/1.txt": contents["plain/0.txt"], "slash-with-content/": b"a file all the same"}
    contents |= {"marker/": b"", "empty": b"", "eicar.com": eicar(), "nested.zip": nested_eicar()}
    contents |= {"overwritten": b"as it was", "deleted": b"gone soon"}
    assert len(contents) == 50
    with stack.paused():
        refs = {name: stack.put(name, content) for name, content in contents.items()}
        overwritten, refs["overwritten"] = refs["overwritten"], stack.put("overwritten", b"as it is")
        stack.s3.delete_object(Bucket=stack.incoming, Key="deleted")
    wanted = {stack.scan_id(ref): name for name, ref in refs.items() if name != "marker/"}
    stack.until(lambda: wanted.keys() <= {one["scan_id"] for _, one in stack.records()})
    mine = {one["scan_id"]: one for key, one in stack.records() if key in contents}
    assert mine.keys() == wanted.keys()  # one record an object, none for the marker
    assert stack.results.get(stack.scan_id(overwritten)) is None  # superseded: the newer one has its own
    words = {wanted[scan_id]: verdict(document) for scan_id, document in mine.items()}
    unusual = {name: word for name, word in words.items() if word != "clean"}
    assert unusual == {"eicar.com": "malicious", "nested.zip": "malicious", "deleted": "incomplete"}
    by_name = {wanted[scan_id]: document for scan_id, document in mine.items()}
    assert reasons(by_name["deleted"]) == ["not_fetched"]
    assert by_name["overwritten"]["results"][0]["size"] == len(b"as it is")
    digests = {
        one["sha256"] for name, one_ in by_name.items() if name != "deleted" for one in one_["results"]
    }
    archived = stack.archived()
    assert digests <= set(archived)
    assert len(archived) == len(set(archived))


def test_a_function_killed_half_way_leaves_one_record(stack: Stack, sown: Sown) -> None:
    """The retry writes what the first attempt would have written, under the same ids, and nothing else."""
    document = stack.document(sown.once)
    assert sown.mark.exists()
    assert (verdict(document), document["attempt"]) == ("clean", 2)
    root = root_id(stack.scan_id(sown.once), 0)
    ids = [one["payload_id"] for one in document["results"]]
    assert ids == [root, *(child_id(root, "decompress", n) for n in range(3))]
    assert [key for key, _ in stack.records()].count("killed/once.zip") == 1
    tokens = {part.split("#")[1] for part in stack.parts(document["scan_id"]) if part != "head"}
    assert len(tokens) == 1  # no parts of another attempt


def test_a_partial_record_is_replaced_by_a_complete_one_and_never_back(stack: Stack, tmp_path: Path) -> None:
    """The same event delivered three times: cut short, complete, cut short again."""
    mark = tmp_path / "mark"
    mark.touch()
    ref = stack.put("partial", b"PARTIAL-WHILE:" + bytes(mark) + b":")
    partial = stack.document(ref)
    assert (verdict(partial), reasons(partial)) == ("incomplete", ["truncated"])
    mark.unlink()
    stack.deliver(ref)
    stack.until(lambda: verdict(stack.document(ref)) == "clean")
    complete = stack.document(ref)
    mark.touch()
    stack.deliver(ref)
    scans = f'"scan_id": "{stack.scan_id(ref)}"'
    stack.until(lambda: sum(scans in line for line in stack.log_lines()) == 3)
    assert stack.document(ref) == complete
    tokens = {part.split("#")[1] for part in stack.parts(complete["scan_id"]) if part != "head"}
    assert len(tokens) == 1


def test_an_object_that_always_kills_ends_as_incomplete(stack: Stack, sown: Sown) -> None:
    """On its third delivery it is not parsed any more; one `incomplete` record with `crashed`."""
    document = stack.document(sown.always)
    assert (verdict(document), reasons(document)) == ("incomplete", ["crashed"])
    assert document["attempt"] == 3
    assert document["results"][0]["sha256"]
    assert [key for key, _ in stack.records()].count("killed/always") == 1


def test_a_parser_that_crashes_costs_no_delivery(stack: Stack) -> None:
    """The sandbox's child ends, not the function: one delivery, and all else is in the result."""
    document = stack.document(stack.put("crash", b"CRASH and the rest"))
    assert (verdict(document), reasons(document), document["attempt"]) == ("incomplete", ["crashed"], 1)
    assert document["errors"]["crash"][0]["code"] == "crashed"
    workers = [name for names in document["results"][0]["plugins_run"]["workers"] for name in names]
    assert {"hash", "mimetype", "yara", "crash"} <= set(workers)
    assert {"no_network", "parent_opaque"} <= set(document["stats"]["sandbox"]["protections"])


def test_the_log_holds_no_keys_and_no_contents(stack: Stack) -> None:
    """A line with id and verdict, and nowhere an object's key or content."""
    ref = stack.put("secret-name-4711", b"secret-content-4711")
    document = stack.document(ref)
    stack.until(lambda: any(document["scan_id"] in line for line in stack.log_lines()))
    assert not [one for one in stack.log_lines() if "secret-" in one]


def test_an_unparsable_event_is_a_dead_letter_and_nothing_else_is(stack: Stack, sown: Sown) -> None:
    """After five deliveries it is in the dead-letter queue, alone; every other message is done."""
    stack.until(lambda: stack.waiting("dead-letters") > 0)
    stack.document(sown.always)
    stack.document(sown.once)
    stack.until(lambda: stack.waiting("incoming") == 0)
    url = stack.queue("dead-letters")
    found = stack.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    assert [one["Body"] for one in found] == [UNPARSABLE]
