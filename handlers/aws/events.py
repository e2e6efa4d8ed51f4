"""From AWS events to object references; every shape in which an S3 notification arrives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Protocol
from urllib.parse import unquote_plus

import msgspec

from handlers.records import UnknownEventError, why
from stoq_core.payload import ObjectRef

_CREATED = "ObjectCreated:"
_CREATED_BY_EVENTBRIDGE = "Object Created"
_MOST_LAYERS = 3

_Text = Annotated[str, msgspec.Meta(min_length=1)]


class LambdaContext(Protocol):
    """What a handler needs of Lambda's context."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Until the platform kills the function."""


class _Bucket(msgspec.Struct, frozen=True):
    name: _Text


class _Object(msgspec.Struct, frozen=True):
    key: _Text
    size: Annotated[int, msgspec.Meta(ge=0)] | None = None
    etag: str | None = msgspec.field(name="eTag", default=None)
    version: str | None = msgspec.field(name="versionId", default=None)
    sequencer: str | None = None


class _S3(msgspec.Struct, frozen=True):
    bucket: _Bucket
    object: _Object


class _Record(msgspec.Struct, frozen=True):
    """S3 documentation: *Event message structure*."""

    event_name: str = msgspec.field(name="eventName")
    s3: _S3


class _DetailObject(msgspec.Struct, frozen=True):
    key: _Text
    size: Annotated[int, msgspec.Meta(ge=0)] | None = None
    etag: str | None = None
    version: str | None = msgspec.field(name="version-id", default=None)
    sequencer: str | None = None


class _Detail(msgspec.Struct, frozen=True):
    """S3 documentation: *EventBridge event message structure*."""

    bucket: _Bucket
    object: _DetailObject


class _Event(msgspec.Struct, frozen=True):
    """What is read of any of them: S3's own, S3's test event, SNS's envelope, EventBridge's."""

    records: list[_Record] | None = msgspec.field(name="Records", default=None)
    test: str | None = msgspec.field(name="Event", default=None)
    type: str | None = msgspec.field(name="Type", default=None)
    message: str | None = msgspec.field(name="Message", default=None)
    source: str | None = None
    detail_type: str | None = msgspec.field(name="detail-type", default=None)
    id: str | None = None
    detail: _Detail | None = None


class _Attributes(msgspec.Struct, frozen=True):
    deliveries: Annotated[int, msgspec.Meta(ge=1)] = msgspec.field(name="ApproximateReceiveCount", default=1)


class Message(msgspec.Struct, frozen=True):
    """One SQS message as Lambda hands it over; `attributes.deliveries` counts this delivery too."""

    id: _Text = msgspec.field(name="messageId")
    body: str
    attributes: _Attributes = _Attributes()


class _Batch(msgspec.Struct, frozen=True):
    messages: list[Message] = msgspec.field(name="Records")


def messages(event: dict[str, Any]) -> list[Message]:
    """The messages of an SQS batch. Raises if Lambda did not send one: then the whole batch comes again."""
    return msgspec.convert(event, _Batch, strict=False).messages


def refs_of_body(text: str) -> list[ObjectRef]:
    """References in a queue message: an S3 notification, bare, from EventBridge or in SNS's envelope."""
    for _ in range(_MOST_LAYERS):
        try:
            event = msgspec.json.decode(text, type=_Event)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise UnknownEventError(why(error)) from None
        if event.type != "Notification" or event.message is None:
            return list(_refs(event))
        text = event.message
    message = "more envelopes than SNS makes"
    raise UnknownEventError(message)


def refs_of_event(event: dict[str, Any]) -> list[ObjectRef]:
    """References in an event that S3 or EventBridge hands to the function itself."""
    try:
        return list(_refs(msgspec.convert(event, _Event)))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UnknownEventError(why(error)) from None


def _refs(event: _Event) -> Iterator[ObjectRef]:
    """Test events, directory markers and everything but creation give none."""
    if event.records is not None:
        for record in event.records:
            found = record.s3.object
            # S3-compatible stores keep the prefix that S3 itself takes off
            if record.event_name.removeprefix("s3:").startswith(_CREATED):
                # keys are form-encoded here
                yield from _ref(record.s3.bucket.name, unquote_plus(found.key), found, None)
    elif event.source == "aws.s3" and event.detail is not None:
        if event.detail_type == _CREATED_BY_EVENTBRIDGE:
            # and as they are here
            yield from _ref(event.detail.bucket.name, event.detail.object.key, event.detail.object, event.id)
    elif event.test != "s3:TestEvent":
        message = "neither Records nor an EventBridge detail of aws.s3"
        raise UnknownEventError(message)


def _ref(bucket: str, key: str, found: _Object | _DetailObject, event_id: str | None) -> Iterator[ObjectRef]:
    if key.endswith("/") and found.size == 0:
        return  # a directory marker; an unknown size is scanned, since nothing excuses an object
    if not key.isprintable() and any("\ud800" <= one <= "\udfff" for one in key):
        message = "a key that is no Unicode"
        raise UnknownEventError(message)
    yield ObjectRef(
        store="s3",
        bucket=bucket,
        key=key,
        version=None if found.version in ("", "null") else found.version,
        etag=(found.etag or "").strip('"') or None,
        size=found.size,
        sequencer=found.sequencer or None,
        event_id=event_id or None,
    )
