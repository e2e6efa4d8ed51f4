"""Every shape in which an S3 notification arrives, with the field names of the real ones."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.aws.events import UnknownEventError, body_of, s3_refs
from stoq_core.payload import ObjectRef


def notification(key: str = "a+b%2Bc%20d.txt", **fields: Any) -> dict[str, Any]:
    """An S3 notification as S3 sends it."""
    found = {
        "key": key,
        "size": 3,
        "eTag": "d41d8cd98f00b204e9800998ecf8427e",
        "sequencer": "0055AED6DCD90281E5",
    }
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventTime": "2026-01-01T00:00:00.000Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "EXAMPLE"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": "in", "arn": "arn:aws:s3:::in"},
            "object": {**found, **fields},
        },
    }
    return {"Records": [record]}


REF = ObjectRef(
    store="s3", bucket="in", key="a b+c d.txt", etag="d41d8cd98f00b204e9800998ecf8427e", size=3,
    sequencer="0055AED6DCD90281E5",
)  # fmt: skip


def test_plain_notification() -> None:
    """The key is form-encoded; a missing or "null" version is none."""
    assert list(s3_refs(notification())) == [REF]
    assert list(s3_refs(notification(versionId="null"))) == [REF]
    assert next(s3_refs(notification(versionId="v1"))).version == "v1"


def test_wrapped_by_sns() -> None:
    """Through SNS, and through SNS with raw delivery."""
    raw = json.dumps(notification())
    wrapped = json.dumps({"Type": "Notification", "MessageId": "1", "Message": raw})
    assert list(s3_refs(body_of(raw))) == list(s3_refs(body_of(wrapped))) == [REF]


def test_eventbridge_keys_are_not_encoded() -> None:
    """EventBridge sends the key as it is."""
    event = {
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "detail": {
            "bucket": {"name": "in"},
            "object": {"key": "a+b%20c", "size": 1, "etag": "e", "sequencer": "00"},
        },
    }
    assert next(s3_refs(event)).key == "a+b%20c"


@pytest.mark.parametrize(
    "event",
    [
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "in"},
        notification("folder/", size=0),
        {"Records": []},
    ],
)
def test_nothing_to_scan(event: dict[str, Any]) -> None:
    """Test events, directory markers and empty lists are done at once."""
    assert list(s3_refs(event)) == []


def test_removals_are_ignored() -> None:
    """Only creation is scanned."""
    event = notification()
    event["Records"][0]["eventName"] = "ObjectRemoved:Delete"
    assert list(s3_refs(event)) == []


@pytest.mark.parametrize("text", ["", "5", "[]", "{", '{"Records": [{}]}', '{"a": 1}', '{"Records": [5]}'])
def test_what_is_no_notification_is_named(text: str) -> None:
    """One kind of error for everything else, without the body in its text."""
    with pytest.raises(UnknownEventError):
        list(s3_refs(body_of(text)))


@given(
    st.recursive(st.none() | st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_any_json_is_references_or_that_error(event: Any) -> None:
    """Arbitrary JSON in place of a record never raises anything else."""
    with contextlib.suppress(UnknownEventError):
        list(s3_refs(body_of(json.dumps({"Records": [event]}))))
