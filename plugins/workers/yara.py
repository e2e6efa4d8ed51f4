"""YARA rules over the payload; rules with a score become findings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from plugins._rules.beside import is_routing
from plugins._rules.yara import (
    YaraMatch,
    YaraOptions,
    left_out,
    matches,
    matches_of_text,
    ruleset_of,
    score,
    words,
)
from plugins._text import gate
from stoq_core.job import Finding, Job
from stoq_core.payload import Payload
from stoq_core.plugin import Role, Worker


class YaraResult(msgspec.Struct, frozen=True):
    """`matches`: one entry a rule that matched, those of the namespace `routing` left out."""

    matches: list[YaraMatch]


class Yara(Worker[YaraOptions]):
    """Rules' meta `score` (whole number), `attack` (technique ids) and `description` make findings.

    A text is searched a second time in its normal form (UTF-8, without carets, escapes, joined literals and
    the like), where that differs; what matches only there has `view` = "text".
    """

    libraries = {"yara_x": "yara-x (in requirements.txt)"}
    errors = {
        "timeout": "the rules took longer than `timeout_ms`",
        "scan_failed": "the library gave up on the bytes",
    }
    result = YaraResult
    roles: tuple[Role, ...] = ("searches",)

    def __init__(self, options: YaraOptions, name: str) -> None:
        """Without the shipped rules it does not count as a search for what is known to be bad."""
        super().__init__(options, name)
        self.roles = ("searches",) if options.shipped else ()

    def warnings(self) -> list[str]:
        """The rules that were left out."""
        return left_out(self.options)

    def warm(self) -> None:
        """Load the rules; scanning waits until after the fork."""
        ruleset_of(self.options)
        gate.warm()

    def scan(self, payload: Payload, job: Job) -> Iterable[Any]:
        """The findings, then one `YaraResult` where a rule matched."""
        plain = matches(payload, self.options, job)
        named = {(match.namespace, match.rule) for match in plain}
        of_text = matches_of_text(payload, self.options, job)
        found = [match for match in plain if not is_routing(match.namespace)]
        found += (m for m in of_text if (m.namespace, m.rule) not in named and not is_routing(m.namespace))
        emits: list[Any] = []
        for one in found:
            if score(one.meta) > 0:
                description = str(one.meta.get("description", ""))
                emits.append(Finding(one.rule, score(one.meta), description, words(one.meta, "attack")))
        if found:
            emits.append(YaraResult(found))
        return emits
