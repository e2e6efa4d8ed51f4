"""Every shape in which an S3 notification arrives, with the field names of the real ones."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.aws.events import Message, messages, refs_of_body, refs_of_event
from handlers.records import UnknownEventError
from stoq_core.payload import ObjectRef
from tests.handlers.aws.fakes import EVENTS, event

REF = ObjectRef(
    store="s3", bucket="incoming-example", key="a b+c%/コ.txt", etag="d41d8cd98f00b204e9800998ecf8427e",
    size=1024, sequencer="0055AED6DCD90281E5",
)  # fmt: skip


def refs(recorded: dict[str, Any]) -> list[ObjectRef]:
    """References in a recorded event, of every message if it is a batch."""
    if "Records" in recorded and "messageId" in recorded["Records"][0]:
        return [ref for message in messages(recorded) for ref in refs_of_body(message.body)]
    return refs_of_event(recorded)


def test_plain_notification() -> None:
    """The key is form-encoded: plus is a space, %2B a plus, the rest UTF-8."""
    assert refs(event("s3-put")) == [REF]


def test_versions() -> None:
    """A version is kept; "null" and none at all are the same; a multipart ETag is taken as it is."""
    [versioned] = refs(event("s3-versioned"))
    assert versioned.version == "096fKKXTRTtl3on89fVO.nfljtsv6qko"
    assert versioned.etag is not None
    assert versioned.etag.endswith("-3")
    assert [one.version for one in refs(event("s3-null-version"))] == [None]


def test_a_quoted_etag_loses_its_quotes() -> None:
    """Some stores send the ETag as HTTP has it."""
    quoted = event("s3-put")
    quoted["Records"][0]["s3"]["object"]["eTag"] = '"abc"'
    assert [one.etag for one in refs(quoted)] == ["abc"]


@pytest.mark.parametrize("name", ["sqs-s3", "sqs-sns-s3"])
def test_through_queues_and_topics(name: str) -> None:
    """Through SQS, with SNS's envelope and without (raw delivery), the same reference."""
    assert refs(event(name)) == [REF]


@pytest.mark.parametrize("name", ["eventbridge-put", "sqs-eventbridge"])
def test_eventbridge_keys_are_not_encoded(name: str) -> None:
    """EventBridge sends the key as it is; its id comes along."""
    [ref] = refs(event(name))
    assert ref.key == "a+b%2Bc %25/コ.txt"
    assert (ref.etag, ref.size, ref.version) == (REF.etag, 1024, None)
    assert ref.event_id == "17793124-05d4-b198-2fde-7ededc63b103"


def test_eventbridge_versions() -> None:
    """`version-id`, where the bucket has versions."""
    assert [one.version for one in refs(event("eventbridge-versioned"))] == [
        "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e"
    ]


@pytest.mark.parametrize(
    "name",
    [
        "s3-test-event",
        "sqs-test-event",
        "sqs-sns-test-event",
        "s3-removed",
        "s3-directory-marker",
        "eventbridge-deleted",
    ],
)
def test_nothing_to_scan(name: str) -> None:
    """Test events, removals and directory markers are done at once."""
    assert refs(event(name)) == []


def test_several_records_in_one_notification() -> None:
    """All of them are read, those that are no creation left out."""
    assert [one.key for one in refs(event("s3-several"))] == ["one.bin", "two 2.bin"]


@pytest.mark.parametrize("size", [1, None])
def test_a_slash_excuses_no_content(size: int | None) -> None:
    """A key that ends in a slash is scanned unless it is known to be empty."""
    marker = event("s3-directory-marker")
    marker["Records"][0]["s3"]["object"]["size"] = size
    assert [one.key for one in refs(marker)] == ["folder/"]


def test_stores_like_s3_prefix_their_event_names() -> None:
    """`s3:ObjectCreated:Put` is a creation too."""
    prefixed = event("s3-put")
    prefixed["Records"][0]["eventName"] = "s3:ObjectCreated:Put"
    assert refs(prefixed) == [REF]


def put(key: str, more: str = "", bucket: str = '"b"') -> str:
    """A notification with any JSON in places where S3 has its own."""
    found = f'{{"bucket": {{"name": {bucket}}}, "object": {{"key": {key}{more}}}}}'
    return f'{{"Records": [{{"eventName": "ObjectCreated:Put", "s3": {found}}}]}}'


def test_the_maker_of_bad_notifications_makes_good_ones() -> None:
    """So the next test refuses what it is meant to refuse."""
    assert [one.key for one in refs_of_body(put('"k"', ', "size": 1'))] == ["k"]


@pytest.mark.parametrize(
    "body",
    [
        "", "5", "[]", "{", "null", '{"a": 1}', '{"Records": [5]}', '{"Records": {}}', '{"Records": [{}]}',
        '{"Type": "Notification", "Message": "secret"}', '{"Type": "Notification"}',
        '{"source": "aws.ec2", "detail": {"secret": 1}}', '{"source": "aws.s3"}', "[" * 100_000,
        put("5"), put('""'), put('"k"', bucket='""'), put('"secret"', ', "size": -1'),
        put('"secret"', ', "size": Infinity'), put('"secret"', ', "size": "secret"'),
        put('"\\ud800secret"'), put('"secret"', ', "eTag": ["secret"]'),
    ],
)  # fmt: skip
def test_what_is_no_notification_is_named(body: str) -> None:
    """One kind of error for everything else, with nothing of the body in its text."""
    with pytest.raises(UnknownEventError) as caught:
        refs_of_body(body)
    assert "secret" not in str(caught.value)


def test_a_key_that_is_no_unicode_is_refused() -> None:
    """A lone surrogate, which Lambda's own JSON reader lets through, never reaches a store."""
    lone = event("s3-put")
    lone["Records"][0]["s3"]["object"]["key"] = "a\ud800"
    with pytest.raises(UnknownEventError):
        refs_of_event(lone)


def test_envelopes_end() -> None:
    """SNS wraps once, or twice through another account; more is no notification."""
    body = json.dumps(event("s3-put"))
    for _ in range(2):
        body = json.dumps({"Type": "Notification", "Message": body})
        assert refs_of_body(body) == [REF]
    body = json.dumps({"Type": "Notification", "Message": body})
    with pytest.raises(UnknownEventError):
        refs_of_body(body)


def test_messages_of_a_batch() -> None:
    """Ids, bodies, and how often each was delivered; a first delivery where nothing says so."""
    batch = event("sqs-batch")
    assert [one.attributes.deliveries for one in messages(batch)] == [1, 2, 1, 3]
    assert messages({"Records": [{"messageId": "m", "body": ""}]}) == [Message(id="m", body="")]
    with pytest.raises(msgspec.ValidationError):
        messages({"Records": [{"body": ""}]})


def test_every_recorded_event_is_read_as_the_vendors_library_reads_it() -> None:
    """Powertools, which is too dear for a cold start, agrees on all that it reads rightly."""
    library = pytest.importorskip("aws_lambda_powertools.utilities.data_classes")
    compared = 0
    for file in sorted(EVENTS.glob("*.json")):
        recorded = json.loads(file.read_text("utf-8"))
        if file.stem.startswith("sqs-"):
            for own, theirs in zip(messages(recorded), library.SQSEvent(recorded).records, strict=True):
                assert own.id == theirs.message_id
                assert own.body == theirs.body
                assert str(own.attributes.deliveries) == theirs.attributes.approximate_receive_count
                compared += 1
        elif file.stem.startswith("s3-") and "Records" in recorded:
            created = [
                one
                for one in library.S3Event(recorded).records
                if one.event_name.startswith("ObjectCreated") and one.s3.get_object.size
            ]
            for ref, record in zip(refs(recorded), created, strict=True):
                found = record.s3.get_object
                assert (ref.bucket, ref.size, ref.etag) == (record.s3.bucket.name, found.size, found.etag)
                assert ref.sequencer == found.sequencer
                assert ref.version in (found.version_id, None)
                compared += 1
    assert compared > 10


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
_RECORD = st.fixed_dictionaries(
    {
        "eventName": st.just("ObjectCreated:Put") | _JSON,
        "s3": st.fixed_dictionaries(
            {
                "bucket": st.fixed_dictionaries({"name": st.text(max_size=4) | _JSON}),
                "object": st.fixed_dictionaries(
                    {"key": st.text(st.characters(exclude_categories=[]), max_size=8) | _JSON},
                    optional={"size": _JSON, "eTag": _JSON, "versionId": _JSON, "sequencer": _JSON},
                ),
            }
        ),
    }
)
_ANY = st.one_of(
    _JSON,
    st.fixed_dictionaries({"Records": _JSON | st.lists(_RECORD | _JSON, max_size=3)}),
    st.fixed_dictionaries({"Type": st.just("Notification"), "Message": st.text(max_size=20)}),
    st.fixed_dictionaries({"source": st.just("aws.s3"), "detail-type": st.text(), "detail": _JSON}),
)


@settings(max_examples=100)
@given(_ANY)
def test_any_json_is_references_or_that_error(anything: Any) -> None:
    """Arbitrary JSON, near the real shapes too, never raises anything else; keys are always Unicode."""
    for read, given_ in ((refs_of_body, json.dumps(anything)), (refs_of_event, anything)):
        with contextlib.suppress(UnknownEventError):
            for ref in read(given_):
                assert ref.key.encode()
                assert ref.bucket


@settings(max_examples=50)
@given(st.text())
def test_any_text_is_references_or_that_error(body: str) -> None:
    """A queue message may hold anything."""
    with contextlib.suppress(UnknownEventError):
        refs_of_body(body)
