"""Results in a DynamoDB table: children first, the head last, never replaced by a lesser record."""

from __future__ import annotations

import contextlib
import time
import uuid
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
_AT_ONCE = 8
_UNMARKED = {
    "ExpressionAttributeNames": {"#until": "until"},
    "ExpressionAttributeValues": {":none": {"N": "0"}},
}
_ABANDONED_S = 30 * 60  # no writer lives so long between its first part and its head


class DynamodbOptions(Options, frozen=True):
    """Which table; who may is the platform's role."""

    table: Annotated[str, about("the table: keys scan_id (hash) and part (range)", min_length=1)]
    region: Annotated[str, about("empty: as the environment says")] = ""
    endpoint: Annotated[str, about("another endpoint than AWS's, such as an emulator's")] = ""


class Dynamodb(Connector[DynamodbOptions]):
    """Items of one scan share `scan_id`; `part` is `head`, `attempt`, `doc#TOKEN#N` or `payload#TOKEN#ID`.

    Each attempt to save has a token of its own and the head names the one that counts, so no attempt
    writes over another's parts and readers never mix two. The document is stored compressed and in
    pieces, whole whatever its size. What no head names any more is emptied, and deleted by the table itself
    (time to live by `expires`). Indexes: `by_sha256` (payload items), `by_verdict` (heads, by time).
    """

    libraries = {"boto3": "the extra aws (requirements-aws.txt)"}

    def __init__(self, options: DynamodbOptions, name: str) -> None:
        """The client is made when it is first needed: it costs a quarter of a second."""
        super().__init__(options, name)
        self._client: Any = None

    def _db(self) -> Any:
        if self._client is None:
            import boto3
            from botocore.config import Config

            self._client = boto3.client(
                "dynamodb",
                config=Config(
                    retries={"mode": "standard", "total_max_attempts": 8}, max_pool_connections=_AT_ONCE
                ),
                region_name=self.options.region or None,
                endpoint_url=self.options.endpoint or None,
            )
        return self._client

    def save(self, response: ScanResponse) -> None:
        """Write the parts, then the head on condition, then delete what nothing names any more."""
        token = uuid.uuid4().hex[:16]
        packed = zlib.compress(encode(response), 6)
        pieces = [packed[at : at + _CHUNK_BYTES] for at in range(0, len(packed), _CHUNK_BYTES)]
        parts = [
            {"part": {"S": f"doc#{token}#{at:05d}"}, "data": {"B": piece}} for at, piece in enumerate(pieces)
        ]
        parts += [_payload_item(token, one) for one in flat_documents(response)]
        try:
            self._write(response.scan_id, parts)
            self._sweep(response.scan_id, self._write_head(response, token, len(pieces)))
        except _errors() as error:
            raise self._failure(error) from None

    def _write(self, scan_id: str, parts: Sequence[dict[str, Any]]) -> None:
        shared = {"scan_id": {"S": scan_id}, "written": {"N": str(int(time.time()))}}
        self._put([{**shared, **part} for part in parts])

    def _put(self, items: Sequence[dict[str, Any]]) -> None:
        """One by one, several at a time: who may write in batches may delete in them, too."""
        client = self._db()

        def put(item: dict[str, Any]) -> None:
            client.put_item(TableName=self.options.table, Item=item)

        if len(items) < _AT_ONCE:
            for item in items:
                put(item)
            return
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for done in [pool.submit(put, item) for item in items]:
                done.result()

    def _write_head(self, response: ScanResponse, token: str, pieces: int) -> str | None:
        """The token whose parts nothing names any more: the replaced head's, or this one's if it lost."""
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
            replaced = client.put_item(
                TableName=self.options.table,
                Item=item,
                ConditionExpression="attribute_not_exists(#rank) OR #rank <= :rank",
                ExpressionAttributeNames={"#rank": "rank"},
                ExpressionAttributeValues={":rank": item["rank"]},
                ReturnValues="ALL_OLD",
            ).get("Attributes")
        except client.exceptions.ConditionalCheckFailedException:
            return token
        # the same token: the client sent the request twice, and the first one had arrived
        return replaced["token"]["S"] if replaced and replaced["token"]["S"] != token else None

    def _sweep(self, scan_id: str, loser: str | None) -> None:
        """Empty the loser's parts, and those of attempts that died before their head; they expire then.

        The function's role may delete nothing. What another attempt is writing just now has no head yet
        and must stay: its age tells it apart.
        """
        abandoned = time.time() - _ABANDONED_S
        parts = list(self._parts(scan_id))
        head = next((one["token"]["S"] for one in parts if one["part"]["S"] == "head"), None)
        expires = {"N": str(int(time.time()))}
        self._put(
            [
                {"scan_id": {"S": scan_id}, "part": part["part"], "expires": expires}
                for part in parts
                if (token := _token_of(part)) not in (None, head)
                and (token == loser or int(part.get("written", {"N": "0"})["N"]) < abandoned)
            ]
        )

    def begin_attempt(self, scan_id: str, until: float) -> float | None:
        """Put a mark, or the `until` of the one that stands (see `AttemptMarks`)."""
        key = {"scan_id": {"S": scan_id}, "part": {"S": "attempt"}}
        try:
            client = self._db()
            try:
                client.put_item(
                    TableName=self.options.table,
                    Item={**key, "until": {"N": repr(until)}},
                    ConditionExpression="attribute_not_exists(part) OR #until = :none",
                    **_UNMARKED,
                )
            except client.exceptions.ConditionalCheckFailedException:
                found = client.get_item(TableName=self.options.table, Key=key, ConsistentRead=True).get(
                    "Item"
                )
                return float(found["until"]["N"]) if found else None
        except _errors() as error:
            raise self._failure(error) from None
        return None

    def end_attempt(self, scan_id: str, until: float) -> None:
        """Take that mark away: it says 0, as the function's role may not delete single items."""
        try:
            client = self._db()
            with contextlib.suppress(client.exceptions.ConditionalCheckFailedException):
                client.put_item(
                    TableName=self.options.table,
                    Item={
                        "scan_id": {"S": scan_id},
                        "part": {"S": "attempt"},
                        "until": {"N": "0"},
                        "expires": {"N": str(int(time.time()))},
                    },
                    ConditionExpression="#until = :until",
                    ExpressionAttributeNames={"#until": "until"},
                    ExpressionAttributeValues={":until": {"N": repr(until)}},
                )
        except _errors() as error:
            raise self._failure(error) from None

    def _parts(self, scan_id: str) -> Iterator[dict[str, Any]]:
        """All but those that expire."""
        yield from self._query(
            KeyConditionExpression="scan_id = :id",
            FilterExpression="attribute_not_exists(expires)",
            ExpressionAttributeValues={":id": {"S": scan_id}},
            ProjectionExpression="part, written, #token",
            ExpressionAttributeNames={"#token": "token"},
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
        """The whole document that the head names, or None.

        Where pieces are missing, another attempt has replaced the head meanwhile: that one is read.
        """
        found = self._read(scan_id)
        return None if found is None else found[1]

    def _read(self, scan_id: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The head and its document, both of the same attempt."""
        try:
            token = ""
            while True:
                head = self._head(scan_id)
                if head is None:
                    return None
                if head["token"]["S"] == token:
                    message = f"connector.{self.name}: the record of {scan_id} lacks parts"
                    raise StoreError(message, retryable=False)
                token = head["token"]["S"]
                pieces = [bytes(one["data"]["B"]) for one in self._pieces(scan_id, token)]
                if len(pieces) == int(head["pieces"]["N"]):
                    return head, msgspec.json.decode(zlib.decompress(b"".join(pieces)))
        except _errors() as error:
            raise self._failure(error) from None

    def _pieces(self, scan_id: str, token: str) -> Iterator[dict[str, Any]]:
        yield from self._query(
            KeyConditionExpression="scan_id = :id AND begins_with(part, :doc)",
            FilterExpression="attribute_not_exists(expires)",
            ExpressionAttributeValues={":id": {"S": scan_id}, ":doc": {"S": f"doc#{token}#"}},
            ConsistentRead=True,
        )

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
            sha256 = sha256.lower()
            items = self._query(
                IndexName="by_sha256",
                KeyConditionExpression="sha256 = :s",
                ExpressionAttributeValues={":s": {"S": sha256}},
            )
            ids = list(dict.fromkeys(one["scan_id"]["S"] for one in items))
        else:
            ids = [one.scan_id for one in self.list(1_000)]
        for scan_id in ids:
            if limit <= 0:
                return
            found = self._read(scan_id)
            if found and holds(found[1], sha256=sha256, name=name, finding=finding):
                limit -= 1
                yield msgspec.json.decode(found[0]["summary"]["S"], type=Summary)

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


def _token_of(item: dict[str, Any]) -> str | None:
    """The attempt that wrote a part; None for the head and the mark of an attempt at work."""
    part = str(item["part"]["S"])
    return part.split("#")[1] if "#" in part else None


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
