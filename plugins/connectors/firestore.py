"""Results in Firestore: children first, the head last, never replaced by a lesser record."""

from __future__ import annotations

import hashlib
import random
import time
import zlib
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import msgspec

from stoq_core.errors import StoreError
from stoq_core.limits import KiB
from stoq_core.options import Options, about
from stoq_core.plugin import Connector
from stoq_core.render import encode
from stoq_core.response import ScanResponse
from stoq_core.store import Rank, Summary, holds, rank, summary_of

_CHUNK_BYTES = 900 * KiB  # a document holds 1 MiB, its name and its fields' names and all
_BATCH = 4  # parts in one request: it holds 10 MiB, the emulator's 4
_PAYLOADS = 2_000  # digests in one part: with their index entries well under the 40,000 of a document
_NAME_CHARS = 4_096
_FINDINGS = 1_000
_TRIES = 12
_LOSSES = 4  # in a row, before the next one waits longer
_SEARCHED = 1_000
_S = 60.0


class FirestoreOptions(Options, frozen=True):
    """Which collection; who may is the function's service account."""

    project: Annotated[str, about("empty: as the environment says")] = ""
    database: Annotated[str, about("the database", min_length=1)] = "(default)"
    collection: Annotated[str, about("the collection of results", pattern="^[^/]+$")] = "results"


class Firestore(Connector[FirestoreOptions]):
    """A document a scan, `COLLECTION/SCAN_ID`: the head; its parts are `TOKEN-doc-N`, `TOKEN-payloads-N`.

    The result is kept compressed and in pieces, whole whatever its size: a document of Firestore holds
    1 MiB and no list within a list, of which every result has some. The head holds the summary, the
    findings' names and the token of the attempt that counts. `FIRESTORE_EMULATOR_HOST` is the emulator's.

    One transaction looks at the standing head and at the attempt's own parts, makes it the head and
    deletes the parts of others. Transactions are serialisable, so an attempt whose parts were deleted by
    another's before it was the head notices and writes them again.
    """

    libraries = {"google.cloud.firestore": "the extra gcp (requirements-gcp.txt)"}

    def __init__(self, options: FirestoreOptions, name: str) -> None:
        """The client is made when first used: it starts threads, and Google forks before it works."""
        super().__init__(options, name)
        self._made: Any = None

    def _client(self) -> Any:
        if self._made is None:
            from google.cloud.firestore import Client

            self._made = Client(project=self.options.project or None, database=self.options.database)
        return self._made

    def close(self) -> None:
        """Close the channel."""
        if self._made is not None:
            self._made.close()
            self._made = None

    def _head(self, scan_id: str) -> Any:
        return self._client().collection(self.options.collection).document(scan_id)

    def save(self, response: ScanResponse) -> None:
        """Write the parts, then the head on condition; what no head names is deleted."""
        token = _token(response)
        parts = _parts(response, token)
        try:
            for attempt in range(_TRIES):
                if self._attempt(response, token, parts):
                    return
                time.sleep(0.05 * 1.7**attempt * random.uniform(0.5, 1))  # noqa: S311 - to stand apart
        except _errors() as error:
            raise self._failure(error) from None
        message = f"connector.{self.name}: others kept writing the same record"
        raise StoreError(message, retryable=True)

    def _attempt(self, response: ScanResponse, token: str, parts: dict[str, dict[str, Any]]) -> bool:
        """Write all; False if another writer stood in the way, so that it must be tried again."""
        from google.api_core.exceptions import Aborted

        try:
            self._write(response.scan_id, parts)
            return self._settle(response, token, set(parts))
        except (Aborted, ValueError):  # ValueError: the SDK's word for a transaction that lost each time
            return False

    def _write(self, scan_id: str, parts: dict[str, dict[str, Any]]) -> None:
        folder = self._head(scan_id).collection("parts")
        names = list(parts)
        for at in range(0, len(names), _BATCH):
            batch = self._client().batch()
            for name in names[at : at + _BATCH]:
                batch.set(folder.document(name), parts[name])
            batch.commit(timeout=_S)

    def _settle(self, response: ScanResponse, token: str, own: set[str]) -> bool:
        """False if parts of this attempt are gone, so that nothing was changed."""
        from google.cloud.firestore import transactional

        head = self._head(response.scan_id)
        made = _head_of(response, token, sorted(own))

        @transactional  # type: ignore[untyped-decorator,unused-ignore]
        def settle(transaction: Any) -> bool:
            standing = head.get(transaction=transaction).to_dict()
            there = list(head.collection("parts").select([]).get(transaction=transaction))
            if not own <= {one.id for one in there}:
                return False
            loses = standing is not None and standing["rank"] > made["rank"]
            keeps = standing["token"] if loses else token
            for one in there:
                if one.id.partition("-")[0] != keeps:
                    transaction.delete(one.reference)
            if not loses:
                transaction.set(head, made)
            return True

        return bool(settle(self._client().transaction(max_attempts=_LOSSES)))

    def begin_attempt(self, scan_id: str, until: float) -> float | None:
        """Put a mark, or the `until` of the one that stands (see `AttemptMarks`)."""
        from google.api_core.exceptions import AlreadyExists

        mark = self._mark(scan_id)
        try:
            try:
                mark.create({"until": until}, timeout=_S)
            except AlreadyExists:
                standing = mark.get(timeout=_S).to_dict()
                return None if standing is None else float(standing["until"])
        except _errors() as error:
            raise self._failure(error) from None
        return None

    def end_attempt(self, scan_id: str, until: float) -> None:
        """Take that mark away."""
        try:
            standing = self._mark(scan_id).get(timeout=_S).to_dict()
            if standing is not None and standing["until"] == until:
                self._mark(scan_id).delete(timeout=_S)
        except _errors() as error:
            raise self._failure(error) from None

    def _mark(self, scan_id: str) -> Any:
        return self._head(scan_id).collection("attempts").document("attempt")

    def get(self, scan_id: str) -> dict[str, Any] | None:
        """The whole document that the head names, or None."""
        try:
            for _ in range(_TRIES):
                head = self._head(scan_id).get(timeout=_S).to_dict()
                if head is None:
                    return None
                pieces = [one for one in head["parts"] if "-doc-" in one]
                folder = self._head(scan_id).collection("parts")
                found = self._client().get_all([folder.document(one) for one in pieces], timeout=_S)
                data = {one.id: one.get("data") for one in found if one.exists}
                if len(data) == len(pieces):
                    return _unpacked(b"".join(bytes(data[one]) for one in pieces))
        except _errors() as error:
            raise self._failure(error) from None
        # each time another attempt took the head's place between the two reads
        message = f"connector.{self.name}: others kept writing the record that was read"
        raise StoreError(message, retryable=True)

    def list(self, limit: int, verdict: str | None = None) -> Iterator[Summary]:
        """The newest first, of one verdict or all."""
        query = self._client().collection(self.options.collection)
        if verdict is not None:
            query = query.where(filter=_is("verdict", "==", verdict))
        yield from self._summaries(query.order_by("time", direction="DESCENDING").limit(limit))

    def _summaries(self, query: Any) -> Sequence[Summary]:
        try:
            found = [one.get("summary") for one in query.select(["summary"]).stream(timeout=_S)]
        except _errors() as error:
            raise self._failure(error) from None
        return [msgspec.convert(one, Summary) for one in found]

    def search(
        self,
        *,
        sha256: str | None = None,
        name: str | None = None,
        finding: str | None = None,
        limit: int = 20,
    ) -> Iterator[Summary]:
        """By digest or finding through their indexes; names are looked for among the newest results."""
        lines = self._candidates(sha256, finding)
        for line in sorted(lines, key=lambda one: one.time, reverse=True):
            if limit <= 0:
                return
            document = self.get(line.scan_id)
            if document is not None and holds(document, sha256=sha256, name=name, finding=finding):
                limit -= 1
                yield line

    def _candidates(self, sha256: str | None, finding: str | None) -> Sequence[Summary]:
        heads = self._client().collection(self.options.collection)
        if sha256 is None and finding is None:
            return list(self.list(_SEARCHED))
        if sha256 is None:
            query = heads.where(filter=_is("findings", "array_contains", (finding or "")[:_NAME_CHARS]))
            return self._summaries(query.limit(_SEARCHED))
        query = self._client().collection_group("parts")
        query = query.where(filter=_is("sha256s", "array_contains", sha256.lower()))
        try:
            scans = {one.reference.parent.parent.id for one in query.select([]).stream(timeout=_S)}
            found = self._client().get_all([heads.document(one) for one in sorted(scans)], timeout=_S)
            return [msgspec.convert(one.get("summary"), Summary) for one in found if one.exists]
        except _errors() as error:
            raise self._failure(error) from None

    def _failure(self, error: Exception) -> StoreError:
        """Without the server's text, which may quote what was stored."""
        from google.api_core.exceptions import FailedPrecondition, InvalidArgument, NotFound

        if isinstance(error, StoreError):
            return error
        message = f"connector.{self.name}: {type(error).__name__}"
        return StoreError(
            message, retryable=not isinstance(error, (FailedPrecondition, InvalidArgument, NotFound))
        )


def _errors() -> tuple[type[Exception], ...]:
    """What the SDK raises, asked for when something was; a transaction that lost too often: ValueError."""
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    return (StoreError, GoogleAPIError, GoogleAuthError, ValueError)


def _is(field: str, how: str, value: str) -> Any:
    from google.cloud.firestore import FieldFilter

    return FieldFilter(field, how, value)


def _token(response: ScanResponse) -> str:
    """What tells attempts apart: a digest of all but time and cost, so equal results share their parts."""
    bare = msgspec.structs.replace(response, time="", stats=type(response.stats)(), attempt=0)
    return hashlib.sha256(encode(bare)).hexdigest()[:16]


def _parts(response: ScanResponse, token: str) -> dict[str, dict[str, Any]]:
    packed = zlib.compress(encode(response), 6)
    pieces = range(0, len(packed), _CHUNK_BYTES)
    parts: dict[str, dict[str, Any]] = {
        f"{token}-doc-{n:05d}": {"data": packed[at : at + _CHUNK_BYTES]} for n, at in enumerate(pieces)
    }
    digests = list(dict.fromkeys(one.sha256 for one in response.results if one.sha256))
    for n, at in enumerate(range(0, len(digests), _PAYLOADS)):
        parts[f"{token}-payloads-{n:05d}"] = {"sha256s": digests[at : at + _PAYLOADS]}
    return parts


def _head_of(response: ScanResponse, token: str, parts: Sequence[str]) -> dict[str, Any]:
    line = summary_of(response)
    line = msgspec.structs.replace(line, name=line.name[:_NAME_CHARS])
    found = response.verdict.findings if response.verdict else ()
    names = dict.fromkeys(one.finding.name[:_NAME_CHARS] for one in found)
    return {
        "token": token,
        "parts": list(parts),
        "rank": _rank_number(rank(response)),
        "attempt": response.attempt,
        "ruleset": response.stats.ruleset,
        "verdict": line.verdict,
        "time": line.time,
        "findings": list(names)[:_FINDINGS],
        "summary": msgspec.to_builtins(line),
    }


def _rank_number(one: Rank) -> int:
    return (int(one[0]) << 48) + (one[1] << 24) + one[2]


def _unpacked(packed: bytes) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(zlib.decompress(packed))
    return found
