"""A child has further payloads in line: whatever happens to it or to their order, each is examined once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stoq_core.errors import Reason
from stoq_core.limits import Deadline, MiB
from stoq_core.payload import Payload
from stoq_core.sandbox.run import SandboxRun
from stoq_core.scan.examine import Begun, Task
from stoq_core.scan.journal import Listener
from tests.stoq_core.sandbox.stage import SCAN_ID, Stage, stage

ALL = ["hash", "hostile", "later"]


@pytest.fixture
def one_child() -> Iterator[Stage]:
    """A sandbox with one child, so that what is begun early waits for what was begun before."""
    with stage(sandbox__processes=1) as one:
        yield one


def task(one: Stage, content: bytes) -> Task:
    """A payload to examine."""
    payload = Payload(content, payload_id="11111111-1111-4111-8111-111111111111")
    return Task(
        payload=payload,
        limits=one.config.limits,
        deadline=Deadline.after_ms(60_000),
        bytes_left=100 * MiB,
        children_left=100,
        request=SCAN_ID,
    )


def finished(run: Begun) -> list[str]:
    """The workers that came to an end, and that they began in one round."""
    journal = run.finish(Listener())
    assert len(journal.rounds) == 1
    return sorted(journal.finished - journal.failed)


def first_of(one: Stage, content: bytes) -> SandboxRun:
    """An examination that begins at once."""
    begun = task(one, content)
    return SandboxRun(one.sandbox, begun, one.sandbox.take(begun.request))


def ahead(one: Stage, content: bytes) -> Begun | None:
    """An examination that waits in line, or None where there is no room."""
    wanted = task(one, content)
    begun = one.sandbox.start_ahead(wanted.payload, SCAN_ID, lambda: wanted)
    return begun and begun[1]


def early(one: Stage, content: bytes) -> Begun:
    """An examination that waits in line, for there is room."""
    run = ahead(one, content)
    assert run is not None
    return run


def test_they_come_in_turn(one_child: Stage) -> None:
    """Up to eight payloads in one child, and no more; the larger ones come in memory files."""
    first = first_of(one_child, b"first")
    behind = [early(one_child, b"%d" % n + bytes(10_000 * n)) for n in range(7)]
    assert ahead(one_child, b"one too many") is None
    assert [finished(run) for run in (first, *behind)] == [ALL] * 8
    assert ahead(one_child, b"room again") is not None
    assert ahead(one_child, bytes(2 * MiB)) is None  # it would be held twice


def test_one_that_is_wanted_before_its_turn(one_child: Stage) -> None:
    """It goes to another child, and what stands before it comes to its end later."""
    first = first_of(one_child, b"first")
    second, third = early(one_child, b"second"), early(one_child, b"third")
    assert finished(second) == ALL
    assert finished(first) == ALL
    assert finished(third) == ALL


def test_one_that_is_wanted_no_more(one_child: Stage) -> None:
    """What its child says of it is nobody's; those before and behind it have all of theirs."""
    first = first_of(one_child, b"first")
    second, third = early(one_child, b"second"), early(one_child, b"third")
    second.close()
    assert [finished(first), finished(third)] == [ALL, ALL]
    fourth = first_of(one_child, b"fourth")
    fifth = early(one_child, b"fifth")
    fourth.close()
    assert finished(fifth) == ALL


@pytest.mark.parametrize("attack", ["crash", "leave 0", "hoard", "loop_c", "garbage 010000000900ff"])
def test_those_behind_one_that_dies(one_child: Stage, attack: str) -> None:
    """They are examined in another child and bear no blame."""
    contents = [b"before", f"DO {attack}\n".encode(), *(b"behind %d" % n for n in range(10))]
    done = one_child.scan(*contents)
    assert [one.workers_run for one in done.reports if one.extracted_from is None] == [[ALL]] * 12
    for report in done.reports[2:12]:
        assert report.result_of("later") == {"size": report.size}
        assert not report.unread
    assert {one.payload_id for one in done.errors} == {done.reports[1].payload_id}
    assert {one.plugin for one in done.errors} == {"hostile"}


def test_a_child_that_leaves_its_line_in_time(one_child: Stage) -> None:
    """One that is replaced after so many payloads is given no more than those."""
    with stage(sandbox__processes=1, sandbox__recycle_payloads=3) as one:
        done = one.scan(*(b"payload %d" % n for n in range(20)))
        assert [report.workers_run for report in done.reports] == [[ALL]] * 20
        assert not done.errors


def test_the_deadline_in_the_middle_of_a_line(one_child: Stage) -> None:
    """Those that wait in a line when time runs out are named, whichever child has them."""
    contents = [b"first", b"DO sleep_deaf\n", *(b"behind %d" % n for n in range(10))]
    done = one_child.scan(*contents, wall_ms=700)
    roots = [report for report in done.reports if report.extracted_from is None]
    assert len(roots) == 12
    assert not roots[0].unread
    for report in roots[1:]:
        assert Reason.DEADLINE in {one.reason for one in report.unread}
    assert not one_child.scan(b"next request").errors
