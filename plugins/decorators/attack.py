"""A summary of all findings by ATT&CK technique."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from plugins._rules.attack_names import NAMES
from stoq_core.options import Options
from stoq_core.plugin import Decorator
from stoq_core.response import ScanResponse

_MOST_TECHNIQUES = 1_000


class Technique(msgspec.Struct, frozen=True):
    """A technique: `id`, `name` (empty if not known), `findings` by name, `payloads`, the highest `score`."""

    id: str
    name: str
    findings: list[str]
    payloads: list[str]
    score: int


class AttackResult(msgspec.Struct, frozen=True):
    """`techniques`, the highest score first."""

    techniques: list[Technique]


class Attack(Decorator[Options]):
    """Lists each technique that a finding of any payload names; nothing where none does.

    It sees the findings of the decorators before it, so it stands last. Names are those of MITRE ATT&CK,
    Enterprise, version 17.
    """

    result = AttackResult

    def decorate(self, response: ScanResponse) -> Iterator[Any]:
        """Yield one `AttackResult`."""
        found: dict[str, list[tuple[int, str, str]]] = {}
        for report in response.results:
            for one in report.findings:
                for technique in one.finding.attack:
                    rows = found.setdefault(technique, [])
                    rows.append((one.finding.score, one.finding.name, report.payload_id))
        made = [
            Technique(
                technique,
                NAMES.get(technique, ""),
                sorted({name for _, name, _ in rows}),
                list(dict.fromkeys(payload for _, _, payload in rows))[:_MOST_TECHNIQUES],
                max(score for score, _, _ in rows),
            )
            for technique, rows in found.items()
        ]
        made.sort(key=lambda one: (-one.score, one.id))
        if made:
            yield AttackResult(made[:_MOST_TECHNIQUES])
