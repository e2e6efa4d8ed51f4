"""Results as messages of a Pub/Sub topic: the summary, or the whole document where it fits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from stoq_core.errors import StoreError
from stoq_core.options import Options, about
from stoq_core.plugin import Connector
from stoq_core.render import encode
from stoq_core.response import ScanResponse
from stoq_core.store import summary_of

_MOST_BYTES = 9_000_000  # a message holds 10 MB, in a request that holds as much
_S = 60.0


class PubsubOptions(Options, frozen=True):
    """Which topic; who may is the function's service account."""

    topic: Annotated[str, about("projects/PROJECT/topics/TOPIC", pattern="^projects/[^/]+/topics/[^/]+$")]
    sends: Annotated[
        Literal["summary", "document"],
        about("what is published; in place of too large a document its summary"),
    ] = "summary"
    pointer: Annotated[
        str, about("where another connector keeps the document, such as gs://BUCKET/{scan_id}.json")
    ] = ""
    most_bytes: Annotated[int, about("the largest message, bytes", ge=10_000, le=_MOST_BYTES)] = _MOST_BYTES


class Pubsub(Connector[PubsubOptions]):
    """A message a scan: `{"summary": …, "pointer": …}`, or `{"document": …}` on top.

    Attributes, for subscriptions' filters: `scan_id`, `verdict`, `complete`, `holds` (summary or document).
    A second delivery publishes again: readers keep the one whose record is the most complete. Name this
    connector after the one that the pointer leads to. `PUBSUB_EMULATOR_HOST` is the emulator's.
    """

    libraries = {"google.cloud.pubsub": "the extra gcp (requirements-gcp.txt)"}

    def __init__(self, options: PubsubOptions, name: str) -> None:
        """The client is made when first used: it starts threads, and Google forks before it works."""
        super().__init__(options, name)
        self._made: Any = None

    def _client(self) -> Any:
        if self._made is None:
            from google.cloud.pubsub import PublisherClient
            from google.cloud.pubsub_v1.types import BatchSettings

            self._made = PublisherClient(batch_settings=BatchSettings(max_messages=1))
        return self._made

    def close(self) -> None:
        """Close the channel."""
        if self._made is not None:
            self._made.stop()
            self._made.transport.close()
            self._made = None

    def save(self, response: ScanResponse) -> None:
        """Returns when Pub/Sub has the message."""
        from google.api_core.exceptions import GoogleAPIError, InvalidArgument, NotFound
        from google.api_core.retry import Retry
        from google.auth.exceptions import GoogleAuthError

        data, attributes = self._message(response)
        retry = Retry(initial=0.2, maximum=5.0, timeout=_S)
        try:
            sent = self._client().publish(self.options.topic, data, retry=retry, timeout=_S, **attributes)
            sent.result(timeout=2 * _S)
        except (GoogleAPIError, GoogleAuthError, TimeoutError) as error:
            message = f"connector.{self.name}: {self.options.topic}: {type(error).__name__}"
            raise StoreError(message, retryable=not isinstance(error, (InvalidArgument, NotFound))) from None

    def _message(self, response: ScanResponse) -> tuple[bytes, dict[str, str]]:
        line = summary_of(response)
        body: dict[str, Any] = {"summary": line}
        if self.options.pointer:
            body["pointer"] = self.options.pointer.replace("{scan_id}", response.scan_id)
        made, holds = msgspec.json.encode(body), "summary"
        if self.options.sends == "document":
            whole = msgspec.json.encode({**body, "document": msgspec.Raw(encode(response))})
            if len(whole) <= self.options.most_bytes:
                made, holds = whole, "document"
        if len(made) > self.options.most_bytes:  # a name may be long
            body["summary"] = msgspec.structs.replace(line, name=line.name[:1024])
            made = msgspec.json.encode(body)
        attributes = {"scan_id": line.scan_id, "verdict": line.verdict, "holds": holds}
        return made, {**attributes, "complete": str(line.complete).lower()}
