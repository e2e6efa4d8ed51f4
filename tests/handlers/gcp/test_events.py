"""Every shape in which Google names an object or brings a file, with the field names of the real ones."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from cloudevents.http import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from handlers.gcp.events import deliveries, file_of_push, refs_of_event, refs_of_push
from handlers.records import UnknownEventError
from stoq_core.payload import ObjectRef
from tests.handlers import fakes
from tests.handlers.gcp.fakes import body, event

GENERATION = "1776772341154867"
REF = ObjectRef(
    store="gcs", bucket="incoming-example", key="a b+c%/コ.txt", version=GENERATION, size=1024,
    event_id="19201834765510234",
)  # fmt: skip


def test_an_object_by_eventarc() -> None:
    """The name comes as it is, generation and size as text; the event's own id comes along."""
    [ref] = refs_of_event(event("eventarc-finalized"))
    assert (ref.bucket, ref.key, ref.version, ref.size) == (REF.bucket, REF.key, REF.version, 1024)
    assert ref.event_id == "8476102934857201"


@pytest.mark.parametrize("name", ["push-notification", "push-overwrite"])
def test_an_object_by_a_notification(name: str) -> None:
    """The attributes name it; its size is in the data."""
    assert refs_of_push(body(name)) == [REF]


def test_a_notification_without_data() -> None:
    """`payloadFormat` NONE: all but the size is there, and the framework's event signatures refuse it."""
    [ref] = refs_of_push(body("push-without-data"))
    assert (ref.key, ref.version, ref.size) == (REF.key, GENERATION, None)


def test_a_plain_reference() -> None:
    """What one publishes oneself; as a number or as text, with a version or without."""
    [ref] = refs_of_push(body("push-reference"))
    assert (ref.key, ref.version, ref.size, ref.event_id) == (REF.key, GENERATION, None, REF.event_id)
    [ref] = refs_of_push(body("push-reference", data=b'{"bucket":"abc","key":"k","version":12}'))
    assert (ref.bucket, ref.version) == ("abc", "12")
    [ref] = refs_of_push(body("push-reference", data=b'{"bucket":"abc","key":"k"}'))
    assert ref.version is None


@pytest.mark.parametrize("name", ["push-deleted", "push-directory-marker"])
def test_nothing_to_scan_in_a_push(name: str) -> None:
    """What was removed and directory markers are done at once."""
    assert refs_of_push(body(name)) == []


@pytest.mark.parametrize("name", ["eventarc-deleted", "eventarc-directory-marker"])
def test_nothing_to_scan_in_an_event(name: str) -> None:
    """The same by Eventarc."""
    assert refs_of_event(event(name)) == []


def test_a_slash_excuses_no_content() -> None:
    """A name that ends in a slash is scanned unless it is known to be empty."""
    attributes = fakes.recorded("gcp", "push-directory-marker")["message"]["attributes"]
    [ref] = refs_of_push(body("push-without-data", attributes=attributes))
    assert (ref.key, ref.size) == ("folder/", None)


def test_a_file_in_a_message() -> None:
    """Its data is the file, its id the reference, its attributes the meta; NUL is escaped in those."""
    [one] = file_of_push(body("push-file"))
    assert one.payload.content == b"small file\x00\xff"
    assert one.payload.name == "a b/コ.txt"
    assert one.payload.meta.extra_data["attributes"]["origin"] == "mail gateway"
    assert (one.ref.store, one.ref.key, one.ref.size) == ("pubsub", REF.event_id, 12)
    assert one.ref.bucket == "projects/example/subscriptions/stoq-incoming"
    [odd] = file_of_push(body("push-file", attributes={"filename": "a\x00b"}))
    assert odd.payload.name == "a\\u0000b"


def test_a_file_that_looks_like_a_reference_is_a_file() -> None:
    """Nothing in a message of files makes the function fetch something else."""
    [one] = file_of_push(body("push-reference"))
    assert json.loads(one.payload.content)["key"] == REF.key
    assert one.payload.name == ""


def test_an_empty_file_in_a_message() -> None:
    """A message of attributes alone is an empty file."""
    [one] = file_of_push(body("push-without-data"))
    assert one.payload.content == b""


@pytest.mark.parametrize(
    ("content", "count"),
    [(b'{"deliveryAttempt": 3}', 3), (b"{}", 1), (b'{"deliveryAttempt": 0}', 1), (b"\xff", 1), (b"", 1)],
)
def test_deliveries(content: bytes, count: int) -> None:
    """Pub/Sub's own count, where the subscription has dead letters; else the first."""
    assert deliveries(content) == count


BAD = [
    b"", b"[]", b"\xff\xfe", b"[" * 5_000, b'{"bucket":"abc"}', b'{"bucket":"a/../b","key":"k"}',
    b'{"bucket":"abc","key":""}', b'{"bucket":"abc","key":"k","version":"0"}', b'{"bucket":"ABC","key":"k"}',
    b'{"bucket":"abc","key":"k","version":"1&x=2"}', b'{"bucket":"abc","key":"k","store":"s3"}',
    b'{"bucket":"abc","key":"\\ud800"}',
]  # fmt: skip


@pytest.mark.parametrize("data", BAD)
def test_a_bad_reference_is_an_unknown_event(data: bytes) -> None:
    """Its text says what was wrong and quotes nothing of it."""
    with pytest.raises(UnknownEventError) as caught:
        refs_of_push(body("push-reference", data=data))
    assert "x=2" not in str(caught.value)


@pytest.mark.parametrize("name", ["objectId", "bucketId", "objectGeneration"])
def test_a_notification_must_be_whole(name: str) -> None:
    """Each of the attributes that name the object is needed."""
    attributes = fakes.recorded("gcp", "push-notification")["message"]["attributes"]
    del attributes[name]
    with pytest.raises(UnknownEventError, match=name):
        refs_of_push(body("push-notification", attributes=attributes))


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 5_000, b'{"message":{"messageId":"1"}}'])
def test_a_body_that_pubsub_did_not_send(content: bytes) -> None:
    """An unknown event, for either handler."""
    for read in (refs_of_push, file_of_push):
        with pytest.raises(UnknownEventError):
            read(content)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("google.cloud.audit.log.v1.written", {}),
        ("google.cloud.storage.object.v1.finalized", None),
        ("google.cloud.storage.object.v1.finalized", b"raw"),
        ("google.cloud.storage.object.v1.finalized", {"bucket": "abc", "name": "\ud800", "generation": "1"}),
        ("google.cloud.storage.object.v1.finalized", {"bucket": "abc", "name": "k", "generation": "x"}),
    ],
)
def test_an_event_that_is_none(kind: str, data: Any) -> None:
    """Of another service, without data, or with data of another shape."""
    with pytest.raises(UnknownEventError):
        refs_of_event(CloudEvent({"type": kind, "source": "//x"}, data))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.binary() | JSON.map(lambda one: json.dumps(one).encode()))
def test_any_data_is_references_or_an_unknown_event(data: bytes) -> None:
    """Whatever somebody publishes."""
    with contextlib.suppress(UnknownEventError):
        assert all(one.key for one in refs_of_push(body("push-reference", data=data)))
    [file] = file_of_push(body("push-file", data=data))
    assert file.payload.content == data


@given(st.dictionaries(st.sampled_from(["bucket", "name", "generation", "size"]), JSON))
def test_any_event_is_references_or_an_unknown_event(data: dict[str, Any]) -> None:
    """Whatever Eventarc would hand over."""
    found = fakes.recorded("gcp", "eventarc-finalized")
    with contextlib.suppress(UnknownEventError):
        assert all(
            one.key for one in refs_of_event(CloudEvent(found["attributes"], {**found["data"], **data}))
        )
