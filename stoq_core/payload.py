"""What is scanned: references to objects, payloads with their meta, and the request around them."""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Iterator
from typing import Any

import msgspec

from .body import Body
from .limits import MiB


class ObjectRef(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One version of one stored object. `store` is the archiver's word: s3, gcs, azure_blob and so on."""

    store: str
    bucket: str
    key: str
    version: str | None = None
    etag: str | None = None
    size: int | None = None
    sequencer: str | None = None
    event_id: str | None = None

    @property
    def identity(self) -> str:
        """What makes two references the same bytes: store, bucket, key and version or etag."""
        return "\x1f".join((self.store, self.bucket, self.key, self.version or self.etag or ""))


class PayloadMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What comes with the bytes; `dispatch_to` names workers that this payload needs."""

    should_archive: bool = True
    should_scan: bool = True
    extra_data: dict[str, Any] = {}
    dispatch_to: list[str] = []


class Payload:
    """Bytes to scan, where they came from, and what is known about them; read-only for plugins."""

    __slots__ = ("body", "depth", "extracted_by", "extracted_from", "meta", "payload_id")

    def __init__(
        self,
        content: bytes | Body,
        meta: PayloadMeta | None = None,
        *,
        payload_id: str = "",
        depth: int = 0,
        extracted_from: str | None = None,
        extracted_by: str | None = None,
    ) -> None:
        """`payload_id` is given by the engine (semantics 10); `depth` is 0 for a root."""
        self.body = content if isinstance(content, Body) else Body(content)
        self.meta = meta or PayloadMeta()
        self.payload_id = payload_id
        self.depth = depth
        self.extracted_from = extracted_from
        self.extracted_by = extracted_by

    @property
    def size(self) -> int:
        """Bytes."""
        return self.body.size

    @property
    def name(self) -> str:
        """The file's name as its source gave it, path and all, or an empty string."""
        name = self.meta.extra_data.get("filename", "")
        return name if isinstance(name, str) else ""

    @property
    def content(self) -> bytes:
        """The bytes; a copy for a large payload, so prefer `view()` or `open()`."""
        return self.body.content()

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes."""
        return self.body.sha256

    def view(self) -> memoryview:
        """The bytes without a copy."""
        return self.body.view()

    def head(self, size: int) -> bytes:
        """The first `size` bytes, copied."""
        return bytes(self.body.view()[:size])

    def open(self) -> io.BufferedReader:
        """A seekable reader over the bytes."""
        return self.body.open()


class OpaquePayload:
    """What a network worker gets of a payload: facts to ask with, and bytes to hand on unread.

    There is no view and no reader here on purpose: the broker, which holds the credentials, parses nothing.
    """

    __slots__ = (
        "_body", "depth", "extracted_by", "extracted_from", "meta", "name", "payload_id", "sha256", "size",
    )  # fmt: skip

    def __init__(self, payload: Payload) -> None:
        """Facts of `payload`; its bytes stay shut."""
        self.payload_id = payload.payload_id
        self.meta = payload.meta
        self.name = payload.name
        self.size = payload.size
        self.sha256 = payload.sha256
        self.depth = payload.depth
        self.extracted_by = payload.extracted_by
        self.extracted_from = payload.extracted_from
        self._body = payload.body

    def upload(self) -> Iterator[bytes]:
        """The bytes in parts of 1 MiB, for the body of an upload to the worker's own service."""
        view = self._body.view()
        for at in range(0, len(view), MiB):
            yield bytes(view[at : at + MiB])


class RequestMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What the submitter said about the request as a whole."""

    archive_payloads: bool = True
    source: str | None = None
    extra_data: dict[str, Any] = {}


class Request(msgspec.Struct, kw_only=True):
    """One or more payloads to scan together, with their identity.

    `start` names workers for the roots only; `passwords` are tried on encrypted payloads;
    `unread` is what the source already knows was not read (a safe-mode retry, a missing object).
    """

    payloads: list[Any] = []
    meta: RequestMeta = RequestMeta()
    scan_id: str = ""
    start: list[str] = []
    passwords: list[str] = []
    attempt: int = 1


_NAMESPACE = uuid.UUID("6f2a1f3e-3f0b-5c55-9d53-2b1b2f6d9a11")


def scan_id_for(deployment: str, identity: str, campaign: str = "live") -> str:
    """Deterministic scan id (semantics 10): the same object in the same campaign, the same id."""
    return str(uuid.uuid5(_NAMESPACE, f"{deployment}\x1f{campaign}\x1f{identity}"))


def root_id(scan_id: str, ordinal: int) -> str:
    """Deterministic payload id of a root."""
    return _uuid5(uuid.UUID(scan_id).bytes, f"{ordinal}")


def child_id(parent_id: str, plugin: str, ordinal: int) -> str:
    """Deterministic payload id of the `ordinal`-th child that `plugin` took out of the parent."""
    return _uuid5(bytes.fromhex(parent_id.replace("-", "")), f"{plugin}\x1f{ordinal}")


def _uuid5(parent: bytes, name: str) -> str:
    """As `uuid.uuid5` (RFC 9562, 5.5), which costs four times as much through its objects."""
    made = hashlib.sha1(parent + name.encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(made[16], 16) & 3]
    return f"{made[:8]}-{made[8:12]}-5{made[13:16]}-{variant}{made[17:20]}-{made[20:32]}"
