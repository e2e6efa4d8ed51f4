"""Results in one SQLite file: the embedded default, which `stoq results` asks."""

from __future__ import annotations

import os
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec

from stoq_core.errors import StoreError
from stoq_core.options import Options, about
from stoq_core.plugin import Connector
from stoq_core.render import encode
from stoq_core.response import ScanResponse
from stoq_core.store import Summary, rank, summary_of

_VERSION = 2
_BUSY_S = 30.0
_TABLES = """
CREATE TABLE IF NOT EXISTS scans (
    scan_id TEXT PRIMARY KEY, time TEXT NOT NULL, verdict TEXT NOT NULL, score INTEGER NOT NULL,
    complete INTEGER NOT NULL, examined INTEGER NOT NULL, payloads INTEGER NOT NULL, name TEXT NOT NULL,
    sha256 TEXT NOT NULL, size INTEGER NOT NULL, source TEXT, document BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS scans_by_time ON scans (time DESC);
CREATE TABLE IF NOT EXISTS payloads (
    payload_id TEXT NOT NULL, scan_id TEXT NOT NULL REFERENCES scans ON DELETE CASCADE,
    sha256 TEXT NOT NULL, size INTEGER NOT NULL, name TEXT NOT NULL, verdict TEXT NOT NULL,
    extracted_from TEXT, extracted_by TEXT, PRIMARY KEY (scan_id, payload_id)
) STRICT;
CREATE INDEX IF NOT EXISTS payloads_by_sha256 ON payloads (sha256);
CREATE TABLE IF NOT EXISTS findings (
    scan_id TEXT NOT NULL REFERENCES scans ON DELETE CASCADE, payload_id TEXT, name TEXT NOT NULL,
    score INTEGER NOT NULL, plugin TEXT NOT NULL, detail TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS findings_by_name ON findings (name);
CREATE INDEX IF NOT EXISTS findings_by_scan ON findings (scan_id);
CREATE TABLE IF NOT EXISTS attempts (scan_id TEXT PRIMARY KEY, until REAL NOT NULL) STRICT;
"""
_COLUMNS = "scan_id, time, verdict, score, complete, name, sha256, size, payloads, source"


class SqliteOptions(Options, frozen=True):
    """Where the file is."""

    path: Annotated[str, about("the database file; it is made where it is missing")] = "~/.stoq/results.db"


class Sqlite(Connector[SqliteOptions]):
    """Tables scans, payloads and findings, and each whole document; a `ResultStore`."""

    def __init__(self, options: SqliteOptions, name: str) -> None:
        """The file is opened by `open`."""
        super().__init__(options, name)
        self._db: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    def open(self) -> None:
        """Make the file and its tables where they are missing."""
        path = Path(self.options.path).expanduser()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not path.exists():
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
            db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            db.execute("PRAGMA journal_mode = WAL")
            # a commit is ten times as fast; what a power cut (never a crash) may lose are the last commits
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA foreign_keys = ON")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > _VERSION:
                message = f"{path} was written by a newer stoQ (version {version}); use that one"
                raise StoreError(message, retryable=False)
            db.executescript(_TABLES)
            db.execute(f"PRAGMA user_version = {_VERSION}")
        except (OSError, sqlite3.Error) as error:
            message = f"connector.{self.name}: {path} cannot be used: {error}"
            raise StoreError(message, retryable=False) from None
        self._db = db

    def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def save(self, response: ScanResponse) -> None:
        """Store in one transaction, unless a more complete record of the scan stands there."""
        with self._lock:
            self._save(self._opened(), response)

    def _save(self, db: sqlite3.Connection, response: ScanResponse) -> None:
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                self._replace(db, response)
                db.execute("COMMIT")
            except BaseException:
                db.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            message = f"connector.{self.name}: {error}"
            raise StoreError(message, retryable=True) from None

    def _replace(self, db: sqlite3.Connection, response: ScanResponse) -> None:
        new = rank(response)
        row = db.execute(
            "SELECT complete, examined, payloads FROM scans WHERE scan_id = ?", (response.scan_id,)
        ).fetchone()
        if row is not None and (bool(row[0]), row[1], row[2]) > new:
            return
        db.execute("DELETE FROM scans WHERE scan_id = ?", (response.scan_id,))
        line = summary_of(response)
        db.execute(
            "INSERT INTO scans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                line.scan_id, line.time, line.verdict, line.score, int(new[0]), new[1], new[2], line.name,
                line.sha256, line.size, line.source, zlib.compress(encode(response), 6),
            ),
        )  # fmt: skip
        db.executemany(
            "INSERT INTO payloads VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    one.payload_id, line.scan_id, one.sha256, one.size, one.name, one.verdict,
                    one.extracted_from, one.extracted_by,
                )
                for one in response.results
            ),
        )  # fmt: skip
        db.executemany(
            "INSERT INTO findings VALUES (?, ?, ?, ?, ?, ?)",
            (
                (
                    line.scan_id,
                    one.payload_id,
                    one.finding.name,
                    one.finding.score,
                    one.plugin,
                    one.finding.detail,
                )
                for one in (response.verdict.findings if response.verdict else ())
            ),
        )

    def begin_attempt(self, scan_id: str, until: float) -> float | None:
        """Put a mark, or the `until` of the one that stands (see `AttemptMarks`)."""
        try:
            with self._lock:
                db = self._opened()
                put = db.execute("INSERT OR IGNORE INTO attempts VALUES (?, ?)", (scan_id, until)).rowcount
                if put:
                    return None
                row = db.execute("SELECT until FROM attempts WHERE scan_id = ?", (scan_id,)).fetchone()
        except sqlite3.OperationalError as error:
            raise StoreError(f"connector.{self.name}: {error}", retryable=True) from None
        return None if row is None else float(row[0])

    def end_attempt(self, scan_id: str, until: float) -> None:
        """Take that mark away."""
        try:
            with self._lock:
                self._opened().execute(
                    "DELETE FROM attempts WHERE scan_id = ? AND until = ?", (scan_id, until)
                )
        except sqlite3.OperationalError as error:
            raise StoreError(f"connector.{self.name}: {error}", retryable=True) from None

    def get(self, scan_id: str) -> dict[str, Any] | None:
        """The whole document, or None."""
        rows = self._ask("SELECT document FROM scans WHERE scan_id = ?", (scan_id,))
        return msgspec.json.decode(zlib.decompress(rows[0][0])) if rows else None

    def list(self, limit: int, verdict: str | None = None) -> Iterator[Summary]:
        """The newest first."""
        where, values = ("WHERE verdict = ?", [verdict]) if verdict else ("", [])
        yield from self._summaries(
            f"SELECT {_COLUMNS} FROM scans {where} ORDER BY time DESC LIMIT ?",  # noqa: S608 - fixed text
            [*values, limit],
        )

    def search(
        self,
        *,
        sha256: str | None = None,
        name: str | None = None,
        finding: str | None = None,
        limit: int = 20,
    ) -> Iterator[Summary]:
        """Results that hold all that is given."""
        conditions, values = ["1"], []
        if sha256 is not None:
            conditions.append("scan_id IN (SELECT scan_id FROM payloads WHERE sha256 = ?)")
            values.append(sha256.lower())
        if name is not None:
            conditions.append("scan_id IN (SELECT scan_id FROM payloads WHERE name LIKE ? ESCAPE '\\')")
            escaped = name.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            values.append(f"%{escaped}%")
        if finding is not None:
            conditions.append("scan_id IN (SELECT scan_id FROM findings WHERE name = ?)")
            values.append(finding)
        where = " AND ".join(conditions)
        yield from self._summaries(
            f"SELECT {_COLUMNS} FROM scans WHERE {where} ORDER BY time DESC LIMIT ?",  # noqa: S608 - fixed text
            [*values, limit],
        )

    def _summaries(self, query: str, values: Sequence[Any]) -> Iterator[Summary]:
        names = _COLUMNS.split(", ")
        for row in self._ask(query, values):
            facts = dict(zip(names, row, strict=True))
            yield Summary(**{**facts, "complete": bool(facts["complete"])})

    def _ask(self, query: str, values: Sequence[Any]) -> Sequence[Any]:
        """All rows; never those of a transaction that another thread has not ended on this connection."""
        with self._lock:
            return self._opened().execute(query, values).fetchall()

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            self.open()
        assert self._db is not None
        return self._db
