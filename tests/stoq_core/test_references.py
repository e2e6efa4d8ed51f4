"""References are followed only where the trigger listens; log lines name objects without their keys."""

from __future__ import annotations

import hmac

import pytest

from stoq_core.payload import ObjectRef
from stoq_core.references import RefusedReferenceError, object_digest, refuse_foreign


def ref(bucket: str, key: str = "inbox/a.bin") -> ObjectRef:
    """A reference to an object of the bucket."""
    return ObjectRef(store="s3", bucket=bucket, key=key)


@pytest.mark.parametrize(
    ("bucket", "trigger"),
    [
        ("in", {"bucket": "in"}),
        ("in", {"bucket": "in", "prefix": "inbox/"}),
        ("account/in", {"bucket": "in"}),
        ("account/in", {"bucket": "in", "account": "account"}),
        ("other", {"bucket": "in", "other_buckets": "more, other"}),
        ("other", {"bucket": "in", "other_buckets": "*"}),
        ("anything", {}),
    ],
)
def test_followed(bucket: str, trigger: dict[str, str]) -> None:
    """The trigger's own bucket and prefix, what is allowed beside it, all where there is no bucket."""
    refuse_foreign(ref(bucket), trigger)


@pytest.mark.parametrize(
    ("bucket", "key", "trigger"),
    [
        ("other", "a", {"bucket": "in"}),
        ("in2", "a", {"bucket": "in"}),
        ("in", "outbox/a", {"bucket": "in", "prefix": "inbox/"}),
        ("stranger/in", "a", {"bucket": "in", "account": "account"}),
        ("other", "a", {"bucket": "in", "other_buckets": "more"}),
    ],
)
def test_refused(bucket: str, key: str, trigger: dict[str, str]) -> None:
    """Whoever can send a message cannot have the function fetch what lies elsewhere."""
    with pytest.raises(RefusedReferenceError) as raised:
        refuse_foreign(ref(bucket, key), trigger)
    assert not raised.value.retryable
    assert "secret" not in str(raised.value)


def test_the_digest_can_be_made_of_the_key() -> None:
    """An operator who has a key finds its lines with any HMAC tool."""
    made = object_digest("prod", ref("in", "a b.bin"))
    assert made == hmac.digest(b"prod", b"in/a b.bin", "sha256").hex()[:32]
    assert made != object_digest("dev", ref("in", "a b.bin"))
