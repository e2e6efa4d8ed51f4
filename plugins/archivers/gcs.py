"""Payload bytes in a Google Cloud Storage bucket, named by sha256; fetches objects at their generation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from plugins._stores.gcs import Bucket, BucketOptions
from plugins._stores.objects import LIBRARIES, archive_key
from stoq_core.errors import ConfigError
from stoq_core.options import about
from stoq_core.payload import ObjectRef, Payload
from stoq_core.plugin import ArchiveContext, Archiver


class GcsOptions(BucketOptions, frozen=True):
    """A bucket and how keys are laid out."""

    layout: Annotated[Literal["sha256", "date"], about("fan out by digest, or by day")] = "sha256"


class Gcs(Archiver[GcsOptions]):
    """`PREFIX/ab/cd/SHA256`, created once however often the same bytes come."""

    libraries = LIBRARIES

    def open(self) -> None:
        """Clients are made for each bucket when it is first used."""
        self._buckets: dict[str, Bucket] = {}

    def _bucket(self, name: str) -> Bucket:
        if name not in self._buckets:
            self._buckets[name] = Bucket(self.options, name)
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
        """Fetch the generation that the reference names."""
        return self._bucket(ref.bucket).fetch(ref, max_bytes)
