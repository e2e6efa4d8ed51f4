"""Results in a Cosmos DB container: children first, the head last, never replaced by a lesser record."""

from __future__ import annotations

import base64
import contextlib
import time
import uuid
import zlib
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import msgspec

from plugins._stores.azure_identity import LIBRARIES, identity
from stoq_core.errors import StoreError
from stoq_core.limits import MiB
from stoq_core.options import Options, Secret, about
from stoq_core.plugin import Connector
from stoq_core.render import encode
from stoq_core.response import ScanResponse
from stoq_core.store import Rank, Summary, holds, rank, summary_of

_CHUNK_BYTES = MiB  # an item holds 2 MB of JSON, in which base64 makes four bytes of three
_PAYLOADS = 200  # in an item, each with a digest and at most 4 KB of name
_NAME_CHARS = 1024
_TRIES = 8
_SEARCHED = 1_000


class CosmosdbOptions(Options, frozen=True):
    """Which container; who may is the function's managed identity, or whoever holds the key."""

    endpoint: Annotated[
        str, about("the account's address, https://NAME.documents.azure.com", pattern="^https?://")
    ]
    database: Annotated[str, about("the database", min_length=1)] = "stoq"
    container: Annotated[str, about("the container: its partition key is /scan_id", min_length=1)] = "results"
    key: Annotated[
        Secret | None, about("the account's key, where identities are not known (an emulator)")
    ] = None


class Cosmosdb(Connector[CosmosdbOptions]):
    """Items of one scan share `scan_id`; an `id` is `head`, `doc.TOKEN.N` or `payloads.TOKEN.N`.

    Each attempt to save has a token of its own and the head names the one that counts, so no attempt
    writes over another's parts and readers never mix two. The document is stored compressed and in
    pieces, whole whatever its size; digests and names of its payloads stand in the `payloads` items,
    where searches find them.

    An attempt's parts may be swept by another's until its head stands. So a head that took another's
    place has its parts written once more, and a sweep deletes only what is still as it was *before*
    it looked which head stands: between the two nothing that a head names is lost.
    """

    libraries = {"azure.cosmos": "the extra azure (requirements-azure.txt)", **LIBRARIES}

    def __init__(self, options: CosmosdbOptions, name: str) -> None:
        """The client is made when it is first needed: it asks the account where it is."""
        super().__init__(options, name)
        self._client: Any = None

    def _items(self) -> Any:
        if self._client is None:
            from azure.cosmos import CosmosClient

            key = self.options.key
            self._client = CosmosClient(
                self.options.endpoint,
                key.reveal() if key else identity(),
                # the emulator names another address than the one it is reached at
                enable_endpoint_discovery=not self.options.endpoint.startswith("http://"),
            )
        return self._client.get_database_client(self.options.database).get_container_client(
            self.options.container
        )

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.__exit__(None, None, None)

    def save(self, response: ScanResponse) -> None:
        """Write the parts, then the head on condition, then delete what nothing names any more."""
        token = uuid.uuid4().hex[:16]
        pieces = _pieces(response, token)
        parts = [*pieces, *_searchable(response, token)]
        try:
            self._write(parts)
            if self._write_head(_head_item(response, token, len(pieces))):
                self._write(parts)
            self._sweep(response.scan_id)
        except _errors() as error:
            raise self._failure(error) from None

    def _write(self, parts: list[dict[str, Any]]) -> None:
        items = self._items()
        for one in parts:
            items.upsert_item(one)

    def _write_head(self, head: dict[str, Any]) -> bool:
        """True if it took the place of another attempt's; a more complete one stays."""
        from azure.core import MatchConditions
        from azure.cosmos import exceptions

        for _ in range(_TRIES):
            standing = self._head(head["scan_id"])
            try:
                if standing is None:
                    self._items().create_item(head)
                    return False
                if standing["rank"] > head["rank"]:
                    return False
                pin = {"etag": standing["_etag"], "match_condition": MatchConditions.IfNotModified}
                self._items().replace_item("head", head, **pin)
                return bool(standing["token"] != head["token"])
            except (exceptions.CosmosResourceExistsError, exceptions.CosmosAccessConditionFailedError):
                continue  # another attempt was first: look again at what stands there
        message = f"connector.{self.name}: others kept writing the same record"
        raise StoreError(message, retryable=True)

    def _sweep(self, scan_id: str) -> None:
        """Delete the parts of attempts that the head does not name."""
        from azure.core import MatchConditions
        from azure.cosmos import exceptions

        parts = self._of(
            scan_id, "SELECT c.id, c._etag FROM c WHERE c.scan_id = @scan_id AND CONTAINS(c.id, '.')"
        )
        head = self._head(scan_id)  # after the parts: see the class
        for one in parts:
            if head is None or one["id"].split(".")[1] == head["token"]:
                continue
            pin = {"etag": one["_etag"], "match_condition": MatchConditions.IfNotModified}
            try:
                self._items().delete_item(one["id"], scan_id, **pin)
            except (exceptions.CosmosResourceNotFoundError, exceptions.CosmosAccessConditionFailedError):
                continue  # swept by another, or written anew since

    def begin_attempt(self, scan_id: str, until: float) -> float | None:
        """Put a mark, or the `until` of the one that stands (see `AttemptMarks`)."""
        from azure.cosmos import exceptions

        try:
            try:
                self._items().create_item(
                    {"id": "attempt", "scan_id": scan_id, "kind": "attempt", "until": until}
                )
            except exceptions.CosmosResourceExistsError:
                standing = self._standing_mark(scan_id)
                return None if standing is None else float(standing["until"])
        except _errors() as error:
            raise self._failure(error) from None
        return None

    def end_attempt(self, scan_id: str, until: float) -> None:
        """Take that mark away."""
        from azure.cosmos import exceptions

        try:
            standing = self._standing_mark(scan_id)
            if standing is not None and float(standing["until"]) == until:
                with contextlib.suppress(exceptions.CosmosResourceNotFoundError):
                    self._items().delete_item("attempt", scan_id)
        except _errors() as error:
            raise self._failure(error) from None

    def _standing_mark(self, scan_id: str) -> dict[str, Any] | None:
        found = self._of(scan_id, "SELECT * FROM c WHERE c.scan_id = @scan_id AND c.id = 'attempt'")
        return found[0] if found else None

    def _of(self, scan_id: str, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """The items of one scan."""
        return self._query(query, partition_key=scan_id, scan_id=scan_id, **parameters)

    def _query(
        self, query: str, *, partition_key: str | None = None, **parameters: Any
    ) -> list[dict[str, Any]]:
        where: dict[str, Any] = {"enable_cross_partition_query": True}
        if partition_key is not None:
            where = {"partition_key": partition_key}
        named = [{"name": f"@{name}", "value": value} for name, value in parameters.items()]
        return list(self._items().query_items(query, parameters=named, **where))

    def _head(self, scan_id: str) -> dict[str, Any] | None:
        found = self._of(scan_id, "SELECT * FROM c WHERE c.scan_id = @scan_id AND c.id = 'head'")
        return found[0] if found else None

    def get(self, scan_id: str) -> dict[str, Any] | None:
        """The whole document that the head names, or None."""
        query = "SELECT c.id, c.data FROM c WHERE c.scan_id = @scan_id AND STARTSWITH(c.id, @prefix)"
        try:
            for again in range(_TRIES):
                head = self._head(scan_id)
                if head is None:
                    return None
                pieces = self._of(scan_id, query, prefix=f"doc.{head['token']}.")
                if len(pieces) == head["pieces"]:
                    return _document(pieces)
                time.sleep(0.05 * again)  # another head has just taken its place
        except _errors() as error:
            raise self._failure(error) from None
        message = f"connector.{self.name}: pieces of the record are missing"
        raise StoreError(message, retryable=True)

    def list(self, limit: int, verdict: str | None = None) -> Iterator[Summary]:
        """The newest first, of one verdict or all."""
        yield from (_summary(one) for one in self._heads(limit, "c.verdict = @word", verdict))

    def _heads(self, limit: int, condition: str, word: str | None) -> Sequence[dict[str, Any]]:
        """The newest heads; all where there is no word for the condition."""
        where = "c.kind = 'head'" + (f" AND {condition}" if word is not None else "")
        named = {} if word is None else {"word": word}
        query = f"SELECT TOP {int(limit)} c.scan_id, c.summary FROM c WHERE {where} ORDER BY c.time DESC"  # noqa: S608 - our own words and a number
        try:
            return self._query(query, **named)
        except _errors() as error:
            raise self._failure(error) from None

    def search(
        self,
        *,
        sha256: str | None = None,
        name: str | None = None,
        finding: str | None = None,
        limit: int = 20,
    ) -> Iterator[Summary]:
        """By digest, else by name, else by finding, through the index; the rest is then looked at."""
        if sha256 is not None:
            sha256 = sha256.lower()
            ids = self._scans_with("ARRAY_CONTAINS(c.sha256, @word)", sha256)
        elif name is not None:
            ids = self._scans_with("CONTAINS(c.names, @word)", name.lower()[:_NAME_CHARS])
        else:
            heads = self._heads(_SEARCHED, "ARRAY_CONTAINS(c.findings, @word)", finding)
            ids = [str(one["scan_id"]) for one in heads]
        for scan_id in ids:
            if limit <= 0:
                return
            head, document = self._head(scan_id), self.get(scan_id)
            if head and document and holds(document, sha256=sha256, name=name, finding=finding):
                limit -= 1
                yield _summary(head)

    def _scans_with(self, condition: str, word: str) -> Sequence[str]:
        query = f"SELECT c.scan_id FROM c WHERE c.kind = 'payloads' AND {condition}"  # noqa: S608 - our own words
        try:
            return tuple(dict.fromkeys(str(one["scan_id"]) for one in self._query(query, word=word)))
        except _errors() as error:
            raise self._failure(error) from None

    def _failure(self, error: Exception) -> StoreError:
        if isinstance(error, StoreError):
            return error
        status = getattr(error, "status_code", None)
        message = (
            f"connector.{self.name}: container {self.options.container}: {type(error).__name__} {status}"
        )
        return StoreError(message, retryable=status not in (400, 404, 413))


def _errors() -> tuple[type[Exception], ...]:
    """What the SDK raises; asked for when something was raised, so nothing is imported before."""
    from azure.core.exceptions import AzureError

    return (StoreError, AzureError)


def _rank_number(one: Rank) -> int:
    return (int(one[0]) << 48) + (one[1] << 24) + one[2]


def _pieces(response: ScanResponse, token: str) -> list[dict[str, Any]]:
    """The document, compressed and cut."""
    packed = zlib.compress(encode(response), 6)
    return [
        {
            "id": f"doc.{token}.{at // _CHUNK_BYTES:05d}",
            "scan_id": response.scan_id,
            "kind": "doc",
            "data": base64.b64encode(packed[at : at + _CHUNK_BYTES]).decode(),
        }
        for at in range(0, len(packed), _CHUNK_BYTES)
    ]


def _document(pieces: list[dict[str, Any]]) -> dict[str, Any]:
    pieces.sort(key=lambda one: str(one["id"]))
    packed = b"".join(base64.b64decode(one["data"]) for one in pieces)
    found: dict[str, Any] = msgspec.json.decode(zlib.decompress(packed))
    return found


def _searchable(response: ScanResponse, token: str) -> Iterator[dict[str, Any]]:
    """What can be searched of the payloads; the rest is in the document."""
    for at in range(0, len(response.results), _PAYLOADS):
        some = response.results[at : at + _PAYLOADS]
        yield {
            "id": f"payloads.{token}.{at // _PAYLOADS:05d}",
            "scan_id": response.scan_id,
            "kind": "payloads",
            "sha256": [one.sha256 for one in some if one.sha256],
            "names": "\n".join(one.name.lower()[:_NAME_CHARS] for one in some),
        }


def _head_item(response: ScanResponse, token: str, pieces: int) -> dict[str, Any]:
    line = summary_of(response)
    found = response.verdict.findings if response.verdict else []
    return {
        "id": "head",
        "scan_id": line.scan_id,
        "kind": "head",
        "token": token,
        "pieces": pieces,
        "rank": _rank_number(rank(response)),
        "attempt": response.attempt,
        "ruleset": response.stats.ruleset,
        "verdict": line.verdict,
        "time": line.time,
        "findings": sorted({one.finding.name for one in found}),
        "summary": msgspec.to_builtins(line),
        "payload_ids": [one.payload_id for one in response.results],
    }


def _summary(head: dict[str, Any]) -> Summary:
    return msgspec.convert(head["summary"], Summary)
