"""What the Azure Blob plugins share: the options of a container, and a client by the platform's identity."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any

from plugins._stores.azure_identity import identity
from plugins._stores.objects import Objects, payload_of, representable
from stoq_core.body import BodyWriter
from stoq_core.errors import ConfigError, Reason, StoreError
from stoq_core.options import Options, about
from stoq_core.payload import ObjectRef, Payload

_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_CONTAINER = re.compile(r"\$(root|web|logs)|[a-z0-9](-?[a-z0-9]){2,62}")
_KEY = "AZURE_STORAGE_ACCOUNT_KEY"
"""Where obstore looks for an account's key; set for an emulator, which knows no identities."""


class ContainerOptions(Options, frozen=True):
    """Where; who may is the function's managed identity (`AZURE_CLIENT_ID` names one of several)."""

    account: Annotated[
        str, about("the storage account; for an archiver that only fetches it may be empty")
    ] = ""
    container: Annotated[str, about("the container; for an archiver that only fetches it may be empty")] = ""
    prefix: Annotated[str, about("put before every key, such as stoq/")] = ""
    endpoint: Annotated[
        str, about("the account's address where it is not Azure's own; {account} stands for its name")
    ] = "https://{account}.blob.core.windows.net"

    @property
    def bucket(self) -> str:
        """`ACCOUNT/CONTAINER`, as references name it: containers' names are unique in an account only."""
        return f"{self.account}/{self.container}"


class Container(Objects):
    """One container; `bucket` is `ACCOUNT/CONTAINER`."""

    def __init__(self, options: ContainerOptions, bucket: str) -> None:
        """Raises `ValueError` for names that Azure does not give, which would lead to another address."""
        from obstore.store import AzureStore

        account, _, container = bucket.partition("/")
        if not _ACCOUNT.fullmatch(account) or not _CONTAINER.fullmatch(container):
            message = "no storage account and container have such names"
            raise ValueError(message)
        self._address = options.endpoint.replace("{account}", account)
        self._container = container
        client: Any = {"timeout": "120s"}
        if self._address.startswith("http://"):
            client["allow_http"] = True
        store = AzureStore(container, account_name=account, endpoint=self._address, client_options=client)
        super().__init__(store, f"azure_blob://{bucket}")

    def create(self, key: str, content: Any) -> bool:
        """As for every store, also with a right that is for adding alone (infra/azure/identity.tf)."""
        try:
            return super().create(key, content)
        except StoreError as error:
            if "UnauthorizedBlobOverwrite" in str(error.__context__):
                return False  # what Azure answers such a right where a blob is there already
            raise

    def fetch(self, ref: ObjectRef, max_bytes: int) -> Payload:
        """As for every store; a condition on what is not there any more is `not_fetched` here too."""
        if any(one in (".", "..") for one in re.split(r"[/\\]", ref.key)):
            # on its way every HTTP client makes another address of it
            message = f"{self._label}: a blob whose name holds . or .. as a part cannot be asked for"
            raise StoreError(message, retryable=False, reason=Reason.NOT_FETCHED)
        if not representable(ref.key):
            return self._fetch_by_sdk(ref, max_bytes)
        try:
            return super().fetch(ref, max_bytes)
        except StoreError as error:
            if error.reason is Reason.SUPERSEDED and not self._is_there(ref.key):
                raise self._gone() from None
            raise

    def _is_there(self, key: str) -> bool:
        import obstore

        try:
            obstore.head(self._store, key)
        except (obstore.exceptions.NotFoundError, FileNotFoundError):
            return False
        except (obstore.exceptions.BaseError, OSError) as error:
            raise self._failure(error) from None
        return True

    def _gone(self) -> StoreError:
        return StoreError(f"{self._label}: the object is gone", retryable=False, reason=Reason.NOT_FETCHED)

    def _newer(self) -> StoreError:
        message = f"{self._label}: a newer version stands there"
        return StoreError(message, retryable=False, reason=Reason.SUPERSEDED)

    def _fetch_by_sdk(self, ref: ObjectRef, max_bytes: int) -> Payload:
        """A blob whose name obstore cannot write (a tab, `//`): by Azure's SDK, with the same outcomes."""
        from azure.core import MatchConditions
        from azure.core.exceptions import AzureError, ResourceModifiedError, ResourceNotFoundError
        from azure.storage.blob import BlobClient

        pin: dict[str, Any] = {"version_id": ref.version} if ref.version else {}
        if ref.etag and not ref.version:
            pin = {"etag": f'"{ref.etag}"', "match_condition": MatchConditions.IfNotModified}
        writer = BodyWriter()
        with BlobClient(
            self._address, self._container, ref.key, credential=_credential(ref.bucket)
        ) as client:
            try:
                found = client.download_blob(**pin)
                size = found.size
                if size > max_bytes:
                    message = f"{self._label}: {size} bytes are more than limits.payload_bytes ({max_bytes})"
                    raise StoreError(message, retryable=False, reason=Reason.TOO_LARGE)
                for chunk in found.chunks():
                    writer.write(chunk)
            except ResourceModifiedError:
                if not client.exists():
                    raise self._gone() from None
                raise self._newer() from None
            except ResourceNotFoundError:
                raise self._gone() from None
            except AzureError as error:
                code = getattr(error, "error_code", None) or type(error).__name__
                raise StoreError(f"{self._label}: {code}", retryable=True) from None
        return payload_of(ref, writer)


def _credential(bucket: str) -> Any:
    """What Azure's SDK takes: the account's key where the environment has one, else the identity."""
    if _KEY in os.environ:
        return {"account_name": bucket.partition("/")[0], "account_key": os.environ[_KEY]}
    return identity()


def container(options: ContainerOptions, where: str) -> Container:
    """The container that the options name; `where` stands in the error if they do not or cannot."""
    if not options.account or not options.container:
        message = f"{where}: account and container must both be set"
        raise ConfigError(message)
    try:
        return Container(options, options.bucket)
    except ValueError as error:
        message = f"{where}: {options.bucket!r}: {error}"
        raise ConfigError(message) from None
