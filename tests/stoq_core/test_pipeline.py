"""One request from fetch to stored result (semantics 6 and 10 to 14), with stores in memory."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from stoq_core.config import load
from stoq_core.errors import Reason, StoreError
from stoq_core.job import Finding
from stoq_core.limits import Deadline
from stoq_core.options import Options
from stoq_core.payload import ObjectRef, Payload, PayloadMeta, Request, RequestMeta, scan_id_for
from stoq_core.pipeline import Broker, Outcome, Pipeline
from stoq_core.plugin import ArchiveContext, Archiver, Connector, Decorator
from stoq_core.render import document, encode
from stoq_core.response import ScanResponse
from stoq_core.scan.executor import Inline
from tests.kit import SCAN_ID, UNSEARCHED, Source, split, worker

REF = ObjectRef(store="mem", bucket="in", key="folder/a file.bin", version="7")
FINDS = worker(lambda p, _j: iter([Finding("bad", 400)] if p.content == b"x" else [{"bytes": p.size}]))


class Memory(Archiver[Options]):
    """Keeps bytes in a list and fetches one object."""

    def __init__(self, fails: Exception | None = None) -> None:
        """`fails` is raised instead of archiving or fetching."""
        super().__init__(Options(), "mem")
        self.kept: list[bytes] = []
        self.fails = fails

    def archive(self, payload: Payload, context: ArchiveContext) -> dict[str, Any]:
        """Keep the bytes."""
        if self.fails is not None:
            raise self.fails
        self.kept.append(payload.content)
        return {"at": len(self.kept)}

    def get(self, ref: ObjectRef, max_bytes: int) -> Payload:
        """The object."""
        if self.fails is not None:
            raise self.fails
        return Payload(b"(x)(y)", PayloadMeta(extra_data={"filename": ref.key}))


class Saved(Connector[Options]):
    """Keeps documents."""

    def __init__(self, fails: Exception | None = None) -> None:
        """`fails` is raised instead of saving."""
        super().__init__(Options(), "saved")
        self.documents: list[dict[str, Any]] = []
        self.fails = fails

    def save(self, response: ScanResponse) -> None:
        """Keep it."""
        if self.fails is not None:
            raise self.fails
        self.documents.append(document(response))


class Says(Decorator[Options]):
    """Tells which decorators it saw before it."""

    def decorate(self, response: ScanResponse) -> Iterator[Any]:
        """One mapping, one finding; or whatever its name says."""
        if self.name == "raises":
            message = "\ud800"
            raise ValueError(message)
        yield {"saw": sorted(response.decorators), "judged": response.verdict is not None}
        if self.name == "finds":
            yield Finding("from_a_decorator", 1000)


def made(broker: Broker, *overrides: tuple[str, Any]) -> Pipeline:
    """A pipeline over two workers."""
    config = load(overrides=[("verdict.accept", UNSEARCHED), *overrides])
    source = Source({"find": FINDS, "split": worker(split)}, always=["find", "split"])
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return Pipeline(config, source, Inline(source), broker, now=lambda: now)  # type: ignore[arg-type]


def scan(
    broker: Broker, *overrides: tuple[str, Any], content: bytes = b"(x)(y)", **meta: Any
) -> ScanResponse:
    """One request through it."""
    request = Request(scan_id=SCAN_ID, payloads=[Payload(content)], meta=RequestMeta(**meta))
    return made(broker, *overrides).scan(request, Deadline.after_ms(60_000))


def test_children_do_not_run_what_only_roots_start_with() -> None:
    """6: `start` is for the roots; what comes out of them has `always` and the dispatchers."""
    source = Source({"a": FINDS, "c": FINDS, "split": worker(split)}, always=["a", "split"])
    one = Pipeline(load(), source, Inline(source), Broker())  # type: ignore[arg-type]
    request = Request(scan_id=SCAN_ID, payloads=[Payload(b"(x)")], start=["c"])
    runs = [report.workers_run for report in one.scan(request, Deadline.after_ms(60_000)).results]
    assert runs == [[["a", "c", "split"]], [["a", "split"]]]


def test_the_scan_id_follows_from_deployment_object_and_campaign() -> None:
    """10: the same version in the same campaign and deployment has one id; config is no part of it."""
    saved = Saved()
    broker = Broker(fetchers={"mem": Memory()}, connectors={"saved": saved})
    deadline = Deadline.after_ms(60_000)
    ids = [
        made(broker).scan_ref(REF, deadline=deadline).scan_id,
        made(broker, ("limits.depth", 3)).scan_ref(REF, deadline=deadline, deliveries=2).scan_id,
        made(broker).scan_ref(REF, deadline=deadline, campaign="rescan").scan_id,
        made(broker, ("deployment", "other")).scan_ref(REF, deadline=deadline).scan_id,
        made(broker).scan_ref(msgspec.structs.replace(REF, version="8"), deadline=deadline).scan_id,
    ]
    assert ids[0] == ids[1] == scan_id_for("stoq", REF.identity)
    assert len(set(ids)) == 4
    first, second = saved.documents[:2]
    assert [one["payload_id"] for one in first["results"]] == [one["payload_id"] for one in second["results"]]
    assert first["request_meta"]["extra_data"]["object"]["version"] == "7"


@pytest.mark.parametrize(
    ("when", "meta", "kept"),
    [
        ("all", {}, [b"(x)(y)", b"x", b"y"]),
        ("extracted", {}, [b"x", b"y"]),
        ("findings", {}, [b"x"]),
        ("all", {"archive_payloads": False}, []),
    ],
)
def test_archivers_run_where_all_agree(when: str, meta: dict[str, Any], kept: list[bytes]) -> None:
    """11: the request's `archive_payloads`, the payload's own word, and `archive_when` decide."""
    memory = Memory()
    response = scan(Broker(archivers={"mem": memory}), ("scan.archive_when", when), **meta)
    assert memory.kept == kept
    assert [one.archivers_run for one in response.results].count(["mem"]) == len(kept)
    assert {"at": 1} in [one.archivers.get("mem") for one in response.results] or not kept


def test_decorators_see_those_before_and_the_core_judges_last() -> None:
    """12: in the configured order, each with the verdict so far. One that fails is an error."""
    order = {name: Says(Options(), name) for name in ("first", "raises", "finds")}
    response = scan(Broker(decorators=order), content=b"y")
    assert response.decorators["first"] == {"saw": [], "judged": True}
    assert response.decorators["finds"] == {"saw": ["first"], "judged": True}
    assert response.verdict is not None
    assert response.verdict.verdict == "malicious"
    assert [one.plugin for one in response.errors] == ["decorator:raises"]
    assert msgspec.json.decode(encode(response))["errors"]["decorator:raises"]


@pytest.mark.parametrize(("second", "retryable"), [(True, True), (False, False)])
def test_every_connector_runs_and_any_failure_fails_the_request(second: bool, retryable: bool) -> None:
    """13: connectors run last, all of them; one retryable failure makes the whole retryable."""
    saved = Saved()
    broker = Broker(
        connectors={
            "bad": Saved(StoreError("down", retryable=False)),
            "worse": Saved(StoreError("later", retryable=second)),
            "saved": saved,
        }
    )
    with pytest.raises(StoreError, match="down; later") as caught:
        scan(broker)
    assert caught.value.retryable is retryable
    assert len(saved.documents) == 1


def test_an_archiver_s_failure_is_stored_and_fails_the_request_afterwards() -> None:
    """13: the result is complete and stored with the error; then the request fails, for a retry."""
    saved = Saved()
    archivers = {"mem": Memory(OSError("disk full")), "other": Memory()}
    with pytest.raises(StoreError, match="disk full") as caught:
        scan(Broker(archivers=archivers, connectors={"saved": saved}))  # type: ignore[arg-type]
    assert caught.value.retryable
    assert archivers["other"].kept == [b"(x)(y)", b"x", b"y"]
    assert [one["code"] for one in saved.documents[0]["errors"]["archiver:mem"]] == ["store_failed"] * 3


def test_zero_and_empty_are_honoured() -> None:
    """14: depth 0 scans no child, a ratio-free allowance of 0 and empty lists are what they say."""
    flat = scan(Broker(), ("limits.depth", 0))
    assert [one.workers_run for one in flat.results[1:]] == [[], []]
    assert {one.reason for report in flat.results[1:] for one in report.unread} == {Reason.TOO_DEEP}
    tight = scan(Broker(), ("limits.ratio_free_bytes", 0), ("limits.ratio", 1), content=b"(x)" * 3)
    assert not tight.complete or len(tight.results) == 2
    none = scan(Broker(), ("limits.extracted_bytes", 0))
    assert len(none.results) == 1
    assert {one.reason for one in none.results[0].unread} == {Reason.TOO_MANY_BYTES, *UNSEARCHED}
    assert load(overrides=[("scan.only", [])]).scan.always == ()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (StoreError("newer", retryable=False, reason=Reason.SUPERSEDED), "superseded"),
        (StoreError("gone", retryable=False, reason=Reason.NOT_FETCHED), "not_fetched"),
    ],
)
def test_objects_that_cannot_be_had(error: StoreError, kind: str) -> None:
    """A newer version is done without a record; one that is gone has a record that says so."""
    saved = Saved()
    broker = Broker(fetchers={"mem": Memory(error)}, connectors={"saved": saved})
    outcome: Outcome = made(broker).scan_ref(REF, deadline=Deadline.after_ms(60_000))
    assert outcome.kind == kind
    assert len(saved.documents) == (kind == "not_fetched")


def test_a_third_delivery_alone_says_nothing() -> None:
    """Outages and throttles make deliveries, too: where no mark was left behind the object is parsed."""
    saved = Saved()
    broker = Broker(fetchers={"mem": Memory()}, connectors={"saved": saved})
    outcome = made(broker).scan_ref(REF, deadline=Deadline.after_ms(60_000), deliveries=3)
    assert outcome.kind == "stored"
    assert saved.documents[0]["results"][0]["plugins_run"]["workers"] == [["find", "split"]]
