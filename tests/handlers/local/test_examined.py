"""The phrase that says how much was examined."""

from __future__ import annotations

from handlers.local.examined import Examined
from stoq_core.account import Coverage
from stoq_core.errors import Reason, Unread
from stoq_core.payload import PayloadMeta, RequestMeta
from stoq_core.response import PayloadReport, ScanResponse, Stats


def response(*reasons: tuple[Reason, ...], plain: int = 1_000, unread: int = 0) -> ScanResponse:
    """With a payload for each."""
    reports = [
        PayloadReport(
            payload_id=str(at),
            size=1,
            sha256="",
            meta=PayloadMeta(),
            unread=[Unread(reason=one) for one in ones],
        )
        for at, ones in enumerate(reasons)
    ]
    stats = Stats(payloads=len(reports), coverage=Coverage(plain=plain, unread=unread))
    return ScanResponse(scan_id="", time="", request_meta=RequestMeta(), results=reports, stats=stats)


def phrase(*responses: ScanResponse) -> str:
    """Of all of them."""
    examined = Examined()
    for one in responses:
        examined.add(one)
    return str(examined)


def test_all_of_it() -> None:
    """Nothing is unread, in how many payloads."""
    assert phrase(response((), ())) == "examined 100 %: 2 payloads, nothing unread"
    assert phrase(response(())) == "examined 100 %: 1 payload, nothing unread"


def test_not_all_of_it() -> None:
    """The reasons by how often they stand; never 100 % where one does."""
    part = response((Reason.TOO_DEEP,), (), (Reason.TOO_DEEP, Reason.CORRUPT), plain=750, unread=250)
    assert phrase(part) == "examined 75 %: 3 payloads, 2 not read whole (too_deep, corrupt)"
    assert phrase(response((Reason.CORRUPT,))) == "examined 99.9 %: 1 payload, 1 not read whole (corrupt)"
    assert phrase(part, response((), plain=10**6)).startswith("examined 99.9 %: 4 payloads")
    many = response(tuple(Reason)[:6])
    assert phrase(many).endswith(", …)")
