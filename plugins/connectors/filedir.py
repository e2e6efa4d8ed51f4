"""Results in a folder: one JSON file a scan."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec

from plugins._stores.files import write_whole
from stoq_core.errors import StoreError
from stoq_core.options import Options, about
from stoq_core.plugin import Connector
from stoq_core.render import encode
from stoq_core.response import ScanResponse
from stoq_core.store import Summary, holds, rank, rank_of_document, summary_of_document


class FiledirOptions(Options, frozen=True):
    """Where."""

    path: Annotated[str, about("the folder; it is made where it is missing", min_length=1)] = "results"


class Filedir(Connector[FiledirOptions]):
    """`PATH/SCAN_ID.json`, replaced only by a record at least as complete; a `ResultStore`."""

    def open(self) -> None:
        """Make the folder."""
        self._folder = Path(self.options.path).expanduser()
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            message = f"connector.{self.name}: {self._folder} cannot be made: {error.strerror}"
            raise StoreError(message, retryable=False) from None

    def save(self, response: ScanResponse) -> None:
        """Write it, unless a more complete record stands there."""
        try:
            with self._locked():
                standing = self.get(response.scan_id)
                if standing is None or rank_of_document(standing) <= rank(response):
                    write_whole(self._file(response.scan_id), [encode(response)])
        except OSError as error:
            raise self._failure(error) from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _file(self, scan_id: str) -> Path:
        return self._folder / f"{Path(scan_id).name}.json"

    def begin_attempt(self, scan_id: str, until: float) -> float | None:
        """Put a mark, or the `until` of the one that stands (see `AttemptMarks`)."""
        mark = self._file(scan_id).with_suffix(".attempt")
        try:
            with self._locked():
                if mark.exists():
                    return float(mark.read_bytes())
                write_whole(mark, [repr(until).encode()])
        except OSError as error:
            raise self._failure(error) from None
        return None

    def end_attempt(self, scan_id: str, until: float) -> None:
        """Take that mark away."""
        mark = self._file(scan_id).with_suffix(".attempt")
        try:
            with self._locked():
                if mark.exists() and float(mark.read_bytes()) == until:
                    mark.unlink()
        except OSError as error:
            raise self._failure(error) from None

    def _failure(self, error: OSError) -> StoreError:
        message = f"connector.{self.name}: {self._folder}: {error.strerror or error}"
        return StoreError(message, retryable=True)

    def get(self, scan_id: str) -> dict[str, Any] | None:
        """The whole document, or None."""
        try:
            found: dict[str, Any] = msgspec.json.decode(self._file(scan_id).read_bytes())
        except FileNotFoundError:
            return None
        return found

    def _documents(self) -> Iterator[dict[str, Any]]:
        files = sorted(self._folder.glob("*.json"), key=lambda file: -file.stat().st_mtime_ns)
        for file in files:
            found = self.get(file.stem)
            if found is not None:
                yield found

    def list(self, limit: int, verdict: str | None = None) -> Iterator[Summary]:
        """The newest first."""
        for document in self._documents():
            line = summary_of_document(document)
            if limit and verdict in (None, line.verdict):
                limit -= 1
                yield line

    def search(
        self,
        *,
        sha256: str | None = None,
        name: str | None = None,
        finding: str | None = None,
        limit: int = 20,
    ) -> Iterator[Summary]:
        """Reads every file; for more than some thousand results use a database."""
        for document in self._documents():
            if limit and holds(document, sha256=sha256, name=name, finding=finding):
                limit -= 1
                yield summary_of_document(document)
