"""Azure's events: both schemas, addresses of every kind, and what is none."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.azure.events import refs_of_body
from handlers.records import UnknownEventError
from stoq_core.payload import ObjectRef
from tests.handlers.fakes import EVENTS, recorded

BUCKET, ETAG = "incomingexample/incoming", "0x8DD0C5B9E0A1B2C"
ID, SEQUENCER = "831e1650-001e-001b-66ab-eeb76e069631", "00000000000004420000000000028963"
ODD = "a b+c%/コ.txt"


def ref(key: str, bucket: str = BUCKET, size: int = 6) -> ObjectRef:
    """What an event of the recorded ones becomes."""
    return ObjectRef(
        store="azure_blob", bucket=bucket, key=key, etag=ETAG, size=size, sequencer=SEQUENCER, event_id=ID
    )


def read(name: str) -> list[ObjectRef]:
    """The references in a recorded message."""
    return refs_of_body(json.dumps(recorded("azure", name)).encode())


@pytest.mark.parametrize(
    ("name", "refs"),
    [
        ("eventgrid-put", [ref(ODD)]),
        ("cloudevent-put", [ref(ODD)]),
        ("eventgrid-flush", [ref("dir/one.bin")]),
        ("cloudevent-flush", [ref("dir/one.bin")]),
        ("eventgrid-block-list", [ref("two 2.bin", size=300_000_000)]),
        ("eventgrid-several", [ref("one.bin"), ref("three.bin")]),
        ("eventgrid-root-container", [ref("root.txt", "incomingexample/$root")]),
        ("eventgrid-custom-domain", [ref("odd?name#.txt")]),
        ("eventgrid-zone", [ref("z.txt")]),
        ("eventgrid-directory-marker", []),
        ("eventgrid-deleted", []),
        ("cloudevent-renamed", []),
        ("cloudevent-inventory", []),
    ],
)
def test_a_recorded_event(name: str, refs: list[ObjectRef]) -> None:
    """Every blob that was created, with account, bare ETag and name decoded once; nothing else."""
    assert read(name) == refs


def test_both_schemas_and_a_plain_reference_name_the_same_object() -> None:
    """So a redelivery in another shape, or from another queue, is the same record."""
    identities = {
        one.identity for name in ("eventgrid-put", "cloudevent-put", "reference") for one in read(name)
    }
    assert len(identities) == 1


def test_a_reference_with_a_version() -> None:
    """The version stands for itself."""
    assert read("reference-version") == [
        ObjectRef(store="azure_blob", bucket=BUCKET, key="old.bin", version="2026-11-25T02:41:29.9256489Z")
    ]


def test_every_recorded_event_is_tested() -> None:
    """A file that no test reads shows nothing."""
    text = Path(__file__).read_text("utf-8")
    assert not [one.stem for one in (EVENTS / "azure").glob("*.json") if f'"{one.stem}"' not in text]


@pytest.mark.parametrize(
    "name", ["é" * 512, "a//b", "/lead", "trail/", "new\nline", "a&b=c;d", "%2B%20", "~`|"]
)
def test_names_are_decoded_once(name: str) -> None:
    """Whatever stands in a name; a `%` in it was `%25` in the address."""
    event = recorded("azure", "eventgrid-put")
    event["data"]["url"] = f"https://incomingexample.blob.core.windows.net/incoming/{quote(name)}"
    [found] = refs_of_body(json.dumps(event).encode())
    assert found.key == name


def with_(**changes: Any) -> str:
    """The recorded event with other data."""
    event = recorded("azure", "eventgrid-put")
    event["data"].update(changes)
    return json.dumps(event)


@pytest.mark.parametrize(
    "body",
    [
        "", "null", "7", "[]]", "{", "secret", "{}", "[{}]", '{"no": "secret"}',
        '{"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"secret": 1}}',
        '{"eventType": "Microsoft.Storage.BlobCreated"}',
        '{"type": "Microsoft.Storage.BlobCreated", "data": {"url": "secret"}}',
        '{"type": "com.example.secret", "data": {}}',
        '{"bucket": "incomingexample/incoming"}',
        '{"bucket": "no-account", "key": "secret"}',
        '{"bucket": "a.evil.example/incoming", "key": "secret"}',
        '{"bucket": "incomingexample/incoming", "key": "secret", "store": "secret"}',
        with_(url="https://incomingexample.blob.core.windows.net/incoming/secret?x=1"),
        with_(url="https://incomingexample.blob.core.windows.net/incoming/secret#x"),
        with_(url="https://incomingexample.blob.core.windows.net//secret"),
        with_(url="https://incomingexample.blob.core.windows.net/incoming/"),
        with_(url="https://incomingexample.blob.core.windows.net/incoming/%FFsecret"),
        with_(url="https://[secret/x"), with_(url=""), with_(contentLength=-1), with_(eTag=7),
        "[" * 5_000,
    ],
)  # fmt: skip
def test_what_is_no_event_is_said_to_be_none(body: str) -> None:
    """One error for everything else, with nothing of the body in its text."""
    with pytest.raises(UnknownEventError) as caught:
        refs_of_body(body.encode())
    assert "secret" not in str(caught.value)


def test_an_empty_list_names_nothing() -> None:
    """It is no error: nothing was created."""
    assert refs_of_body(b"[]") == []


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
_URL = st.text(max_size=20).map(lambda one: f"https://incomingexample.blob.core.windows.net/{one}")
_EVENT = st.fixed_dictionaries(
    {
        "eventType": st.just("Microsoft.Storage.BlobCreated") | _JSON,
        "data": st.fixed_dictionaries(
            {"url": _URL | _JSON}, optional={"eTag": _JSON, "contentLength": _JSON}
        ),
    },
    optional={"topic": _JSON, "bucket": _JSON, "key": _JSON},
)


@settings(max_examples=150)
@given(_JSON | _EVENT | st.lists(_EVENT, max_size=2))
def test_any_json_is_references_or_that_error(anything: Any) -> None:
    """Arbitrary JSON, near the real shapes too, never raises anything else; names are always Unicode."""
    with contextlib.suppress(UnknownEventError):
        for one in refs_of_body(json.dumps(anything).encode()):
            assert one.key.encode()
            assert one.bucket.count("/") == 1


@settings(max_examples=50)
@given(st.binary())
def test_any_bytes_are_references_or_that_error(body: bytes) -> None:
    """A queue message may hold anything."""
    with contextlib.suppress(UnknownEventError):
        refs_of_body(body)
