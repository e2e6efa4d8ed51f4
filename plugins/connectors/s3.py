"""Results in an S3 bucket: one JSON document a scan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plugins._stores.objects import LIBRARIES, DocumentStore
from plugins._stores.s3 import BucketOptions, objects
from stoq_core.errors import ConfigError
from stoq_core.plugin import Connector
from stoq_core.response import ScanResponse
from stoq_core.store import Summary


class S3(Connector[BucketOptions]):
    """`PREFIX/SCAN_ID.json`, replaced only by a record at least as complete; a `ResultStore`."""

    libraries = LIBRARIES

    def open(self) -> None:
        """Make the client."""
        if not self.options.bucket:
            message = f"connector.{self.name}.bucket is not set"
            raise ConfigError(message)
        self._documents = DocumentStore(objects(self.options, self.options.bucket), self.options.prefix)

    def save(self, response: ScanResponse) -> None:
        """Write it, unless a more complete record stands there."""
        self._documents.save(response)

    def begin_attempt(self, scan_id: str, until: float) -> float | None:
        """Put a mark, or the `until` of the one that stands (see `AttemptMarks`)."""
        return self._documents.begin_attempt(scan_id, until)

    def end_attempt(self, scan_id: str, until: float) -> None:
        """Take that mark away."""
        self._documents.end_attempt(scan_id, until)

    def get(self, scan_id: str) -> dict[str, Any] | None:
        """The whole document, or None."""
        return self._documents.get(scan_id)

    def list(self, limit: int, verdict: str | None = None) -> Iterator[Summary]:
        """The newest first."""
        return self._documents.list(limit, verdict)

    def search(
        self,
        *,
        sha256: str | None = None,
        name: str | None = None,
        finding: str | None = None,
        limit: int = 20,
    ) -> Iterator[Summary]:
        """Results that hold all that is given."""
        return self._documents.search(limit, sha256=sha256, name=name, finding=finding)
