"""The floor, step by step: what a journal lacks for its payload to count as examined."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stoq_core.account import Coverage
from stoq_core.errors import Reason, Unread
from stoq_core.job import Dispatch
from stoq_core.limits import Deadline, RequestLimits
from stoq_core.payload import Payload, PayloadMeta
from stoq_core.plugin import Accepts
from stoq_core.scan.examine import Task
from stoq_core.scan.floor import Floor
from stoq_core.scan.journal import Journal
from tests.kit import Source, dispatcher, worker


def of(**attributes: Any) -> Any:
    """A worker that does nothing, with these declarations."""
    return worker(lambda _p, _j: iter(()), **attributes)


SOURCE = Source(
    {
        "types": of(roles=("identifies",)), "rules": of(roles=("searches",)), "opens": of(roles=("opens",)),
        "also": of(), "small": of(essential=False), "magic": of(accepts=Accepts(magic=(b"MAGIC",))),
    },
    always=["types", "rules", "also"],
    routes=dispatcher(lambda _p, _j: iter(())),
    reads=dispatcher(lambda _p, _j: iter(()), reads_results=True),
)  # fmt: skip
ALL = ("dispatcher:routes#0", "dispatcher:reads#0", "dispatcher:reads#1", "types", "rules", "also")


def journal(*steps: str, kind: str | None = "text") -> Journal:
    """One in which these have ended."""
    made = Journal()
    made.round(["types", "rules", "also"])
    for step in steps:
        made.start(step)
        made.end(step, 0.1, failed=False)
    if kind is not None:
        made.emit("types", {"label": "it", "kind": kind})
    return made


def lacks(
    made: Journal, content: bytes = b"content", meta: PayloadMeta | None = None, **task: Any
) -> list[Any]:
    """Reason and plugin of each thing that is missing."""
    asked = Task(
        payload=Payload(content, meta or PayloadMeta(), payload_id="p"),
        limits=RequestLimits(), deadline=Deadline.after_ms(1_000), bytes_left=1, children_left=1, **task,
    )  # fmt: skip
    found = Floor(SOURCE).lacks(asked, made)
    assert {one.payload_id for one in found} <= {"p"}
    return [(one.reason, one.plugin) for one in found]


def test_nothing_is_lacking() -> None:
    """All has ended, and it is text."""
    assert lacks(journal(*ALL)) == []


@pytest.mark.parametrize(
    ("left_out", "expected"),
    [
        ("types", [(Reason.NOT_IDENTIFIED, None), (Reason.PLUGIN_FAILED, "types")]),
        ("rules", [(Reason.NOT_SEARCHED, None), (Reason.PLUGIN_FAILED, "rules")]),
        ("also", [(Reason.PLUGIN_FAILED, "also")]),
        ("dispatcher:routes#0", [(Reason.PLUGIN_FAILED, "dispatcher:routes")]),
        ("dispatcher:reads#1", [(Reason.PLUGIN_FAILED, "dispatcher:reads")]),
    ],
)
def test_each_step_must_have_ended(left_out: str, expected: list[Any]) -> None:
    """What is due and has not ended is named, under its reason."""
    assert lacks(journal(*(step for step in ALL if step != left_out))) == expected


def test_an_empty_journal_lacks_all() -> None:
    """DONE at once."""
    reasons = {reason for reason, _ in lacks(Journal())}
    assert reasons == {Reason.NOT_IDENTIFIED, Reason.NOT_SEARCHED, Reason.PLUGIN_FAILED}


def test_who_says_nothing_has_not_identified() -> None:
    """It ended, and there is no result of it; or it failed after it."""
    assert (Reason.NOT_IDENTIFIED, None) in lacks(journal(*ALL, kind=None))
    failed = journal(*ALL)
    failed.failed.add("types")
    assert lacks(failed) == [(Reason.NOT_IDENTIFIED, None), (Reason.PLUGIN_FAILED, "types")]


def test_failed_steps_that_say_why_are_not_named_twice() -> None:
    """The reason is there; that it was not searched is said all the same."""
    made = journal(*ALL)
    made.failed.add("rules")
    made.emit("rules", Unread(reason=Reason.TIMEOUT, plugin="rules"))
    assert lacks(made) == [(Reason.NOT_SEARCHED, None)]


def asks(name: str) -> Callable[[Journal], None]:
    """A dispatch of that worker."""
    return lambda made: made.emit("dispatcher:routes#0", Dispatch(name))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("opens", b"x", [(Reason.PLUGIN_FAILED, "opens")]),
        ("small", b"x", []),
        ("magic", b"x", []),
        ("magic", b"MAGIC", [(Reason.PLUGIN_FAILED, "magic")]),
        ("nobody", b"x", [(Reason.PLUGIN_MISSING, "nobody")]),
    ],
)
def test_what_was_dispatched_must_have_ended(name: str, content: bytes, expected: list[Any]) -> None:
    """By whatever way it was asked for, unless it is not essential or does not concern these bytes."""
    made = journal(*ALL)
    asks(name)(made)
    assert lacks(made, content) == expected
    assert lacks(journal(*ALL), content, start=[name]) == expected
    assert lacks(journal(*ALL), content, asked={name: []}) == expected
    assert lacks(journal(*ALL), content, PayloadMeta(dispatch_to=[name])) == expected


@pytest.mark.parametrize("kind", ["container", "encoding"])
def test_containers_must_have_been_opened(kind: str) -> None:
    """By one with the role, that gave children or an account; or a reason says why not."""
    assert lacks(journal(*ALL, kind=kind)) == [(Reason.NO_WORKER, None)]
    shrugs = journal(*ALL, "opens", kind=kind)
    asks("opens")(shrugs)
    assert lacks(shrugs) == [(Reason.NO_WORKER, None)]
    opened = journal(*ALL, "opens", kind=kind)
    opened.emit("opens", Coverage(structure=7))
    assert lacks(opened) == []
    other = journal(*ALL, kind=kind)
    other.emit("also", Coverage(structure=7))
    assert lacks(other) == [(Reason.NO_WORKER, None)]
    for plugin, reason in (
        ("opens", Reason.ENCRYPTED_ARCHIVE),
        ("dispatcher:routes", Reason.NO_WORKER),
        ("engine", Reason.DEADLINE),
    ):
        said = journal(*ALL, kind=kind)
        said.emit(plugin, Unread(reason=reason, plugin=plugin))
        assert lacks(said) == [], plugin


def test_dense_bytes_of_no_known_type() -> None:
    """`unknown_type`, unless an account explains them or the config takes it as it is."""
    made = journal(*ALL, kind="unknown")
    assert lacks(made) == [(Reason.UNKNOWN_TYPE, None)]
    task = Task(
        payload=Payload(b"x"),
        limits=RequestLimits(),
        deadline=Deadline.after_ms(1_000),
        bytes_left=1,
        children_left=1,
    )
    assert Floor(SOURCE, unknown_is_clean=True).lacks(task, made) == []


def test_bytes_that_an_account_leaves_unread_have_a_reason() -> None:
    """Without one it is the plugin's failure."""
    made = journal(*ALL)
    made.emit("also", Coverage(plain=3, unread=4))
    assert lacks(made) == [(Reason.PLUGIN_FAILED, None)]
    made.emit("also", Unread(reason=Reason.CORRUPT, plugin="also"))
    assert lacks(made) == []


def test_a_copy_needs_only_what_runs_again_for_it() -> None:
    """What ran for the first copy counts; of the dispatchers only those that read the meta are due."""
    prior = {"types": {"kind": "container"}, "rules": None}
    assert lacks(Journal(), names=["also"], prior=prior) == [(Reason.PLUGIN_FAILED, "also")]
    assert lacks(journal("also", "dispatcher:reads#1", kind=None), names=["also"], prior=prior) == []


def test_what_a_config_has_nobody_for() -> None:
    """The roles that are nobody's."""
    assert Floor(SOURCE).missing() == []
    assert Floor(Source({"also": of()}, always=["also"])).missing() == ["identifies", "searches", "opens"]
    opens = Source({"opens": of(roles=("opens", "searches"))}, always=["opens"])
    assert Floor(opens).missing() == ["identifies"]
