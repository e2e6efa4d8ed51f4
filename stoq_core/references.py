"""References that events bring: whether they may be followed, and how a log line names them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from .errors import StoreError
from .payload import ObjectRef

ANY = "*"


class RefusedReferenceError(StoreError):
    """A reference to where the trigger does not listen: nothing is fetched, the event is a dead letter."""

    def __init__(self, message: str) -> None:
        """Trying again changes nothing."""
        super().__init__(message, retryable=False)


def refuse_foreign(ref: ObjectRef, trigger: Mapping[str, str]) -> None:
    """Raise `RefusedReferenceError` unless the object lies in the trigger's bucket and below its prefix.

    Whoever can send a message could otherwise have any object fetched that the function's role may read.
    `trigger.other_buckets` allows more by name (separated by commas), or all with `*`. A trigger without
    a bucket (the command line, a queue of references alone) allows what the role does.
    """
    own = trigger.get("bucket")
    if not own:
        return
    allowed = [name.strip() for name in trigger.get("other_buckets", "").split(",") if name.strip()]
    if ANY in allowed or ref.bucket in allowed:
        return
    account, slash, container = ref.bucket.rpartition("/")
    if container != own or (slash and trigger.get("account", account) != account):
        raise RefusedReferenceError(
            "the reference names another bucket than the trigger's; trigger.other_buckets allows more"
        )
    if not ref.key.startswith(trigger.get("prefix", "")):
        raise RefusedReferenceError("the reference names a key outside of the trigger's prefix")


def object_digest(deployment: str, ref: ObjectRef) -> str:
    """How log lines name an object without its key: HMAC-SHA256 of BUCKET/KEY under the deployment's name.

    Whoever has the key finds its lines; whoever has the lines does not find the key.
    """
    named = f"{ref.bucket}/{ref.key}".encode("utf-8", "surrogatepass")
    return hmac.new(deployment.encode(), named, hashlib.sha256).hexdigest()[:32]
