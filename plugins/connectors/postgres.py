"""Results in PostgreSQL: tables of scans, payloads and findings, and each whole document as JSONB."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, TypeVar

import msgspec

from plugins._stores.postgres_tables import MIGRATIONS
from stoq_core.errors import ConfigError, StoreError
from stoq_core.options import Options, Secret, about
from stoq_core.plugin import Connector
from stoq_core.render import encode
from stoq_core.response import ScanResponse
from stoq_core.store import Summary, rank, summary_of
from stoq_core.values import plain_text

_CONNECT_S = 10
_STATEMENT_MS = 60_000
_FINDING_CHARS = 500  # an entry of an index holds 2,704 bytes
_LOCK = 0x73746F51  # any number that nobody else takes for an advisory lock
_PERMANENT = {"22", "23", "42", "0A"}
"""Classes of SQLSTATE (appendix A of PostgreSQL's manual) that another try does not change."""
_DENIED = "42501"
_T = TypeVar("_T")


class PostgresOptions(Options, frozen=True):
    """Where; the server may be one's own, Amazon RDS, Cloud SQL or Azure Database."""

    dsn: Annotated[
        Secret, about("a connection string of libpq; over TCP without sslmode it asks for TLS (require)")
    ]
    schema: Annotated[
        str, about("the schema of the tables; it is made where it is missing", min_length=1)
    ] = "stoq"
    migrate: Annotated[bool, about("make and update the tables; false where the role may not")] = True


class Postgres(Connector[PostgresOptions]):
    r"""A record is written in one transaction, over one that is at most as complete; a `ResultStore`.

    JSONB holds no NUL: one in the document stands there as the six characters `\u0000`.
    """

    libraries = {"psycopg": "the extra postgres (in each cloud's requirements)"}

    def __init__(self, options: PostgresOptions, name: str) -> None:
        """Connected when first used: on Google the process that has started is forked before it works."""
        super().__init__(options, name)
        self._db: Any = None
        self._lock = threading.Lock()

    def open(self) -> None:
        """Look at the connection string, so that a wrong one stops the start."""
        import psycopg
        from psycopg.conninfo import conninfo_to_dict

        try:
            conninfo_to_dict(self.options.dsn.reveal())
        except psycopg.ProgrammingError:
            # the library's own words would quote it
            raise ConfigError(f"connector.{self.name}.dsn is no connection string of libpq") from None

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def save(self, response: ScanResponse) -> None:
        """Store in one transaction, unless a more complete record of the scan stands there."""
        scan, payloads, findings = _rows(response)
        self._run(lambda db: _replace(db, response.scan_id, scan, payloads, findings))

    def begin_attempt(self, scan_id: str, until: float) -> float | None:
        """Put a mark, or the `until` of the one that stands (see `AttemptMarks`)."""
        row = self._run(
            lambda db: db.execute(
                "WITH put AS (INSERT INTO attempts VALUES (%(id)s, %(until)s)"
                " ON CONFLICT (scan_id) DO NOTHING RETURNING 1)"
                " SELECT until FROM attempts WHERE scan_id = %(id)s AND NOT EXISTS (SELECT FROM put)",
                {"id": scan_id, "until": until},
            ).fetchone()
        )
        return None if row is None else float(row[0])

    def end_attempt(self, scan_id: str, until: float) -> None:
        """Take that mark away."""
        self._run(
            lambda db: (
                db.execute(
                    "DELETE FROM attempts WHERE scan_id = %s AND until = %s", (scan_id, until)
                ).rowcount
            )
        )

    def get(self, scan_id: str) -> dict[str, Any] | None:
        """The whole document, or None."""
        found = self._run(
            lambda db: db.execute(
                "SELECT document::text FROM scans WHERE scan_id = %s", (scan_id,)
            ).fetchone()
        )
        return None if found is None else msgspec.json.decode(found[0])

    def list(self, limit: int, verdict: str | None = None) -> Iterator[Summary]:
        """The newest first."""
        yield from self._summaries(
            "%(verdict)s::text IS NULL OR verdict = %(verdict)s", limit, verdict=verdict
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
        conditions, values = ["true"], {}
        if sha256 is not None:
            conditions.append("scan_id IN (SELECT scan_id FROM payloads WHERE sha256 = %(sha256)s)")
            values["sha256"] = plain_text(sha256.lower())
        if name is not None:
            conditions.append("scan_id IN (SELECT scan_id FROM payloads WHERE name ILIKE %(name)s)")
            escaped = plain_text(name).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            values["name"] = f"%{escaped}%"
        if finding is not None:
            conditions.append("scan_id IN (SELECT scan_id FROM findings WHERE name = %(finding)s)")
            values["finding"] = plain_text(finding)[:_FINDING_CHARS]
        yield from self._summaries(" AND ".join(conditions), limit, **values)

    def _summaries(self, condition: str, limit: int, **values: Any) -> Sequence[Summary]:
        query = f"SELECT summary::text FROM scans WHERE ({condition}) ORDER BY time DESC LIMIT %(limit)s"  # noqa: S608 - fixed text
        rows = self._run(lambda db: db.execute(query, {**values, "limit": limit}).fetchall())
        return [msgspec.json.decode(row[0], type=Summary) for row in rows]

    def _run(self, work: Callable[[Any], _T]) -> _T:
        """In one transaction; on a connection that was lost since its last use, once more on a new one."""
        import psycopg

        with self._lock:
            try:
                again = self._db is not None
                try:
                    return self._transaction(work)
                except psycopg.OperationalError:
                    if not again or not self._db.broken:
                        raise
                    self._db = None
                    return self._transaction(work)
            except psycopg.Error as error:
                raise self._failure(error) from None

    def _transaction(self, work: Callable[[Any], _T]) -> _T:
        if self._db is None:
            self._db = self._connected()
        with self._db.transaction():
            self._prepare(self._db)
            return work(self._db)

    def _prepare(self, db: Any) -> None:
        # for this transaction alone, so that a pooler between us may hand the connection to others
        db.execute(
            "SELECT set_config('search_path', quote_ident(%s), true),"
            " set_config('statement_timeout', %s, true)",
            (self.options.schema, str(_STATEMENT_MS)),
        )

    def _connected(self) -> Any:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict

        asked: dict[str, Any] = {
            "sslmode": "require",
            "connect_timeout": _CONNECT_S,
            "application_name": "stoq",
        }
        asked |= conninfo_to_dict(self.options.dsn.reveal())
        # a prepared statement does not outlive the transaction behind a pooler
        db = psycopg.connect(**asked, autocommit=True, prepare_threshold=None)
        try:
            self._migrate(db)
        except BaseException:
            db.close()
            raise
        return db

    def _migrate(self, db: Any) -> None:
        """Each step once, whoever comes first; refuses tables of a newer stoQ."""
        from psycopg import sql

        with db.transaction():
            self._prepare(db)
            if self.options.migrate:
                db.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                db.execute(
                    sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self.options.schema))
                )
                db.execute("CREATE TABLE IF NOT EXISTS migrations (version integer PRIMARY KEY)")
            version = db.execute("SELECT coalesce(max(version), 0) FROM migrations").fetchone()[0]
            if version > len(MIGRATIONS):
                message = (
                    f"connector.{self.name}: the tables were made by a newer stoQ ({version}); use that one"
                )
                raise StoreError(message, retryable=False)
            if version < len(MIGRATIONS) and not self.options.migrate:
                message = (
                    f"connector.{self.name}: the tables are of version {version}; migrate = true updates them"
                )
                raise StoreError(message, retryable=False)
            for number, step in enumerate(MIGRATIONS[version:], version + 1):
                db.execute(step)
                db.execute("INSERT INTO migrations VALUES (%s)", (number,))

    def _failure(self, error: Any) -> StoreError:
        """Without the server's text, which may quote what was stored."""
        state = str(error.sqlstate or "")
        permanent = state[:2] in _PERMANENT and state != _DENIED
        message = f"connector.{self.name}: {type(error).__name__} {state}".rstrip()
        return StoreError(message, retryable=not permanent)


def _replace(
    db: Any,
    scan_id: str,
    scan: dict[str, Any],
    payloads: Sequence[Sequence[Any]],
    findings: Sequence[Sequence[Any]],
) -> None:
    """The condition is looked at under the row's lock, so of attempts that race the most complete stays."""
    columns = ", ".join(scan)
    places = ", ".join(f"%({one})s" for one in scan)
    changes = ", ".join(f"{one} = excluded.{one}" for one in scan)
    done = db.execute(
        f"INSERT INTO scans AS old ({columns}) VALUES ({places})"  # noqa: S608 - names of columns, fixed
        f" ON CONFLICT (scan_id) DO UPDATE SET {changes}"
        " WHERE (old.complete, old.examined, old.payloads)"
        " <= (excluded.complete, excluded.examined, excluded.payloads)",
        scan,
    )
    if not done.rowcount:
        return
    db.execute("DELETE FROM payloads WHERE scan_id = %s", (scan_id,))
    db.execute("DELETE FROM findings WHERE scan_id = %s", (scan_id,))
    cursor = db.cursor()
    with cursor.copy("COPY payloads FROM STDIN") as rows:
        for row in payloads:
            rows.write_row(row)
    with cursor.copy("COPY findings FROM STDIN") as rows:
        for row in findings:
            rows.write_row(row)


def _rows(
    response: ScanResponse,
) -> tuple[dict[str, Any], Sequence[Sequence[Any]], Sequence[Sequence[Any]]]:
    line, (complete, examined, count) = summary_of(response), rank(response)
    scan = {
        "scan_id": line.scan_id, "time": line.time, "verdict": line.verdict, "score": line.score,
        "complete": complete, "examined": examined, "payloads": count, "attempt": response.attempt,
        "ruleset": response.stats.ruleset, "summary": _json(msgspec.json.encode(line)),
        "document": _json(encode(response)),
    }  # fmt: skip
    payloads = [
        [
            line.scan_id, one.payload_id, one.sha256, one.size, plain_text(one.name), one.verdict,
            one.extracted_from, one.extracted_by,
        ]
        for one in response.results
    ]  # fmt: skip
    findings = [
        [
            line.scan_id, one.payload_id, plain_text(one.finding.name)[:_FINDING_CHARS], one.finding.score,
            one.plugin, plain_text(one.finding.detail),
        ]
        for one in (response.verdict.findings if response.verdict else ())
    ]  # fmt: skip
    return scan, payloads, findings


def _json(encoded: bytes) -> str:
    """What JSONB takes: it refuses NUL, which in JSON is always written as an escape."""
    if b"\\u0000" not in encoded:
        return encoded.decode()
    return msgspec.json.encode(_without_nul(msgspec.json.decode(encoded))).decode()


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, dict):
        return {plain_text(key): _without_nul(one) for key, one in value.items()}
    return [_without_nul(one) for one in value] if isinstance(value, list) else value
