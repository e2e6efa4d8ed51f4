"""Payload bytes in an S3 bucket, named by their sha256; fetches objects at the version named."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from plugins._stores.objects import LIBRARIES, Objects, archive_key, representable
from plugins._stores.s3 import BucketOptions, fetch_by_sdk, objects
from stoq_core.errors import ConfigError
from stoq_core.options import about
from stoq_core.payload import ObjectRef, Payload
from stoq_core.plugin import ArchiveContext, Archiver


class S3Options(BucketOptions, frozen=True):
    """A bucket and how keys are laid out."""

    layout: Annotated[Literal["sha256", "date"], about("fan out by digest, or by day")] = "sha256"


class S3(Archiver[S3Options]):
    """`PREFIX/ab/cd/SHA256`, created once however often the same bytes come."""

    libraries = LIBRARIES

    def open(self) -> None:
        """Clients are made for each bucket when it is first used."""
        self._buckets: dict[str, Objects] = {}

    def _bucket(self, name: str) -> Objects:
        if name not in self._buckets:
            self._buckets[name] = objects(self.options, name)
        return self._buckets[name]

    def archive(self, payload: Payload, context: ArchiveContext) -> dict[str, Any]:
        """Store the bytes; returns `{"bucket": …, "key": …}`."""
        if not self.options.bucket:
            message = f"archiver.{self.name}.bucket is not set, so nothing can be archived"
            raise ConfigError(message)
        key = archive_key(self.options.prefix, self.options.layout, context.sha256)
        self._bucket(self.options.bucket).create(key, payload.view())
        return {"bucket": self.options.bucket, "key": key}

    def get(self, ref: ObjectRef, max_bytes: int) -> Payload:
        """Fetch the version or ETag that the reference names."""
        if not representable(ref.key):
            return fetch_by_sdk(self.options, ref, max_bytes)
        return self._bucket(ref.bucket).fetch(ref, max_bytes)
