"""Deny and allow lists of digests: what is known to be bad, and what is known to be good."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec

from stoq_core.errors import ConfigError
from stoq_core.job import Finding, On
from stoq_core.options import Options, about
from stoq_core.plugin import Decorator
from stoq_core.response import PayloadReport, ScanResponse

_ALGORITHMS = {64: "sha256", 40: "sha1", 32: "md5"}
_DIGEST = re.compile(r"(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{64}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{32})(?![0-9A-Za-z])")
_COMMENTS = ("#", ";", "//")
_MOST_DIGESTS = 2_000_000  # about 90 bytes of memory each
_MOST_LISTED = 1_000


class ReputationOptions(Options, frozen=True):
    """The lists. Each is a file with one entry a line: a digest, or a CSV row that has one or more."""

    deny: Annotated[tuple[str, ...], about("files of digests that are bad")] = ()
    allow: Annotated[tuple[str, ...], about("files of digests that are good")] = ()
    deny_score: Annotated[int, about("score of what is denied", ge=1, le=1_000_000)] = 1_000
    weak_below: Annotated[
        int, about("findings with a lower score are taken back for what is allowed", ge=0)
    ] = 600
    allow_weak_digests: Annotated[
        bool, about("take md5 and sha1 in allow lists too, of which a bad twin of a good file can be made")
    ] = False


class ListedPayload(msgspec.Struct, frozen=True):
    """A payload on a list: `verdict` is denied or allowed, `list` the file's name without its ending."""

    payload_id: str
    verdict: str
    list: str
    digest: str


class ReputationResult(msgspec.Struct, frozen=True):
    """`listed` payloads; `not_compared` counts those without an md5 or sha1 that a list asks for."""

    listed: list[ListedPayload]
    not_compared: int


class Reputation(Decorator[ReputationOptions]):
    """Gives a payload whose digest is denied `deny_score`, and takes weak findings back from an allowed one.

    Denied goes before allowed. Only the very payload counts, not what it came out of. What was not
    examined stays so: an allowed file whose parts could not be read is `incomplete`. Other digests than
    sha256 are those that the worker `hash` made. A line with no digest but a comment or a CSV's first is
    refused at the start, with its file and number.
    """

    may_lower = True
    result = ReputationResult
    findings = {
        "deny_listed": (1_000, "A deny list has the payload's digest; the score is `deny_score`", ()),
        "allow_listed": (0, "An allow list has the digest: weak findings' scores are taken back", ()),
    }

    def open(self) -> None:
        """Read the lists."""
        where = f"decorator.{self.name}"
        self._deny = [_read(Path(one).expanduser(), f"{where}.deny") for one in self.options.deny]
        self._allow = [_read(Path(one).expanduser(), f"{where}.allow") for one in self.options.allow]
        if not self._deny and not self._allow:
            raise ConfigError(f"{where}: give it a list: deny or allow, each a list of files")
        for one in self._allow:
            if not self.options.allow_weak_digests and {20, 16} & one.sizes:
                raise ConfigError(
                    f"{where}.allow: {one.name} has md5 or sha1 digests, of which a bad twin of a good"
                    " file can be made; use sha256, or set allow_weak_digests = true"
                )
        sizes = {size for one in (*self._deny, *self._allow) for size in one.sizes}
        self._asked = [_ALGORITHMS[2 * size] for size in sorted(sizes, reverse=True)]

    def decorate(self, response: ScanResponse) -> Iterator[Any]:
        """Yield a finding for each payload that a list has, then one `ReputationResult`."""
        listed: list[ListedPayload] = []
        not_compared = 0
        for report in response.results:
            digests = _digests_of(report)
            not_compared += any(one not in digests for one in self._asked)
            hit = _hit(self._deny, digests)
            if hit is not None:
                finding = Finding("deny_listed", self.options.deny_score, f"{hit.list.name}: {hit.digest}")
                yield On(report.payload_id, finding)
                listed.append(ListedPayload(report.payload_id, "denied", hit.list.name, hit.digest))
                continue
            hit = _hit(self._allow, digests)
            if hit is not None:
                listed.append(ListedPayload(report.payload_id, "allowed", hit.list.name, hit.digest))
                weak = _weak(report, self.options.weak_below)
                if weak:
                    yield On(
                        report.payload_id, Finding("allow_listed", -weak, f"{hit.list.name}: {hit.digest}")
                    )
        if listed or not_compared:
            yield ReputationResult(listed[:_MOST_LISTED], not_compared)


class _List(NamedTuple):
    """A list by its name: raw digests, and which lengths there are."""

    name: str
    digests: frozenset[bytes]
    sizes: frozenset[int]


class _Hit(NamedTuple):
    """Which list has a payload, and by which digest."""

    list: _List
    digest: str


def _digests_of(report: PayloadReport) -> dict[str, str]:
    """The sha256 that the engine made, the others as the worker `hash` gave them."""
    made = report.result_of("hash")
    found = {
        name: made[name]
        for name in ("sha1", "md5")
        if isinstance(made, dict) and isinstance(made.get(name), str)
    }
    return {"sha256": report.sha256, **found} if report.sha256 else found


def _hit(lists: list[_List], digests: dict[str, str]) -> _Hit | None:
    for name, text in digests.items():
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            continue
        for one in lists:
            if raw in one.digests:
                return _Hit(one, f"{name} {text}")
    return None


def _weak(report: PayloadReport, below: int) -> int:
    """The sum that the payload's weak findings give: of one name the highest counts, as the core counts."""
    best: dict[str, int] = {}
    for one in report.findings:
        best[one.finding.name] = max(best.get(one.finding.name, 0), one.finding.score)
    return sum(score for score in best.values() if 0 < score < below)


def _read(file: Path, where: str) -> _List:
    """A list; plain text, the output of sha256sum, or CSV."""
    found: set[bytes] = set()
    try:
        with file.open(encoding="utf-8-sig", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                digests = [bytes.fromhex(one) for one in _DIGEST.findall(line)]
                found.update(digests)
                text = line.strip()
                if (
                    not digests
                    and text
                    and not text.startswith(_COMMENTS)
                    and not (number == 1 and "," in text)
                ):
                    raise ConfigError(
                        f"{where}: {file}, line {number}: no md5, sha1 or sha256 in {text[:60]!r}"
                    )
                if len(found) > _MOST_DIGESTS:
                    raise ConfigError(f"{where}: {file} has more than {_MOST_DIGESTS} digests; split it")
    except OSError as error:
        raise ConfigError(f"{where}: {file} cannot be read: {error.strerror}") from None
    if not found:
        raise ConfigError(f"{where}: {file} has no digests")
    return _List(file.stem, frozenset(found), frozenset(len(one) for one in found))
