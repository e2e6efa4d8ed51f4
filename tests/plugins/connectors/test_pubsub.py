"""Pub/Sub: what is published, what is said instead when it is too large, what a failure means."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from plugins.connectors.pubsub import Pubsub
from stoq_core.errors import StoreError
from stoq_core.render import document
from stoq_core.store import summary_of
from stoq_core.testing import make
from tests import gcs
from tests.responses import SCAN_ID, response


class Topic:
    """A new topic with a subscription."""

    def __init__(self) -> None:
        """In the emulator that the environment names."""
        import grpc
        from google.cloud.pubsub import PublisherClient, SubscriberClient
        from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

        unique = uuid.uuid4().hex[:12]
        self.name = f"projects/{gcs.PROJECT}/topics/t-{unique}"
        self.subscription = f"projects/{gcs.PROJECT}/subscriptions/t-{unique}"
        # the SDK's client takes 4 MB from an emulator, where its real channel takes any size
        channel = grpc.insecure_channel(
            os.environ["PUBSUB_EMULATOR_HOST"], options=[("grpc.max_receive_message_length", -1)]
        )
        self.subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        publisher = PublisherClient()
        publisher.create_topic(name=self.name)
        publisher.stop()
        publisher.transport.close()
        self.subscriber.create_subscription(name=self.subscription, topic=self.name)

    def take(self) -> tuple[dict[str, Any], dict[str, str]]:
        """The next message's body and attributes."""
        [found] = self.subscriber.pull(subscription=self.subscription, max_messages=1).received_messages
        self.subscriber.acknowledge(subscription=self.subscription, ack_ids=[found.ack_id])
        return msgspec.json.decode(found.message.data), dict(found.message.attributes)


@pytest.fixture
def topic(pubsub: str) -> Iterator[Topic]:
    """An empty one."""
    one = Topic()
    yield one
    one.subscriber.close()


def published(topic: Topic, saved: Any, **options: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """What a connector with those options makes of a response."""
    connector = make(Pubsub, topic=topic.name, **options)
    connector.save(saved)
    connector.close()
    return topic.take()


def test_the_summary(topic: Topic) -> None:
    """One line of the result, and attributes to filter by."""
    saved = response(score=1000)
    body, attributes = published(topic, saved)
    assert body == {"summary": msgspec.to_builtins(summary_of(saved))}
    wanted = {"scan_id": SCAN_ID, "verdict": "malicious", "complete": "true", "holds": "summary"}
    assert attributes == wanted


def test_the_document(topic: Topic) -> None:
    """Whole, with the summary beside it."""
    saved = response(children=3)
    body, attributes = published(topic, saved, sends="document", pointer="gs://results/{scan_id}.json")
    assert body["document"] == document(saved)
    assert body["pointer"] == f"gs://results/{SCAN_ID}.json"
    assert attributes["holds"] == "document"


def test_a_document_that_is_too_large_is_pointed_at(topic: Topic) -> None:
    """12 MB, more than a message holds: the summary, and where the document is."""
    body, attributes = published(
        topic, response(padding=12_000_000), sends="document", pointer="gs://results/{scan_id}.json"
    )
    assert sorted(body) == ["pointer", "summary"]
    assert attributes["holds"] == "summary"


def test_the_largest_that_is_allowed_goes_through(topic: Topic) -> None:
    """Just under the limit Pub/Sub takes it."""
    saved = response(padding=7_500_000)
    body, _ = published(topic, saved, sends="document")
    assert body["document"] == document(saved)


def test_a_long_name_is_cut(topic: Topic) -> None:
    """So a summary fits always."""
    body, _ = published(topic, response(name="n" * 100_000), most_bytes=10_000)
    assert body["summary"]["name"] == "n" * 1024


def test_a_topic_that_is_not_there_is_permanent(topic: Topic) -> None:
    """Another try would not make it."""
    connector = make(Pubsub, topic=f"{topic.name}-gone")
    with pytest.raises(StoreError, match="NotFound") as caught:
        connector.save(response())
    assert not caught.value.retryable
    connector.close()
