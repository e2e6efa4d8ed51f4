"""From Google's events to what is to be scanned: storage events, notifications, references, messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Protocol, TypeVar

import msgspec

from handlers.records import Brought, Source, UnknownEventError, why
from stoq_core.payload import ObjectRef
from stoq_core.pipeline import payload_of
from stoq_core.values import plain_text

STORE = "gcs"
_QUEUE = "pubsub"
_CREATED = "google.cloud.storage.object.v1.finalized"
_STORAGE = "google.cloud.storage.object."
_NOTIFICATION = "OBJECT_FINALIZE"

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$")]
"""A bucket's: it becomes part of an address."""
_Size = Annotated[int, msgspec.Meta(ge=0)]
_Generation = Annotated[int, msgspec.Meta(ge=1)]
_T = TypeVar("_T")


class CloudEvent(Protocol):
    """What is read of the framework's CloudEvent."""

    def get_data(self) -> Any:
        """The event's own data, decoded."""

    def __getitem__(self, name: str) -> Any: ...


class Request(Protocol):
    """What is read of the framework's HTTP request."""

    def get_data(self) -> bytes:
        """The body."""


class _Object(msgspec.Struct, frozen=True):
    """Google's event library: `google.events.cloud.storage.v1.StorageObjectData`; int64 come as text."""

    bucket: _Name
    name: _Text
    generation: _Generation | None = None
    size: _Size | None = None


class _Size64(msgspec.Struct, frozen=True):
    """What a notification's attributes leave out; a message without data leaves it out too."""

    size: _Size | None = None


class _Notification(msgspec.Struct, frozen=True):
    """Cloud Storage documentation: *Pub/Sub notifications*, attributes; names are not URL-encoded."""

    event_type: str = msgspec.field(name="eventType")
    bucket: _Name = msgspec.field(name="bucketId")
    name: _Text = msgspec.field(name="objectId")
    generation: _Generation = msgspec.field(name="objectGeneration")


class _Reference(msgspec.Struct, frozen=True):
    """A plain reference, as one writes it oneself; without a version it is what stands there then."""

    bucket: _Name
    key: _Text
    store: Annotated[str, msgspec.Meta(pattern=f"^{STORE}$")] = STORE
    version: _Generation | None = None
    size: _Size | None = None


class _Message(msgspec.Struct, frozen=True):
    """Pub/Sub documentation: `PubsubMessage`. One without data has attributes, and leaves `data` out."""

    id: _Text = msgspec.field(name="messageId")
    data: bytes = b""
    attributes: dict[str, str] = {}


class _Push(msgspec.Struct, frozen=True):
    """Pub/Sub documentation: *Push subscriptions*, the wrapped body; Eventarc's has the same shape."""

    message: _Message
    subscription: _Text


class _Deliveries(msgspec.Struct, frozen=True):
    """Sent only to subscriptions that have a dead-letter topic; this delivery counts too."""

    attempt: Annotated[int, msgspec.Meta(ge=1)] = msgspec.field(name="deliveryAttempt", default=1)


def deliveries(body: bytes) -> int:
    """How often Pub/Sub has delivered the message by now; 1 where it does not say."""
    try:
        return msgspec.json.decode(body, type=_Deliveries).attempt
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return 1


class _MessageId(msgspec.Struct, frozen=True):
    id: str = msgspec.field(name="messageId", default="")


class _Wrapped(msgspec.Struct, frozen=True):
    message: _MessageId = _MessageId()


def source_of_push(body: bytes) -> Source:
    """The message's id for log lines; none where the body is no push."""
    try:
        return Source(message_id=msgspec.json.decode(body, type=_Wrapped).message.id)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return Source()


def refs_of_event(event: CloudEvent) -> list[ObjectRef]:
    """The object of a Cloud Storage event; everything but creation names none."""
    if not str(event["type"]).startswith(_STORAGE):
        message = "no event of Cloud Storage"
        raise UnknownEventError(message)
    if event["type"] != _CREATED:
        return []
    found = _read(event.get_data(), _Object)
    return list(_ref(found.bucket, found.name, found.generation, found.size, str(event["id"])))


def refs_of_push(body: bytes) -> list[ObjectRef]:
    """What a pushed message names: the object of a Cloud Storage notification, or a plain reference."""
    message = _decode(body, _Push).message
    if "eventType" not in message.attributes:
        one = _decode(message.data, _Reference)
        return list(_ref(one.bucket, one.key, one.version, one.size, message.id))
    found = _read(message.attributes, _Notification)
    if found.event_type != _NOTIFICATION:
        return []
    size = _decode(message.data, _Size64).size if message.data else None
    return list(_ref(found.bucket, found.name, found.generation, size, message.id))


def file_of_push(body: bytes) -> list[Brought]:
    """The message itself: its data is the file, the attribute `filename` its name, all attributes meta."""
    push = _decode(body, _Push)
    attributes = {plain_text(name): plain_text(text) for name, text in push.message.attributes.items()}
    ref = ObjectRef(store=_QUEUE, bucket=push.subscription, key=push.message.id, size=len(push.message.data))
    payload = payload_of(push.message.data, attributes.get("filename", ""), attributes=attributes)
    return [Brought(ref, payload)]


def _decode(content: bytes, shape: type[_T]) -> _T:
    try:
        return msgspec.json.decode(content, type=shape, strict=False)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise UnknownEventError(why(error)) from None


def _read(content: Any, shape: type[_T]) -> _T:
    try:
        return msgspec.convert(content, shape, strict=False)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UnknownEventError(why(error)) from None


def _ref(
    bucket: str, key: str, generation: int | None, size: int | None, event_id: str
) -> Iterator[ObjectRef]:
    if key.endswith("/") and size == 0:
        return  # a directory marker; an unknown size is scanned, since nothing excuses an object
    if any("\ud800" <= one <= "\udfff" for one in key):
        message = "a name that is no Unicode"
        raise UnknownEventError(message)
    version = None if generation is None else str(generation)
    yield ObjectRef(store=STORE, bucket=bucket, key=key, version=version, size=size, event_id=event_id)
