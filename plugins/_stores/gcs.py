"""What the Google Cloud Storage plugins share: a bucket's options, and a client by the platform's role."""

from __future__ import annotations

import json
from typing import Annotated, Any

from plugins._stores.objects import Objects, payload_of, representable
from stoq_core.body import BodyWriter
from stoq_core.errors import Reason, StoreError
from stoq_core.options import Options, about
from stoq_core.payload import ObjectRef, Payload

# else Google unpacks objects that say `Content-Encoding: gzip`, and what is scanned is not what is stored
_AS_STORED = {"Accept-Encoding": "gzip"}


class BucketOptions(Options, frozen=True):
    """Where; who may is the function's service account. Encryption keys are the bucket's own setting."""

    bucket: Annotated[str, about("the bucket's name; for an archiver that only fetches it may be empty")] = ""
    prefix: Annotated[str, about("put before every key, such as stoq/")] = ""
    endpoint: Annotated[
        str, about("another address than Google's; http:// is an emulator's, without identity")
    ] = ""


class Bucket(Objects):
    """One bucket; versions are generations, which Google gives to every object, versioned bucket or not."""

    def __init__(self, options: BucketOptions, bucket: str) -> None:
        """The client asks for an identity when it is first used."""
        from obstore.store import GCSStore

        settings: dict[str, Any] = {}
        client: Any = {"timeout": "120s", "default_headers": _AS_STORED}
        if options.endpoint.startswith("http://"):
            client["allow_http"] = True
            nobody = {"gcs_base_url": options.endpoint, "disable_oauth": True}
            nobody |= dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
            settings["service_account_key"] = json.dumps(nobody)
        elif options.endpoint:
            settings["base_url"] = options.endpoint
        super().__init__(GCSStore(bucket, client_options=client, **settings), f"gcs://{bucket}")
        self._options = options
        self._bucket = bucket

    def create(self, key: str, content: Any) -> bool:
        """As for every store; an identity that may only add objects is denied where one is there already."""
        try:
            return super().create(key, content)
        except StoreError:
            if self._lists(key):
                return False
            raise

    def _lists(self, key: str) -> bool:
        """True if the bucket's list has the key; False too where it may not be listed."""
        import obstore

        try:
            # a prefix here is a folder; what comes before the key is left out by the server
            for page in obstore.list(self._store, key.rpartition("/")[0] or None, offset=key[:-1]):
                for one in page:
                    if one["path"] >= key:
                        return bool(one["path"] == key)
        except (obstore.exceptions.BaseError, OSError):
            return False
        return False

    def fetch(self, ref: ObjectRef, max_bytes: int) -> Payload:
        """As for every store; a generation that is gone is `superseded` where a newer one stands."""
        if not representable(ref.key):
            return self._fetch_by_sdk(ref, max_bytes)
        try:
            return super().fetch(ref, max_bytes)
        except StoreError as error:
            if error.reason is Reason.NOT_FETCHED and _newer(self._standing(ref.key), ref):
                raise self._superseded() from None
            raise

    def _standing(self, key: str) -> str | None:
        """The generation that stands there now."""
        import obstore

        try:
            return obstore.head(self._store, key)["version"]
        except (obstore.exceptions.NotFoundError, FileNotFoundError):
            return None
        except (obstore.exceptions.BaseError, OSError) as error:
            raise self._failure(error) from None

    def _too_large(self, size: int, max_bytes: int) -> StoreError:
        message = f"{self._label}: {size} bytes are more than limits.payload_bytes ({max_bytes})"
        return StoreError(message, retryable=False, reason=Reason.TOO_LARGE)

    def _superseded(self) -> StoreError:
        message = f"{self._label}: a newer version stands there"
        return StoreError(message, retryable=False, reason=Reason.SUPERSEDED)

    def _fetch_by_sdk(self, ref: ObjectRef, max_bytes: int) -> Payload:
        """An object whose key obstore cannot name (a tab, `//`, `..`): by Google's SDK, the same outcomes."""
        from google.api_core.exceptions import GoogleAPIError, NotFound
        from google.auth.exceptions import GoogleAuthError
        from requests.exceptions import RequestException

        writer = BodyWriter()
        pinned = int(ref.version) if ref.version else None
        try:
            bucket = _client(self._options).bucket(self._bucket)
            try:
                blob = bucket.blob(ref.key, generation=pinned)
                blob.reload(timeout=60)
                if blob.size > max_bytes:
                    message = (
                        f"{self._label}: {blob.size} bytes are more than limits.payload_bytes ({max_bytes})"
                    )
                    raise StoreError(message, retryable=False, reason=Reason.TOO_LARGE)
                # pinned now if it was not before: both answers are of one generation
                blob.download_to_file(
                    writer, if_generation_match=blob.generation, raw_download=True, timeout=120
                )
            except NotFound:
                there = bucket.get_blob(ref.key, timeout=60)
                if _newer(str(there.generation) if there else None, ref):
                    raise self._superseded() from None
                message = f"{self._label}: the object is gone"
                raise StoreError(message, retryable=False, reason=Reason.NOT_FETCHED) from None
        except (GoogleAPIError, GoogleAuthError, RequestException) as error:
            raise StoreError(f"{self._label}: {type(error).__name__}", retryable=True) from None
        return payload_of(ref, writer)


def _newer(standing: str | None, ref: ObjectRef) -> bool:
    """Generations grow: one that is larger than the event's has an event of its own."""
    known = standing is not None and standing.isdecimal() and (ref.version or "").isdecimal()
    return known and int(standing or 0) > int(ref.version or 0)


def _client(options: BucketOptions) -> Any:
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    if not options.endpoint:
        return storage.Client()
    at = ClientOptions(api_endpoint=options.endpoint)
    if options.endpoint.startswith("http://"):
        return storage.Client(project="none", credentials=AnonymousCredentials(), client_options=at)
    return storage.Client(client_options=at)
