"""Payload bytes in an Azure Blob container, named by their sha256; fetches blobs at the version named."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from plugins._stores.azure_blob import Container, ContainerOptions, container
from plugins._stores.objects import LIBRARIES, archive_key
from stoq_core.errors import Reason, StoreError
from stoq_core.options import about
from stoq_core.payload import ObjectRef, Payload
from stoq_core.plugin import ArchiveContext, Archiver


class AzureBlobOptions(ContainerOptions, frozen=True):
    """A container and how names are laid out."""

    layout: Annotated[Literal["sha256", "date"], about("fan out by digest, or by day")] = "sha256"


class AzureBlob(Archiver[AzureBlobOptions]):
    """`PREFIX/ab/cd/SHA256`, created once however often the same bytes come."""

    libraries = LIBRARIES

    def open(self) -> None:
        """Clients are made for each container when it is first used."""
        self._containers: dict[str, Container] = {}

    def archive(self, payload: Payload, context: ArchiveContext) -> dict[str, Any]:
        """Store the bytes; returns `{"bucket": "ACCOUNT/CONTAINER", "key": …}`."""
        bucket = self.options.bucket
        if bucket not in self._containers:
            self._containers[bucket] = container(self.options, f"archiver.{self.name}")
        key = archive_key(self.options.prefix, self.options.layout, context.sha256)
        self._containers[bucket].create(key, payload.view())
        return {"bucket": bucket, "key": key}

    def get(self, ref: ObjectRef, max_bytes: int) -> Payload:
        """Fetch the version or ETag that the reference names."""
        if ref.bucket not in self._containers:
            try:
                self._containers[ref.bucket] = Container(self.options, ref.bucket)
            except ValueError as error:
                raise StoreError(f"azure_blob: {error}", retryable=False, reason=Reason.NOT_FETCHED) from None
        return self._containers[ref.bucket].fetch(ref, max_bytes)
