"""From AWS events to object references; every shape in which an S3 notification arrives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

from stoq_core.payload import ObjectRef

_CREATED = "ObjectCreated:"
_MOST_LAYERS = 3


class UnknownEventError(ValueError):
    """A message that is no S3 notification; its text names what was missing, never the body."""


def s3_refs(event: dict[str, Any]) -> Iterator[ObjectRef]:
    """References in an S3 notification (docs: *Event message structure*), however it was wrapped.

    Directory markers, test events and events of other kinds than creation give none. Raises
    `UnknownEventError` for anything that is no S3 notification.
    """
    if event.get("Event") == "s3:TestEvent":
        return
    if isinstance(event.get("Records"), list):
        for record in event["Records"]:
            yield from _from_notification(record)
    elif event.get("source") == "aws.s3" and isinstance(event.get("detail"), dict):
        yield from _from_eventbridge(event)
    else:
        message = "neither Records nor an EventBridge detail of aws.s3"
        raise UnknownEventError(message)


def body_of(text: str) -> dict[str, Any]:
    """A queue message's body as an event; SNS's envelope is taken off where it is there."""
    for _ in range(_MOST_LAYERS):
        try:
            event = json.loads(text)
        except (ValueError, RecursionError):
            message = "the body is no JSON"
            raise UnknownEventError(message) from None
        if not isinstance(event, dict):
            message = "the body is no JSON object"
            raise UnknownEventError(message)
        if event.get("Type") != "Notification" or not isinstance(event.get("Message"), str):
            return event
        text = event["Message"]
    message = "more envelopes than SNS makes"
    raise UnknownEventError(message)


def _from_notification(record: dict[str, Any]) -> Iterator[ObjectRef]:
    try:
        if not str(record["eventName"]).startswith(_CREATED):
            return
        bucket, found = record["s3"]["bucket"]["name"], record["s3"]["object"]
        key = unquote_plus(found["key"])  # keys are form-encoded in notifications
        ref = _ref(
            bucket, key, found.get("size"), found.get("eTag"), found.get("versionId"), found.get("sequencer")
        )
    except (KeyError, TypeError, ValueError) as error:
        message = f"an S3 record lacks {error}"
        raise UnknownEventError(message) from None
    yield from () if ref is None else (ref,)


def _from_eventbridge(event: dict[str, Any]) -> Iterator[ObjectRef]:
    try:
        if event.get("detail-type") != "Object Created":
            return
        detail = event["detail"]
        found = detail["object"]
        ref = _ref(
            detail["bucket"]["name"],
            found["key"],  # not encoded here
            found.get("size"),
            found.get("etag", found.get("eTag")),
            found.get("version-id"),
            found.get("sequencer"),
            event.get("id"),
        )
    except (KeyError, TypeError, ValueError) as error:
        message = f"an EventBridge event lacks {error}"
        raise UnknownEventError(message) from None
    yield from () if ref is None else (ref,)


def _ref(
    bucket: Any, key: Any, size: Any, etag: Any, version: Any, sequencer: Any, event_id: Any = None
) -> ObjectRef | None:
    if not isinstance(bucket, str) or not isinstance(key, str) or not key:
        message = "a bucket or key"
        raise ValueError(message)
    if key.endswith("/") and not size:
        return None  # a directory marker
    return ObjectRef(
        store="s3",
        bucket=bucket,
        key=key,
        version=str(version) if version and version != "null" else None,
        etag=str(etag).strip('"') if etag else None,
        size=int(size) if size is not None else None,
        sequencer=str(sequencer) if sequencer else None,
        event_id=str(event_id) if event_id else None,
    )
