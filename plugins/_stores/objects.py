"""Object stores through obstore: one implementation, of which each cloud's plugins are short uses."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from stoq_core.body import BodyWriter
from stoq_core.errors import Reason, StoreError
from stoq_core.limits import MiB
from stoq_core.payload import ObjectRef, Payload, PayloadMeta
from stoq_core.render import encode
from stoq_core.response import ScanResponse
from stoq_core.store import Summary, holds, rank, rank_of_document, summary_of_document
from stoq_core.values import plain_text

LIBRARIES = {"obstore": "obstore (in requirements.txt)"}
_RACES = 8
_LISTED = 1_000


class Objects:
    """One bucket. Every failure is a `StoreError` that says whether to try again."""

    def __init__(self, store: Any, label: str) -> None:
        """`store` is an obstore store; `label` stands in error messages."""
        self._store = store
        self._label = label

    def create(self, key: str, content: Any) -> bool:
        """Write unless the key is there already; True if this call wrote it."""
        import obstore

        try:
            obstore.put(self._store, key, content, mode="create")
        except obstore.exceptions.AlreadyExistsError:
            return False
        except (obstore.exceptions.BaseError, OSError) as error:
            raise self._failure(error) from None
        return True

    def replace(self, key: str, content: bytes, mark: Mapping[str, Any] | None) -> bool:
        """Write if the key still has the mark that `read` gave (None: if it is not there); or a lost race."""
        import obstore

        mode: Any = "create" if mark is None else mark
        try:
            obstore.put(self._store, key, content, mode=mode)
        except (obstore.exceptions.AlreadyExistsError, obstore.exceptions.PreconditionError):
            return False
        except (obstore.exceptions.BaseError, OSError) as error:
            raise self._failure(error) from None
        return True

    def read(self, key: str) -> tuple[bytes, Mapping[str, Any]] | None:
        """The whole object and what marks its version (S3, Azure: ETag; Google: generation), or None."""
        import obstore

        try:
            found = obstore.get(self._store, key)
            marks = {"e_tag": found.meta["e_tag"], "version": found.meta["version"]}
            # obstore takes no None: a bucket without versions has none
            return bytes(found.bytes()), {name: one for name, one in marks.items() if one is not None}
        except (obstore.exceptions.NotFoundError, FileNotFoundError):
            return None
        except (obstore.exceptions.BaseError, OSError) as error:
            raise self._failure(error) from None

    def delete(self, key: str) -> None:
        """Take an object away; no error if it is not there."""
        import obstore

        try:
            obstore.delete(self._store, key)
        except (obstore.exceptions.NotFoundError, FileNotFoundError):
            return
        except (obstore.exceptions.BaseError, OSError) as error:
            raise self._failure(error) from None

    def fetch(self, ref: ObjectRef, max_bytes: int) -> Payload:
        """Exactly the version or ETag that the reference names, streamed (ARCHITECTURE, *Delivery*)."""
        import obstore

        options: Any = {}
        if ref.version:
            options["version"] = ref.version
        elif ref.etag:
            options["if_match"] = f'"{ref.etag}"'
        writer = BodyWriter()
        try:
            found = obstore.get(self._store, ref.key, options=options)
            size = found.meta["size"]
            if size > max_bytes:
                message = f"{self._label}: {size} bytes are more than limits.payload_bytes ({max_bytes})"
                raise StoreError(message, retryable=False, reason=Reason.TOO_LARGE)
            for chunk in found.stream(min_chunk_size=MiB):
                writer.write(chunk)
        except StoreError:
            raise
        except obstore.exceptions.PreconditionError:
            message = f"{self._label}: a newer version stands there"
            raise StoreError(message, retryable=False, reason=Reason.SUPERSEDED) from None
        except (obstore.exceptions.NotFoundError, FileNotFoundError):
            message = f"{self._label}: the object is gone"
            raise StoreError(message, retryable=False, reason=Reason.NOT_FETCHED) from None
        except (obstore.exceptions.BaseError, OSError) as error:
            raise self._failure(error) from None
        return payload_of(ref, writer)

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys below a prefix, the newest first."""
        import obstore

        found = [one for page in obstore.list(self._store, prefix or None) for one in page]
        found.sort(key=lambda one: one["last_modified"], reverse=True)
        for one in found:
            yield str(one["path"])

    def _failure(self, error: Exception) -> StoreError:
        """Retryable; without the library's own text up to the address, which would put keys into logs."""
        what = str(error).partition("\n")[0].rpartition(" - ")[2][:200] if " - " in str(error) else ""
        return StoreError(f"{self._label}: {type(error).__name__}: {what}".rstrip(": "), retryable=True)


def representable(key: str) -> bool:
    """False for keys that obstore cannot name or would name differently: S3 allows more than paths do."""
    segments = key.split("/")
    return key.isprintable() and not any(one in ("", ".", "..") for one in segments)


def payload_of(ref: ObjectRef, writer: BodyWriter) -> Payload:
    """The payload of a fetched object: its name is the key's last part, its reference goes with it."""
    name = plain_text(ref.key.rpartition("/")[2] or ref.key)
    return Payload(
        writer.finish(),
        PayloadMeta(extra_data={"filename": name, "object": msgspec.to_builtins(ref)}),
    )


def archive_key(prefix: str, layout: str, digest: str) -> str:
    """Where bytes are kept: fanned out by digest, or below the day they came."""
    if layout == "date":
        return f"{prefix}{dt.datetime.now(dt.UTC):%Y/%m/%d}/{digest}"
    return f"{prefix}{digest[:2]}/{digest[2:4]}/{digest}"


class DocumentStore:
    """One JSON document a scan in a bucket; a `ResultStore` for moderate numbers."""

    def __init__(self, objects: Objects, prefix: str) -> None:
        """Documents are `PREFIX SCAN_ID .json`."""
        self._objects = objects
        self._prefix = prefix

    def save(self, response: ScanResponse) -> None:
        """Write, unless a more complete record stands there; a lost race is looked at again."""
        key = self._key(response.scan_id)
        content = encode(response)
        for _ in range(_RACES):
            standing = self._objects.read(key)
            if standing and rank_of_document(msgspec.json.decode(standing[0])) > rank(response):
                return
            if self._objects.replace(key, content, standing[1] if standing else None):
                return
        message = f"{key}: others kept writing the same record"
        raise StoreError(message, retryable=True)

    def _key(self, scan_id: str) -> str:
        return f"{self._prefix}{scan_id}.json"

    def begin_attempt(self, scan_id: str, until: float) -> float | None:
        """Put a mark, or the `until` of the one that stands (see `AttemptMarks`)."""
        key = self._mark(scan_id)
        if self._objects.create(key, repr(until).encode()):
            return None
        standing = self._objects.read(key)
        return None if standing is None else float(standing[0])

    def end_attempt(self, scan_id: str, until: float) -> None:
        """Take that mark away."""
        standing = self._objects.read(self._mark(scan_id))
        if standing is not None and float(standing[0]) == until:
            self._objects.delete(self._mark(scan_id))

    def _mark(self, scan_id: str) -> str:
        return f"{self._prefix}{scan_id}.attempt"

    def get(self, scan_id: str) -> dict[str, Any] | None:
        """The whole document, or None."""
        found = self._objects.read(self._key(scan_id))
        return None if found is None else msgspec.json.decode(found[0])

    def documents(self) -> Iterator[dict[str, Any]]:
        """Every document, the newest first."""
        for key in self._objects.keys(self._prefix):
            found = self._objects.read(key) if key.endswith(".json") else None
            if found is not None:
                yield msgspec.json.decode(found[0])

    def list(self, limit: int, verdict: str | None = None) -> Iterator[Summary]:
        """The newest first, of the last thousand that were written."""
        lines = [summary_of_document(one) for one in itertools.islice(self.documents(), _LISTED)]
        lines.sort(key=lambda one: one.time, reverse=True)
        yield from itertools.islice((one for one in lines if verdict in (None, one.verdict)), limit)

    def search(self, limit: int, **wanted: str | None) -> Iterator[Summary]:
        """Reads every document; for more than some thousand results use a database."""
        for document in self.documents():
            if limit <= 0:
                return
            if holds(document, **wanted):
                limit -= 1
                yield summary_of_document(document)
