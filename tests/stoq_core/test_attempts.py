"""Safe mode counts deaths while parsing, never deliveries: each ending in each order of three deliveries."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugins.connectors.filedir import Filedir
from stoq_core import attempts as attempts_module
from stoq_core.attempts import LEASE_S, Attempts
from stoq_core.config import load
from stoq_core.errors import StoreError
from stoq_core.job import Finding
from stoq_core.limits import Deadline
from stoq_core.options import Options
from stoq_core.payload import ObjectRef, Payload, scan_id_for
from stoq_core.pipeline import Broker, Pipeline
from stoq_core.plugin import ArchiveContext, Archiver
from stoq_core.response import ScanResponse
from stoq_core.scan.executor import Inline
from stoq_core.testing import make
from tests.kit import UNSEARCHED, Source, worker

REF = ObjectRef(store="mem", bucket="in", key="a.bin", version="7")
ACKED, AGAIN, DEAD = range(3)
ENDINGS = (
    "well", "killed_parsing", "killed_fetching", "killed_storing", "store_down", "mark_store_down",
    "archive_down", "throttled", "no_time",
)  # fmt: skip
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Store(Filedir):
    """A folder that can be down, wholly or for marks, and die."""

    ending = "well"

    def save(self, response: ScanResponse) -> None:
        """Save, or not."""
        if self.ending == "killed_storing":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.ending == "store_down":
            raise StoreError("down", retryable=True)
        super().save(response)

    def begin_attempt(self, scan_id: str, until: float) -> float | None:
        """A store that cannot be written fails here, before anything is parsed."""
        if self.ending == "mark_store_down":
            raise StoreError("down", retryable=True)
        return super().begin_attempt(scan_id, until)


class Bucket(Archiver[Options]):
    """Gives one object and keeps bytes, or not."""

    def __init__(self, ending: str, folder: Path) -> None:
        """`ending` says what happens."""
        super().__init__(Options(), "mem")
        self.ending = ending
        self.folder = folder

    def get(self, ref: ObjectRef, max_bytes: int) -> Payload:
        """The object."""
        if self.ending == "killed_fetching":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.ending == "throttled":
            raise StoreError("throttled", retryable=True)
        return Payload(b"content")

    def archive(self, payload: Payload, context: ArchiveContext) -> dict[str, Any]:
        """Keep the bytes."""
        if self.ending == "archive_down":
            raise StoreError("archive is down", retryable=True)
        (self.folder / "archived").write_bytes(payload.content)
        return {}


def delivery(folder: Path, number: int, ending: str) -> int:
    """One delivery in a process of its own, an hour behind the one before it; how it ended for the queue."""
    pid = os.fork()
    if pid:
        status = os.waitpid(pid, 0)[1]
        return DEAD if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    try:
        os._exit(_deliver(folder, number, ending))
    finally:
        os._exit(99)


def _deliver(folder: Path, number: int, ending: str) -> int:
    def finds(_payload: Payload, _job: Any) -> Iterator[Any]:
        if ending == "killed_parsing":
            os.kill(os.getpid(), signal.SIGKILL)
        yield Finding("bad", 1000)

    source = Source({"find": worker(finds)}, always=["find"])
    store = make(Store, path=str(folder / "results"))
    store.ending = ending
    store.open()
    bucket = Bucket(ending, folder)
    broker = Broker(fetchers={"mem": bucket}, archivers={"mem": bucket}, connectors={"store": store})
    now = START + dt.timedelta(hours=number)
    made = Pipeline(
        load(overrides=[("verdict.accept", UNSEARCHED)]), source, Inline(source), broker, now=lambda: now
    )  # type: ignore[arg-type]
    if ending == "no_time":
        return AGAIN  # what a handler does with a record that it does not begin
    try:
        made.scan_ref(REF, deadline=Deadline.after_ms(60_000), deliveries=number)
    except StoreError as error:
        return AGAIN if error.retryable else 98
    return ACKED


def record(folder: Path) -> dict[str, Any] | None:
    """What is stored of the object."""
    store = make(Filedir, path=str(folder / "results"))
    store.open()
    return store.get(scan_id_for(load().deployment, REF.identity, "live"))


@pytest.mark.parametrize("first", ENDINGS)
def test_every_ending_in_every_order_of_three(tmp_path: Path, first: str) -> None:
    """One right record; `crashed` only where a delivery died while it parsed; none acknowledged unstored.

    Where an attempt had stored all before the archive failed, its record is the more complete one and stays.
    """
    for number, (second, third) in enumerate(itertools.product(ENDINGS, ENDINGS)):
        folder = tmp_path / str(number)
        folder.mkdir()
        marked = stored = False
        for at, ending in enumerate((first, second, third, "well"), 1):
            end = delivery(folder, at, ending)
            stored |= ending == "archive_down" and not marked
            marked |= end == DEAD and ending == "killed_parsing" and at > 1
            if end == ACKED:
                break
        else:
            pytest.fail(f"{first}, {second}, {third}: never acknowledged")
        found = record(folder)
        assert found is not None, (first, second, third)
        reasons = {unread["reason"] for unread in found["decorators"]["verdict"]["unread"]}
        crashed = marked and not stored
        assert ("crashed" in reasons) == crashed, (first, second, third, reasons)
        assert crashed or found["decorators"]["verdict"]["verdict"] == "malicious"
        assert (folder / "archived").read_bytes() == b"content"
        assert not list((folder / "results").glob("*.attempt")), (first, second, third)


class Marks:
    """Marks in memory; `down` counts the calls that fail."""

    def __init__(self) -> None:
        """None yet."""
        self.standing: dict[str, float] = {}
        self.down = 0

    def begin_attempt(self, scan_id: str, until: float) -> float | None:
        """See `AttemptMarks`."""
        if scan_id in self.standing:
            return self.standing[scan_id]
        self.standing[scan_id] = until
        return None

    def end_attempt(self, scan_id: str, until: float) -> None:
        """See `AttemptMarks`."""
        if self.down:
            self.down -= 1
            raise StoreError("down", retryable=True)
        if self.standing.get(scan_id) == until:
            del self.standing[scan_id]


def test_an_attempt_that_lives_is_not_dead_and_a_dead_one_is_known_within_its_lease() -> None:
    """Two deliveries at a time: a mark that is renewed meanwhile is at work, one that is not is dead."""
    marks, clock = Marks(), [1_000.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds
        if alive:
            alive[0] = first.renew("a", alive[0])

    first, other = (Attempts(marks, now=lambda: clock[0], sleep=sleep) for _ in range(2))
    assert first.begin("a", 2) is not None
    alive = [marks.standing["a"]]
    with pytest.raises(StoreError) as raised:
        other.begin("a", 3)
    assert raised.value.retryable
    alive.clear()
    assert other.begin("a", 4) is None
    assert clock[0] - 1_000 < 2 * LEASE_S
    other.clear("a")
    assert other.begin("a", 5) is not None


def test_a_long_attempt_renews_its_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    """From a thread of its own, and takes away the mark that stands at its end."""
    monkeypatch.setattr(attempts_module, "_RENEW_S", 0.001)
    marks, clock = Marks(), itertools.count(1_000)
    attempt = Attempts(marks, now=lambda: float(next(clock))).begin("a", 2)
    assert attempt is not None
    before = marks.standing["a"]
    with attempt:
        end = time.monotonic() + 20
        while marks.standing.get("a") in (before, None) and time.monotonic() < end:
            time.sleep(0.002)
        assert marks.standing["a"] > before
    assert marks.standing == {}


def test_a_mark_that_could_not_be_taken_away_is_no_death() -> None:
    """An outage at the end of an attempt: the same process takes the mark away before its next one."""
    marks, clock = Marks(), [1_000.0]
    attempts = Attempts(marks, now=lambda: clock[0], sleep=lambda _s: None)
    attempt = attempts.begin("a", 2)
    assert attempt is not None
    marks.down = 100
    with attempt:
        pass
    assert "a" in marks.standing
    marks.down = 0
    clock[0] += 3_600
    assert attempts.begin("a", 3) is not None
