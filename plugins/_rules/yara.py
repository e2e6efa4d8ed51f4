"""One YARA scan of a payload that the dispatcher and the worker share."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from plugins._rules.beside import load_beside
from plugins._rules.rulesets import Ruleset
from plugins._text.normal import normal_form
from plugins._text.textual import blocks_of, charset_of, text_of
from stoq_core.errors import PluginError, Reason
from stoq_core.job import Job
from stoq_core.options import Options, about
from stoq_core.payload import Payload

# The library keeps up to a million matches a pattern, 0.1 s and 20 MB for a payload that is all matches.
_MAX_PATTERN_MATCHES = 10_000
_MAX_RULESETS = 4


class YaraOptions(Options, frozen=True):
    """Which rules, and how much of a match to report."""

    rules: Annotated[str, about("ruleset artefact, rule file or folder, beside the shipped rules")] = ""
    extra: Annotated[tuple[str, ...], about("more of them; `[rules]` fills it for both plugins")] = ()
    shipped: Annotated[bool, about("false: own rules in place of the shipped ones, then not `searched`")] = (
        True
    )
    strings_limit: Annotated[int, about("matches reported for each string of a rule", ge=0)] = 10
    data_bytes: Annotated[int, about("bytes of each match that are reported, in hex", ge=0)] = 64
    timeout_ms: Annotated[int, about("longest scan of one payload, milliseconds", ge=1)] = 30_000


class YaraString(msgspec.Struct, frozen=True, omit_defaults=True):
    """One match of one string: `data` in hex, `xor_key` where the pattern has the xor modifier."""

    id: str
    offset: int
    length: int
    data: str
    xor_key: int | None = None


class YaraMatch(msgspec.Struct, frozen=True, omit_defaults=True):
    """One rule that matched. A key that its meta repeats holds a list.

    `view` is "text" where it matched the normal form of a text and not the bytes as they stand; offsets are
    then those in that form.
    """

    rule: str
    namespace: str
    tags: list[str]
    meta: dict[str, Any]
    strings: list[YaraString]
    view: str | None = None


class _Last(threading.local):
    """A thread's scanners by ruleset digest, and the outcome of its last scan."""

    def __init__(self) -> None:
        self.scanners: dict[str, Any] = {}
        self.wanted: tuple[str, str] | None = None
        self.found: tuple[Any, ...] = ()
        self.timed_out_ms = 0


_LAST = _Last()


@lru_cache(maxsize=_MAX_RULESETS)
def ruleset(path: str = "", extra: tuple[str, ...] = (), *, shipped: bool = True) -> Ruleset:
    """The shipped rules and those of the paths, loaded once a process."""
    return load_beside((*([path] if path else []), *extra), shipped=shipped)


def ruleset_of(options: YaraOptions) -> Ruleset:
    """The rules that these options name."""
    return ruleset(options.rules, options.extra, shipped=options.shipped)


def left_out(options: YaraOptions) -> list[str]:
    """The bad rules, at most twenty by name: all others are in use."""
    bad = ruleset_of(options).bad
    lines = [one.line_of_text for one in bad[:20]]
    return lines + ([f"{len(bad) - 20} more rules are left out; see `stoq rules check`"] if bad[20:] else [])


def matching(payload: Payload, options: YaraOptions, job: Job | None = None) -> tuple[Any, ...]:
    """The library's own objects for all rules that match, public ones only.

    The last payload's answer is kept, so that two plugins with one ruleset pay for one scan.
    Raises `PluginError("timeout")` with its reason, and `scan_failed`.
    """
    rules = ruleset_of(options)
    wanted = (payload.sha256, rules.digest)
    left_ms = options.timeout_ms if job is None else job.deadline.left_ms
    allowed_ms = int(max(1, min(options.timeout_ms, left_ms)))
    if _LAST.wanted == wanted:
        if not _LAST.timed_out_ms:
            return _LAST.found
        if _LAST.timed_out_ms >= allowed_ms:
            raise _timeout(_LAST.timed_out_ms)
    _LAST.wanted, _LAST.found, _LAST.timed_out_ms = None, (), 0
    try:
        _LAST.found = _scan(payload, rules, allowed_ms)
    except PluginError as error:
        _LAST.scanners.pop(rules.digest, None)  # what an interrupted scan left in it is not known
        if error.code == "timeout":
            _LAST.wanted, _LAST.timed_out_ms = wanted, allowed_ms
        raise
    _LAST.wanted = wanted
    return _LAST.found


def matches(payload: Payload, options: YaraOptions, job: Job | None = None) -> list[YaraMatch]:
    """All rules that match, described; see `matching`."""
    rules = matching(payload, options, job)
    if not rules:
        return []
    view = payload.view()
    return [describe(rule, view, options) for rule in rules]


def matches_of_text(payload: Payload, options: YaraOptions, job: Job) -> list[YaraMatch]:
    """The rules that match the normal form of a textual payload (`plugins._text.normal`), each once.

    Raises as `matching` does.
    """
    view = payload.view()
    charset = charset_of(view)
    if charset is None:
        return []
    found: dict[tuple[str, str], YaraMatch] = {}
    for _, block in blocks_of(text_of(view, charset)):
        text = normal_form(block) or (block if charset != "utf-8" else b"")
        if not text:
            continue
        for rule in _scan_bytes(text, options, job):
            key = (rule.namespace, rule.identifier)
            if key not in found:
                match = describe(rule, memoryview(text), options)
                found[key] = msgspec.structs.replace(match, view="text")
    return list(found.values())


def describe(rule: Any, view: memoryview, options: YaraOptions) -> YaraMatch:
    """What the result says about a rule that matched."""
    strings = [
        YaraString(pattern.identifier, one.offset, one.length, _hex(view, one, options), one.xor_key)
        for pattern in rule.patterns
        for one in pattern.matches[: options.strings_limit]
    ]
    return YaraMatch(rule.identifier, rule.namespace, list(rule.tags), meta_of(rule.metadata), strings)


def _hex(view: memoryview, match: Any, options: YaraOptions) -> str:
    return view[match.offset : match.offset + min(match.length, options.data_bytes)].hex()


def meta_of(pairs: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """A rule's meta as the result shows it; bytes in hex, a key that is repeated holds a list."""
    meta: dict[str, Any] = {}
    for key, value in pairs:
        plain = value.hex() if isinstance(value, bytes) else value
        if key not in meta:
            meta[key] = plain
        elif isinstance(meta[key], list):
            meta[key].append(plain)
        else:
            meta[key] = [meta[key], plain]
    return meta


def words(meta: dict[str, Any], key: str) -> tuple[str, ...]:
    """The comma-separated words under a key of a rule's meta, each once."""
    value = meta.get(key, "")
    text = ",".join(str(one) for one in value) if isinstance(value, list) else str(value)
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def score(meta: dict[str, Any]) -> int:
    """The score that a rule's meta gives; rules of others also write it as text; a truth value is none."""
    value = meta.get("score")
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value[:9])
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _scan_bytes(text: bytes, options: YaraOptions, job: Job) -> tuple[Any, ...]:
    rules = ruleset_of(options)
    allowed_ms = int(max(1, min(options.timeout_ms, job.deadline.left_ms)))
    scanner = _scanner(rules, allowed_ms)
    try:
        with _errors_named(allowed_ms):
            return tuple(scanner.scan(text).matching_rules)
    except PluginError:
        _LAST.scanners.pop(rules.digest, None)  # what an interrupted scan left in it is not known
        raise


def _scan(payload: Payload, rules: Ruleset, allowed_ms: int) -> tuple[Any, ...]:
    scanner = _scanner(rules, allowed_ms)
    fd = payload.body.fd
    with _errors_named(allowed_ms):
        if fd is None or not os.path.exists(f"/proc/self/fd/{fd}"):
            return tuple(scanner.scan(payload.content).matching_rules)
        payload.body.rest()  # the library maps the same bytes: mapped once more, not copied
        found = tuple(scanner.scan_file(f"/proc/self/fd/{fd}").matching_rules)
        scanner.scan(b"")  # it keeps the last file mapped, and so its memory, until the next scan
    return found


def _scanner(rules: Ruleset, allowed_ms: int) -> Any:
    """The thread's scanner for these rules."""
    import yara_x

    scanner = _LAST.scanners.get(rules.digest)
    if scanner is None:
        if len(_LAST.scanners) >= _MAX_RULESETS:
            _LAST.scanners.clear()
        scanner = _LAST.scanners[rules.digest] = yara_x.Scanner(rules.rules)
        scanner.max_matches_per_pattern(_MAX_PATTERN_MATCHES)
    scanner.set_timeout(-(-allowed_ms // 1000))  # the library counts whole seconds
    return scanner


@contextmanager
def _errors_named(allowed_ms: int) -> Iterator[None]:
    import yara_x

    try:
        yield
    except yara_x.TimeoutError:
        raise _timeout(allowed_ms) from None
    except yara_x.ScanError as error:
        raise PluginError("scan_failed", str(error), reason=Reason.PLUGIN_FAILED) from None


def _timeout(allowed_ms: int) -> PluginError:
    message = f"the rules took longer than {allowed_ms} ms"
    return PluginError("timeout", message, reason=Reason.TIMEOUT, allowed=allowed_ms)
