"""What the whole tree gives away: names that lie, programs in mails, shortcuts beside what they start."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import msgspec

from plugins._text.names import NAME_FINDINGS, name_findings
from stoq_core.errors import ConfigError, Reason
from stoq_core.job import Finding, On
from stoq_core.options import Options, about
from stoq_core.plugin import Decorator
from stoq_core.response import PayloadReport, ScanResponse

_SHIPPED = Path(__file__).resolve().parent.parent / "context.toml"
_NAME_CHARS = 1_000
_DISGUISES = re.compile(
    r"\.(exe|scr|com|pif|cpl|bat|cmd|msi|hta|vbs|vbe|jse|wsf|wsh|lnk|ps1|scf)\s*$", re.IGNORECASE
)
"""Extensions that count behind another one anywhere; `page.html.js` is an everyday name but in a mail."""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of the rules: see the head of the shipped file."""

    means: str
    score: Annotated[int, msgspec.Meta(ge=0, le=1000)]
    attack: tuple[str, ...] = ()
    type: tuple[str, ...] = ()
    name: str = ""
    within: tuple[str, ...] = ()
    parent: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    holds: str = ""
    locked: bool = False


class ContextOptions(Options, frozen=True):
    """Rules of one's own."""

    rules: Annotated[str, about("a file of rules beside the shipped ones; a name of theirs is replaced")] = ""


def read_rules(file: Path) -> dict[str, Rule]:
    """The rules of a file, groups resolved. Raises `ConfigError`, which names the file and what is wrong."""
    try:
        table = tomllib.loads(file.read_text("utf-8"))
        groups = msgspec.convert(table.pop("groups", {}), dict[str, list[str]])
        rules = msgspec.convert(table, dict[str, Rule])
        for rule in rules.values():
            re.compile(rule.name), re.compile(rule.holds)
    except (OSError, ValueError, re.error) as error:
        raise ConfigError(f"decorator.context: {file}: {error}") from None
    return {name: _resolved(rule, groups, f"{file}: {name}") for name, rule in rules.items()}


def _resolved(rule: Rule, groups: dict[str, list[str]], place: str) -> Rule:
    def labels(words: tuple[str, ...]) -> tuple[str, ...]:
        found: list[str] = []
        for word in words:
            if not word.startswith("@"):
                found.append(word)
            elif word[1:] in groups:
                found += groups[word[1:]]
            else:
                raise ConfigError(f"decorator.context: {place}: there is no group {word[1:]!r}")
        return tuple(found)

    fields = {name: labels(getattr(rule, name)) for name in ("type", "within", "parent", "beside")}
    return msgspec.structs.replace(rule, **fields)


@cache
def shipped_rules() -> dict[str, Rule]:
    """Those of `plugins/context.toml`."""
    return read_rules(_SHIPPED)


class Context(Decorator[ContextOptions]):
    """Finds in the tree of payloads what no single one shows; the rules are data (`plugins/context.toml`).

    Names are looked at for every member and for the file itself, wherever the same bytes stand.
    """

    findings = {
        **NAME_FINDINGS,
        **{name: (rule.score, rule.means, rule.attack) for name, rule in shipped_rules().items()},
    }

    def open(self) -> None:
        """Read the rules."""
        own = read_rules(Path(self.options.rules).expanduser()) if self.options.rules else {}
        self._rules = {**shipped_rules(), **own}

    def decorate(self, response: ScanResponse) -> Iterator[Any]:
        """Yield `On` a payload each finding that it has not got yet."""
        tree = _Tree(response.results)
        for report in response.results:
            known = {found.finding.name for found in report.findings}
            for name, detail in self._of(report, tree):
                if name not in known:
                    known.add(name)
                    score, _, attack = self._declared(name)
                    yield On(report.payload_id, Finding(name, score, detail, attack))

    def _declared(self, name: str) -> tuple[int, str, tuple[str, ...]]:
        if name in self._rules:
            rule = self._rules[name]
            return rule.score, rule.means, rule.attack
        return NAME_FINDINGS[name]

    def _of(self, report: PayloadReport, tree: _Tree) -> Iterator[tuple[str, str]]:
        names = tree.names(report)
        for name in names:
            for found in name_findings(name)[0]:
                if _DISGUISES.search(name):
                    yield found, name
        for found, rule in self._rules.items():
            matched = tree.matches(rule, report, names)
            if matched is not None:
                yield found, matched


class _Tree:
    """The payloads of one response, and what stands around each."""

    def __init__(self, reports: list[PayloadReport]) -> None:
        self._by_id = {report.payload_id: report for report in reports}
        self._label = {report.payload_id: _label(report) for report in reports}
        self._children: dict[str | None, list[PayloadReport]] = {}
        self._labels_below: dict[str | None, Counter[str]] = {}
        for report in reports:
            self._children.setdefault(report.extracted_from, []).append(report)
            below = self._labels_below.setdefault(report.extracted_from, Counter())
            below[self._label[report.payload_id]] += 1

    def names(self, report: PayloadReport) -> list[str]:
        """What the payload is called, at each of its places."""
        metas = (report.meta, *(copy.payload_meta for copy in report.occurrences))
        names = (meta.extra_data.get("filename") for meta in metas)
        return list(dict.fromkeys(str(name)[-_NAME_CHARS:] for name in names if name))

    def matches(self, rule: Rule, report: PayloadReport, names: list[str]) -> str | None:
        """The detail, if the rule holds for this payload."""
        if rule.type and self._label[report.payload_id] not in rule.type:
            return None
        named = next((name for name in names if re.search(rule.name, name, re.IGNORECASE)), None)
        if rule.name and named is None:
            return None
        if rule.locked and not _locked(report):
            return None
        if not self._stands(rule, report):
            return None
        return (named or (names[0] if names else ""))[:200]

    def _stands(self, rule: Rule, report: PayloadReport) -> bool:
        above = self._above(report)
        if rule.parent and (not above or above[0] not in rule.parent):
            return False
        if rule.within and not set(above).intersection(rule.within):
            return False
        if rule.beside and not self._beside(rule, report):
            return False
        return not rule.holds or self._holds(rule.holds, report)

    def _above(self, report: PayloadReport) -> list[str]:
        """Labels from the parent up to the root."""
        labels: list[str] = []
        at = self._by_id.get(report.extracted_from or "")
        while at is not None and len(labels) < len(self._by_id):
            labels.append(self._label[at.payload_id])
            at = self._by_id.get(at.extracted_from or "")
        return labels

    def _beside(self, rule: Rule, report: PayloadReport) -> bool:
        below, own = self._labels_below[report.extracted_from], self._label[report.payload_id]
        return any(below[label] > (label == own) for label in rule.beside)

    def _holds(self, expression: str, report: PayloadReport) -> bool:
        """A member by name: of those taken out, or of those only listed."""
        listed = (report.result_of("decompress") or {}).get("members", [])
        names = [str(member.get("name", "")) for member in listed if isinstance(member, dict)]
        for child in self._children.get(report.payload_id, []):
            names += self.names(child)
        return any(re.search(expression, name[-_NAME_CHARS:], re.IGNORECASE) for name in names)


def _label(report: PayloadReport) -> str:
    return str((report.result_of("mimetype") or {}).get("label", ""))


def _locked(report: PayloadReport) -> bool:
    opened = (report.result_of("decompress") or {}).get("password")
    return bool(opened) or any(unread.reason is Reason.ENCRYPTED_ARCHIVE for unread in report.unread)
