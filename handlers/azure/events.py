"""From Azure's events to object references: Event Grid's, in both of its schemas, and plain references."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Protocol
from urllib.parse import unquote_to_bytes, urlsplit

import msgspec

from handlers.records import UnknownEventError, why
from stoq_core.payload import ObjectRef

STORE = "azure_blob"
_CREATED = "Microsoft.Storage.BlobCreated"
_STORAGE = "Microsoft.Storage."
# the account's own address, of either service, in any cloud or DNS zone; a custom domain tells no account
_HOST = re.compile(r"(?P<account>[a-z0-9]{3,24})(-secondary)?(\.z\d+)?\.(blob|dfs)\.[a-z0-9.-]+")
_ACCOUNT = re.compile(r"/storageAccounts/(?P<account>[a-z0-9]{3,24})$", re.IGNORECASE)

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Size = Annotated[int, msgspec.Meta(ge=0)]


class BlobClient(Protocol):
    """What is asked of the client that the blob trigger brings."""

    account_name: str | None
    container_name: str
    blob_name: str

    def get_blob_properties(self) -> Any:
        """`etag` (quoted) and `size`."""


class _Blob(msgspec.Struct, frozen=True):
    """Event Grid documentation: *Azure Blob Storage as an Event Grid source*, data object."""

    url: _Text
    etag: str | None = msgspec.field(name="eTag", default=None)
    size: _Size | None = msgspec.field(name="contentLength", default=None)
    sequencer: str | None = None


class _Event(msgspec.Struct, frozen=True):
    """What is read of any message: Event Grid's schema, CloudEvents 1.0, or a plain reference."""

    id: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")
    event_type: str | None = msgspec.field(name="eventType", default=None)
    topic: str | None = None
    type: str | None = None
    source: str | None = None
    bucket: str | None = None


class _Reference(msgspec.Struct, frozen=True):
    """A plain reference: the fields of `ObjectRef`; `bucket` is `ACCOUNT/CONTAINER`."""

    bucket: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]{3,24}/[a-z0-9$-]+$")]
    key: _Text
    store: Annotated[str, msgspec.Meta(pattern=f"^{STORE}$")] = STORE
    version: str | None = None
    etag: str | None = None
    size: _Size | None = None


def refs_of_body(body: bytes) -> list[ObjectRef]:
    """References in a queue message: one event of either schema, a list of them, or a reference."""
    try:
        found = msgspec.json.decode(body, type=_Event | list[_Event])
        events = found if isinstance(found, list) else [found]
        if isinstance(found, _Event) and found.bucket is not None:
            return list(_ref_of(msgspec.json.decode(body, type=_Reference)))
        return [ref for event in events for ref in _refs(event)]
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise UnknownEventError(why(error)) from None


def refs_of_client(client: BlobClient) -> list[ObjectRef]:
    """The blob of the blob trigger, at the ETag that it has now; without one if it is gone."""
    from azure.core.exceptions import ResourceNotFoundError

    if client.account_name is None:
        message = "the trigger's connection names no storage account"
        raise UnknownEventError(message)
    bucket, key = f"{client.account_name}/{client.container_name}", client.blob_name
    try:
        found = client.get_blob_properties()
    except ResourceNotFoundError:
        return list(_ref(bucket, key))
    return list(_ref(bucket, key, etag=found.etag, size=found.size))


def _refs(event: _Event) -> Iterator[ObjectRef]:
    """Directory markers and everything of a storage account but creation give none."""
    kind = event.event_type or event.type
    if kind is None or not kind.startswith(_STORAGE):
        message = "neither a reference nor an event of a storage account"
        raise UnknownEventError(message)
    if kind != _CREATED:
        return
    blob = msgspec.json.decode(event.data, type=_Blob)
    bucket, key = _place(blob.url, event.topic or event.source or "")
    yield from _ref(bucket, key, etag=blob.etag, size=blob.size, sequencer=blob.sequencer, event_id=event.id)


def _place(url: str, topic: str) -> tuple[str, str]:
    """`ACCOUNT/CONTAINER` and the blob's name; the root container stands in no address."""
    try:
        parts = urlsplit(url)
        name = unquote_to_bytes(parts.path.removeprefix("/")).decode()
    except (ValueError, UnicodeError):
        message = "the blob's address is none"
        raise UnknownEventError(message) from None
    found = _HOST.fullmatch(parts.hostname or "") or _ACCOUNT.search(topic)
    if not found:
        message = "neither the blob's address nor the topic names a storage account"
        raise UnknownEventError(message)
    container, slash, key = name.partition("/")
    if not slash:
        container, key = "$root", name
    if not container or not key or parts.query or parts.fragment:
        message = "the blob's address names no blob"
        raise UnknownEventError(message)
    return f"{found['account'].lower()}/{container}", key


def _ref_of(one: _Reference) -> Iterator[ObjectRef]:
    return _ref(one.bucket, one.key, etag=one.etag, size=one.size, version=one.version)


def _ref(
    bucket: str, key: str, *, etag: str | None = None, size: int | None = None, **more: str | None
) -> Iterator[ObjectRef]:
    if key.endswith("/") and size == 0:
        return  # a directory marker; an unknown size is scanned, since nothing excuses an object
    plain = (etag or "").strip('"') or None
    given = {name: value for name, value in more.items() if value}
    yield ObjectRef(store=STORE, bucket=bucket, key=key, etag=plain, size=size, **given)
