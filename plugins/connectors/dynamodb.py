"""Results in a DynamoDB table: children first, the head last, never replaced by a lesser record."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import msgspec

from stoq_core.errors import StoreError
from stoq_core.limits import KiB
from stoq_core.options import Options, about
from stoq_core.plugin import Connector
from stoq_core.render import encode, flat_documents
from stoq_core.response import ScanResponse
from stoq_core.store import Rank, Summary, rank, summary_of

_CHUNK_BYTES = 300 * KiB  # an item holds 400 KB, attributes' names and all
_BATCH = 25
_TRIES = 8


class DynamodbOptions(Options, frozen=True):
    """Which table; who may is the platform's role."""

    table: Annotated[str, about("the table: keys scan_id (hash) and part (range)", min_length=1)]
    region: Annotated[str, about("empty: as the environment says")] = ""
    endpoint: Annotated[str, about("another endpoint than AWS's, such as an emulator's")] = ""


class Dynamodb(Connector[DynamodbOptions]):
    """Items of one scan share `scan_id`; `part` is `head`, `doc#TOKEN#N` or `payload#TOKEN#ID`.

    The head names the token of the attempt that counts, so parts of another attempt are never read.
    The document is stored compressed and in pieces, whole whatever its size. Indexes: `by_sha256`
    (payload items) and `by_verdict` (heads, by time).
    """

    libraries = {"boto3": "the extra aws (requirements-aws.txt)"}

    def __init__(self, options: DynamodbOptions, name: str) -> None:
        """The client is made when it is first needed: it costs a quarter of a second."""
        super().__init__(options, name)
        self._client: Any = None

    def _db(self) -> Any:
        if self._client is None:
            import boto3

            self._client = boto3.client(
                "dynamodb",
                region_name=self.options.region or None,
                endpoint_url=self.options.endpoint or None,
            )
        return self._client

    def save(self, response: ScanResponse) -> None:
        """Write the parts, then the head on condition, then delete what nothing names any more."""
        document = encode(response)
        token = _token(response)
        packed = zlib.compress(document, 6)
        pieces = [packed[at : at + _CHUNK_BYTES] for at in range(0, len(packed), _CHUNK_BYTES)]
        parts = [
            {"part": {"S": f"doc#{token}#{at:05d}"}, "data": {"B": piece}} for at, piece in enumerate(pieces)
        ]
        parts += [_payload_item(token, one) for one in flat_documents(response)]
        try:
            self._write(response.scan_id, parts)
            written = self._write_head(response, token, len(pieces))
            self._sweep(response.scan_id, token if written else None, own=token)
        except _errors() as error:
            raise self._failure(error) from None

    def _write(self, scan_id: str, parts: Sequence[dict[str, Any]]) -> None:
        table = self.options.table
        requests = [{"PutRequest": {"Item": {"scan_id": {"S": scan_id}, **one}}} for one in parts]
        self._batches(table, requests)

    def _batches(self, table: str, requests: Sequence[dict[str, Any]]) -> None:
        # a batch may hold 16 MB: pieces of the document go a few at a time
        size = 10 if any("data" in one.get("PutRequest", {}).get("Item", {}) for one in requests) else _BATCH
        for at in range(0, len(requests), size):
            left = {table: requests[at : at + size]}
            for _ in range(_TRIES):
                left = self._db().batch_write_item(RequestItems=left).get("UnprocessedItems") or {}
                if not left:
                    break
            else:
                message = f"connector.{self.name}: the table does not keep up"
                raise StoreError(message, retryable=True)

    def _write_head(self, response: ScanResponse, token: str, pieces: int) -> bool:
        """True if this record is the head now; False where a more complete one stands."""
        line, complete = summary_of(response), rank(response)
        item = {
            "scan_id": {"S": line.scan_id},
            "part": {"S": "head"},
            "token": {"S": token},
            "pieces": {"N": str(pieces)},
            "rank": {"N": str(_rank_number(complete))},
            "attempt": {"N": str(response.attempt)},
            "ruleset": {"S": response.stats.ruleset or ""},
            "verdict": {"S": line.verdict},
            "time": {"S": line.time},
            "summary": {"S": msgspec.json.encode(line).decode()},
            "payload_ids": {"L": [{"S": one.payload_id} for one in response.results]},
        }
        client = self._db()
        try:
            client.put_item(
                TableName=self.options.table,
                Item=item,
                ConditionExpression="attribute_not_exists(#rank) OR #rank <= :rank",
                ExpressionAttributeNames={"#rank": "rank"},
                ExpressionAttributeValues={":rank": item["rank"]},
            )
        except client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _sweep(self, scan_id: str, keep: str | None, *, own: str) -> None:
        """Delete the parts of attempts that the head does not name; only those older than this one."""
        head = self._head(scan_id)
        current = head["token"]["S"] if head else keep
        gone = [
            {"DeleteRequest": {"Key": {"scan_id": {"S": scan_id}, "part": one["part"]}}}
            for one in self._parts(scan_id)
            if one["part"]["S"] != "head"
            and one["part"]["S"].split("#")[1] != current
            and (keep is not None or one["part"]["S"].split("#")[1] == own)
        ]
        self._batches(self.options.table, gone)

    def _parts(self, scan_id: str) -> Iterator[dict[str, Any]]:
        yield from self._query(
            KeyConditionExpression="scan_id = :id",
            ExpressionAttributeValues={":id": {"S": scan_id}},
            ProjectionExpression="part",
            ConsistentRead=True,
        )

    def _query(self, **arguments: Any) -> Iterator[dict[str, Any]]:
        start: dict[str, Any] = {}
        while True:
            page = self._db().query(TableName=self.options.table, **arguments, **start)
            yield from page["Items"]
            if not page.get("LastEvaluatedKey"):
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _head(self, scan_id: str) -> dict[str, Any] | None:
        key = {"scan_id": {"S": scan_id}, "part": {"S": "head"}}
        found: dict[str, Any] | None = (
            self._db().get_item(TableName=self.options.table, Key=key, ConsistentRead=True).get("Item")
        )
        return found

    def get(self, scan_id: str) -> dict[str, Any] | None:
        """The whole document that the head names, or None."""
        try:
            head = self._head(scan_id)
            if head is None:
                return None
            items = self._query(
                KeyConditionExpression="scan_id = :id AND begins_with(part, :doc)",
                ExpressionAttributeValues={
                    ":id": {"S": scan_id},
                    ":doc": {"S": f"doc#{head['token']['S']}#"},
                },
                ConsistentRead=True,
            )
            packed = b"".join(bytes(one["data"]["B"]) for one in items)
        except _errors() as error:
            raise self._failure(error) from None
        found: dict[str, Any] = msgspec.json.decode(zlib.decompress(packed))
        return found

    def list(self, limit: int, verdict: str | None = None) -> Iterator[Summary]:
        """The newest first, of one verdict or all."""
        words = [verdict] if verdict else ["malicious", "suspicious", "incomplete", "clean"]
        found: list[Summary] = []
        for word in words:
            found += self._by_verdict(word, limit)
        found.sort(key=lambda one: one.time, reverse=True)
        yield from found[:limit]

    def _by_verdict(self, word: str, limit: int) -> Sequence[Summary]:
        page = self._db().query(
            TableName=self.options.table,
            IndexName="by_verdict",
            KeyConditionExpression="verdict = :v",
            ExpressionAttributeValues={":v": {"S": word}},
            ScanIndexForward=False,
            Limit=limit,
        )
        return [msgspec.json.decode(one["summary"]["S"], type=Summary) for one in page["Items"]]

    def search(
        self,
        *,
        sha256: str | None = None,
        name: str | None = None,
        finding: str | None = None,
        limit: int = 20,
    ) -> Iterator[Summary]:
        """By digest through the index; names and findings are looked for among the newest results."""
        from stoq_core.store import holds

        if sha256 is not None:
            items = self._query(
                IndexName="by_sha256",
                KeyConditionExpression="sha256 = :s",
                ExpressionAttributeValues={":s": {"S": sha256.lower()}},
            )
            ids = list(dict.fromkeys(one["scan_id"]["S"] for one in items))
        else:
            ids = [one.scan_id for one in self.list(1_000)]
        for scan_id in ids:
            head = self._head(scan_id)
            document = self.get(scan_id) if head else None
            if head and document and limit > 0 and holds(document, sha256=sha256, name=name, finding=finding):
                limit -= 1
                yield msgspec.json.decode(head["summary"]["S"], type=Summary)

    def _failure(self, error: Exception) -> StoreError:
        if isinstance(error, StoreError):
            return error
        code = str(getattr(error, "response", {}).get("Error", {}).get("Code", type(error).__name__))
        permanent = code in ("ValidationException", "ResourceNotFoundException")
        message = f"connector.{self.name}: table {self.options.table}: {code}"
        return StoreError(message, retryable=not permanent)


def _errors() -> tuple[type[Exception], ...]:
    """What boto3 raises; asked for when something was raised, so nothing is imported before."""
    from botocore.exceptions import BotoCoreError, ClientError

    return (StoreError, BotoCoreError, ClientError)


def _token(response: ScanResponse) -> str:
    """What tells attempts apart: a digest of all but time and cost, so equal results share their parts."""
    bare = msgspec.structs.replace(response, time="", stats=type(response.stats)(), attempt=0)
    return hashlib.sha256(encode(bare)).hexdigest()[:16]


def _rank_number(one: Rank) -> int:
    return (int(one[0]) << 48) + (one[1] << 24) + one[2]


def _payload_item(token: str, flat: dict[str, Any]) -> dict[str, Any]:
    """What can be searched of one payload; the rest is in the document."""
    return {
        "part": {"S": f"payload#{token}#{flat['payload_id']}"},
        "sha256": {"S": flat["sha256"] or "none"},
        "verdict_of_payload": {"S": flat["verdict"]},
        "size": {"N": str(flat["size"])},
        "filename": {"S": str(flat["filename"] or "")[:1024]},
    }
