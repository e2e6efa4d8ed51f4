"""One YARA scan of a payload that the dispatcher and the worker share."""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from plugins._rules import Ruleset, load_ruleset
from stoq_core.errors import PluginError, Reason
from stoq_core.options import Options, about
from stoq_core.payload import Payload

_LOCAL = threading.local()
_MAX_PATTERN_MATCHES = 1_000


class YaraOptions(Options, frozen=True):
    """Which rules, and how much of a match to report."""

    rules: Annotated[str, about("ruleset artefact, rule file or folder; empty for the shipped rules")] = ""
    strings_limit: Annotated[int, about("matches reported for each string of a rule", ge=0)] = 10
    data_bytes: Annotated[int, about("bytes of each match that are reported, in hex", ge=0)] = 64
    timeout_ms: Annotated[int, about("longest scan of one payload, milliseconds", ge=1)] = 30_000


class YaraString(msgspec.Struct, frozen=True, omit_defaults=True):
    """One match of one string: `data` in hex, `xor_key` where the pattern has the xor modifier."""

    id: str
    offset: int
    length: int
    data: str
    xor_key: int = 0


class YaraMatch(msgspec.Struct, frozen=True):
    """One rule that matched."""

    rule: str
    namespace: str
    tags: list[str]
    meta: dict[str, Any]
    strings: list[YaraString]


@lru_cache(maxsize=4)
def ruleset(path: str) -> Ruleset:
    """The rules, loaded once a process."""
    return load_ruleset(path)


def matches(payload: Payload, options: YaraOptions) -> list[YaraMatch]:
    """All rules that match; the last payload's answer is kept, so that two plugins pay for one scan.

    Raises `PluginError("timeout")` with its reason.
    """
    wanted = (payload.sha256, options.rules)
    if getattr(_LOCAL, "wanted", None) == wanted:
        found: list[YaraMatch] = _LOCAL.found
        return found
    found = _scan(payload, options)
    _LOCAL.wanted, _LOCAL.found = wanted, found
    return found


def _scan(payload: Payload, options: YaraOptions) -> list[YaraMatch]:
    import yara_x

    scanners = _LOCAL.__dict__.setdefault("scanners", {})
    scanner = scanners.get(options.rules)
    if scanner is None:
        scanner = scanners[options.rules] = yara_x.Scanner(ruleset(options.rules).rules)
        scanner.max_matches_per_pattern(_MAX_PATTERN_MATCHES)
    scanner.set_timeout(max(1, -(-options.timeout_ms // 1000)))
    fd = payload.body.fd
    try:
        if fd is not None and os.path.exists(f"/proc/self/fd/{fd}"):
            results = scanner.scan_file(f"/proc/self/fd/{fd}")  # mapped, not copied
        else:
            results = scanner.scan(payload.content)
    except yara_x.TimeoutError:
        message = f"the rules took longer than {options.timeout_ms} ms"
        raise PluginError("timeout", message, reason=Reason.TIMEOUT, allowed=options.timeout_ms) from None
    except yara_x.ScanError as error:
        raise PluginError("scan_failed", str(error), reason=Reason.PLUGIN_FAILED) from None
    view = payload.view()
    return [_match(rule, view, options) for rule in results.matching_rules]


def _match(rule: Any, view: memoryview, options: YaraOptions) -> YaraMatch:
    strings = [
        YaraString(
            pattern.identifier,
            one.offset,
            one.length,
            bytes(view[one.offset : one.offset + min(one.length, options.data_bytes)]).hex(),
            one.xor_key or 0,
        )
        for pattern in rule.patterns
        for one in list(pattern.matches)[: options.strings_limit]
    ]
    return YaraMatch(rule.identifier, rule.namespace, list(rule.tags), dict(rule.metadata), strings)
