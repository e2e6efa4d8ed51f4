"""One phrase that says how much of all bytes was shown to be examined, and why the rest was not."""

from __future__ import annotations

from stoq_core.account import Coverage
from stoq_core.response import ScanResponse

_SHOWN_REASONS = 4


class Examined:
    """Sums over responses."""

    def __init__(self) -> None:
        """Nothing so far."""
        self.coverage = Coverage()
        self.payloads = self.partly = 0
        self.reasons: dict[str, int] = {}

    def add(self, response: ScanResponse) -> None:
        """Take in one response; a reason counts once a payload."""
        self.coverage = self.coverage.plus(response.stats.coverage)
        self.payloads += response.stats.payloads
        found = [{one.reason.value for one in report.unread} for report in response.results]
        own = (
            {one.reason.value for one in response.verdict.unread if not one.payload_id}
            if response.verdict
            else set()
        )
        for reasons in (*found, own):
            for reason in sorted(reasons):
                self.reasons[reason] = self.reasons.get(reason, 0) + 1
        self.partly += sum(map(bool, found))

    def __str__(self) -> str:
        """`examined 100 %: 41 payloads, nothing unread`, or how many were not read whole, and why."""
        payloads = f"{self.payloads:,} payload{'' if self.payloads == 1 else 's'}"
        if not self.reasons:
            return f"examined 100 %: {payloads}, nothing unread"
        often = sorted(self.reasons, key=lambda reason: (-self.reasons[reason], reason))
        named = ", ".join(often[:_SHOWN_REASONS]) + (", …" if often[_SHOWN_REASONS:] else "")
        return f"examined {self._percent()} %: {payloads}, {self.partly:,} not read whole ({named})"

    def _percent(self) -> str:
        """In tenths, rounded down: what is not read whole is never 100."""
        total = self.coverage.total
        tenths = 1_000 * (total - self.coverage.unread) // total if total else 0
        return f"{min(tenths, 999) / 10:g}"
