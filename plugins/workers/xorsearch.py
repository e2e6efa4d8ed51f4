"""Find words that are hidden by XOR, ROL, ROT or ADD, each with the operation and the key.

As XORSearch does it, but not by trying each key on the whole payload: each word is written down under
each key, and all of them are looked for in one pass.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

import msgspec

from stoq_core.errors import ConfigError, PluginError, Reason
from stoq_core.job import Job
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_LEAST_TERM, _MOST_TERM, _MOST_TERMS = 5, 128, 64
_MATCHES_A_PATTERN = 100
_HITS_A_KEY = 10
_MOST_HITS = 1_000
_MOST_SCANNERS = 8


class XorsearchOptions(Options, frozen=True):
    """What to look for."""

    terms: Annotated[
        tuple[str, ...], about("words, 5 to 128 bytes each as UTF-8", min_length=1, max_length=_MOST_TERMS)
    ] = (
        "This program cannot be run in DOS mode",
        "http://",
        "https://",
        "URLDownloadToFile",
        "CreateProcess",
        "GetProcAddress",
        "VirtualAlloc",
        "WScript.Shell",
        "powershell",
        "cmd.exe",
    )


class XorsearchHit(msgspec.Struct, frozen=True):
    """A `term` and the `offset` of its first hidden byte."""

    term: str
    offset: int


class XorsearchResult(msgspec.Struct, frozen=True):
    """`hits` by operation and key (`0x41`; ROL: bits, ROT: letters), ten a key; `count` of those listed."""

    hits: dict[str, dict[str, list[XorsearchHit]]]
    count: int


class Xorsearch(Worker[XorsearchOptions]):
    """XOR and ADD with keys 1 to 255, ROL by 1 to 7 bits, ROT by 1 to 25 letters.

    ADD means that the key was added to each byte, ROL that its bits were rotated to the left. What
    several operations give alike is told once, XOR before ROL before ROT before ADD. Words in plain sight
    are no hits. Not routed to by default: `stoq scan --always xorsearch`.
    """

    libraries = {"yara_x": "yara-x (in requirements.txt)"}
    essential = False
    result = XorsearchResult
    errors = {"scan_failed": "the library gave up on the bytes", "timeout": "the time was up"}
    findings = {
        "hidden_words": (200, "Words of programs or addresses hidden by XOR, ROL, ROT or ADD", ("T1027",))
    }

    def __init__(self, options: XorsearchOptions, name: str) -> None:
        """Refuse terms that everything would match, or that are too long."""
        super().__init__(options, name)
        self._terms = tuple(dict.fromkeys(options.terms))
        for term in self._terms:
            if not _LEAST_TERM <= len(term.encode()) <= _MOST_TERM or len(set(term)) < 3:
                raise ConfigError(
                    f"worker.{name}.terms: {term!r} is shorter than {_LEAST_TERM} bytes, longer than"
                    f" {_MOST_TERM}, or has fewer than three different letters"
                )

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield a finding and one `XorsearchResult` where something is hidden."""
        hits: dict[str, dict[str, list[XorsearchHit]]] = {}
        count = 0
        for offset, how in sorted(set(self._found(payload, job))):
            of_key = hits.setdefault(how.operation, {}).setdefault(_shown(how), [])
            if len(of_key) < _HITS_A_KEY and count < _MOST_HITS:
                of_key.append(XorsearchHit(how.term, offset))
                count += 1
        if not count:
            return
        first = min(
            ((one.offset, op, key) for op, keys in hits.items() for key, of in keys.items() for one in of)
        )
        yield self.finding("hidden_words", f"{count} hits, the first by {first[1]} {first[2]} at {first[0]}")
        yield XorsearchResult({op: dict(sorted(keys.items())) for op, keys in sorted(hits.items())}, count)

    def _found(self, payload: Payload, job: Job) -> Iterator[tuple[int, _How]]:
        scanner, hows = self._scanner()
        try:
            rules = _scan(scanner, payload, job)
        except PluginError:
            _OWN.scanners.pop(self._terms, None)  # what an interrupted scan left in it is not known
            raise
        for rule in rules:
            for pattern in rule.patterns:
                known = hows.get(pattern.identifier)
                for match in pattern.matches:
                    if known is None:
                        term = self._terms[int(pattern.identifier[2:].partition("_")[0])]
                        yield match.offset, _How("XOR", match.xor_key or 0, term)
                    else:
                        yield match.offset, known

    def _scanner(self) -> tuple[Any, dict[str, _How]]:
        """The thread's scanner, and what its patterns stand for; made when first asked for."""
        rules, hows = _compiled(self._terms)
        scanner = _OWN.scanners.get(self._terms)
        if scanner is None:
            import yara_x

            if len(_OWN.scanners) >= _MOST_SCANNERS:
                _OWN.scanners.clear()
            scanner = _OWN.scanners[self._terms] = yara_x.Scanner(rules)
            scanner.max_matches_per_pattern(_MATCHES_A_PATTERN)
        return scanner, hows


class _Own(threading.local):
    """A thread's scanners by their terms: one is used and let go of by one thread, and takes 8 ms to make."""

    def __init__(self) -> None:
        self.scanners: dict[tuple[str, ...], Any] = {}


_OWN = _Own()


class _How(NamedTuple):
    """How a term was hidden."""

    operation: str
    key: int
    term: str


def _shown(how: _How) -> str:
    return f"0x{how.key:02x}" if how.operation in ("XOR", "ADD") else str(how.key)


def _rotate_bits(value: int, by: int) -> int:
    return (value << by | value >> (8 - by)) & 0xFF


def _rotate_letter(value: int, by: int) -> int:
    for first in (0x41, 0x61):
        if first <= value < first + 26:
            return (value - first + by) % 26 + first
    return value


def _add(value: int, by: int) -> int:
    return (value + by) & 0xFF


_OPERATIONS: tuple[tuple[str, int, Callable[[int, int], int]], ...] = (
    ("ROL", 8, _rotate_bits),
    ("ROT", 26, _rotate_letter),
    ("ADD", 256, _add),
)


@lru_cache(maxsize=_MOST_SCANNERS)
def _compiled(terms: tuple[str, ...]) -> tuple[Any, dict[str, _How]]:
    """One rule for all: XOR by the library's own modifier, the others written out."""
    import yara_x

    lines: list[str] = []
    known: dict[str, _How] = {}
    seen: set[bytes] = set()
    for index, term in enumerate(terms):
        plain = term.encode()
        for part, span in enumerate(_xor_keys(plain)):
            lines.append(f'$x{index}_{part} = "{_quoted(plain)}" xor({span})')
        seen.update((plain, *(bytes(one ^ key for one in plain) for key in range(1, 256))))
    for index, term in enumerate(terms):
        for operation, keys, apply in _OPERATIONS:
            for key in range(1, keys):
                hidden = bytes(apply(one, key) for one in term.encode())
                if hidden not in seen and hidden.lower() != term.encode().lower():
                    seen.add(hidden)
                    name = f"${operation}_{index}_{key}"
                    known[name] = _How(operation, key, term)
                    lines.append(f"{name} = {{{hidden.hex()}}}")
    rule = "rule hidden { strings: " + "\n".join(lines) + " condition: any of them }"
    return yara_x.compile(rule), known


def _xor_keys(plain: bytes) -> tuple[str, ...]:
    """All keys but 0x20 where that gives the same word in the other letter case."""
    swapped = bytes(one ^ 0x20 for one in plain)
    return ("1-31", "33-255") if swapped.lower() == plain.lower() else ("1-255",)


def _quoted(plain: bytes) -> str:
    return "".join(f"\\x{one:02x}" for one in plain)


def _scan(scanner: Any, payload: Payload, job: Job) -> tuple[Any, ...]:
    import yara_x

    scanner.set_timeout(max(1, int(job.deadline.left_ms // 1000)))
    fd = payload.body.fd
    try:
        if fd is not None and os.path.exists(f"/proc/self/fd/{fd}"):
            return tuple(scanner.scan_file(f"/proc/self/fd/{fd}").matching_rules)
        return tuple(scanner.scan(payload.content).matching_rules)
    except yara_x.TimeoutError:
        raise PluginError("timeout", "the time was up", reason=Reason.TIMEOUT) from None
    except yara_x.ScanError as error:
        raise PluginError("scan_failed", str(error)) from None
