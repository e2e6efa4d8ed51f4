"""Each payload's report says what its bytes were, and the scan's sum says how much was examined."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from stoq_core.account import Account, Coverage
from stoq_core.errors import Reason, Unread
from stoq_core.limits import RequestLimits
from stoq_core.payload import Payload, PayloadMeta
from stoq_core.scan.report import merged
from tests.kit import Source, scan, worker

KINDS = ("structure", "child", "padding", "media", "unread", "searched")


def test_an_account_stands_in_the_report() -> None:
    """Claims by kind, what nobody claimed as a child, and zeros as padding; the sum is the size."""

    def opens(payload: Any, job: Any) -> Any:
        if payload.depth == 0:
            job.account.structure(0, 10)
            job.account.child(10, 20)
            job.account.media(30, 5)
            yield job.child([b"inner"], name="inner")

    content = b"h" * 10 + b"c" * 20 + b"m" * 5 + b"left over here" + bytes(50)
    scanned = scan(Source({"o": worker(opens, roles=("opens",))}, always=["o"]), content)
    root, *children = scanned.reports
    assert root.coverage == Coverage(structure=10, child=84, media=5)
    assert root.coverage.total == root.size == len(content)
    assert [one.name for one in children] == ["inner", "tail"]
    assert children[0].coverage == Coverage(plain=5)
    assert scanned.stats.coverage == Coverage(structure=10, child=84, media=5, plain=5 + 64)


@given(
    size=st.integers(0, 300),
    claims=st.lists(
        st.tuples(st.sampled_from(KINDS), st.integers(-20, 320), st.integers(-5, 320)), max_size=12
    ),
    content=st.binary(max_size=300),
)
def test_the_parts_are_the_whole(size: int, claims: list[tuple[str, int, int]], content: bytes) -> None:
    """Whatever is claimed, overlapping or outside, the parts together are the payload's size."""
    view = memoryview((content + bytes(size))[:size])
    account = Account(size)
    for kind, offset, length in claims:
        getattr(account, kind)(offset, length)
    for _ in account.gaps(view):
        pass
    coverage = account.coverage()
    assert coverage.total == size
    assert min(msgspec.structs.astuple(coverage)) >= 0


def test_the_account_that_explains_most_is_shown() -> None:
    """Of two openers the one that leaves less as it stands."""

    def one(_payload: Any, job: Any) -> Any:
        job.account.searched(0, 10)
        yield {}

    def other(_payload: Any, job: Any) -> Any:
        job.account.structure(0, 10)
        yield {}

    scanned = scan(Source({"a": worker(one), "b": worker(other)}, always=["a", "b"]), b"0123456789")
    assert scanned.reports[0].coverage == Coverage(structure=10)


def test_what_was_not_examined_is_unread() -> None:
    """A payload that is not scanned, or that nobody can open, has all its bytes unread."""

    def locked(_payload: Any, job: Any) -> Any:
        job.unread(Reason.ENCRYPTED_ARCHIVE, "no password fits")
        yield {}

    source = Source({"l": worker(locked)}, always=["l"])
    skipped = Payload(b"12345", PayloadMeta(should_scan=False))
    assert scan(source, skipped).reports[0].coverage == Coverage(unread=5)
    assert scan(source, b"1234").stats.coverage == Coverage(unread=4)
    large = scan(source, b"123456", limits=RequestLimits(payload_bytes=5))
    assert large.reports[0].coverage == Coverage(unread=6)


def test_repeated_causes_are_one_entry_with_a_count() -> None:
    """The same words are counted; of one reason twenty different ones are kept, the last for the rest."""
    said = [Unread(reason=Reason.CORRUPT, plugin="a", message="the same", payload_id="p")] * 3
    said += [
        Unread(reason=Reason.TIMEOUT, plugin="a", message=f"member {n}", payload_id="p") for n in range(50)
    ]
    said.append(Unread(reason=Reason.CORRUPT, plugin="b", message="the same", payload_id="p"))
    found = merged(said)
    assert [(one.reason, one.plugin, one.count) for one in found[:2]] == [
        (Reason.CORRUPT, "a", 3), (Reason.TIMEOUT, "a", 1),
    ]  # fmt: skip
    assert len(found) == 22
    assert sum(one.count for one in found) == len(said)
    assert found[20].count == 31
    assert {one.payload_id for one in found} == {"p"}


def test_an_error_without_a_reason_is_one() -> None:
    """An essential worker that reports an error has not read the payload whole, if it does not say so."""

    def complains(code: str, **words: Any) -> Any:
        def scan_it(_payload: Any, job: Any) -> Any:
            job.error(code, "so and so", **words)
            yield {}

        return scan_it

    workers = {
        "corrupt": worker(complains("corrupt")),
        "malformed": worker(complains("malformed")),
        "own": worker(complains("own_word")),
        "small": worker(complains("own_word"), essential=False),
        "whole": worker(complains("own_word", whole=True)),
    }
    scanned = scan(Source(workers, always=workers), b"x")
    found = {one.plugin: one.reason for one in scanned.reports[0].unread}
    assert found == {"corrupt": Reason.CORRUPT, "malformed": Reason.CORRUPT, "own": Reason.PLUGIN_FAILED}
    assert len(scanned.errors) == 5
