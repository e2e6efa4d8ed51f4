"""YARA rules that say which workers a payload needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from plugins._rules.yara import YaraOptions, describe, left_out, matching, ruleset_of, words
from stoq_core.job import Archive, Dispatch, Job
from stoq_core.payload import Payload
from stoq_core.plugin import Dispatcher

_XOR = "xor_plaintext_for_string_"
_MAX_KEYS = 16


class Yara(Dispatcher[YaraOptions]):
    """Reads rules' meta: `plugin = "a,b"` names workers, `save = false` keeps bytes out of archives.

    `xor_plaintext_for_string_ID = "text"` gives the workers the key that makes the text of what string
    `$ID` matched, and where: one dispatch a distinct key, with `xorkey` (a list of bytes that begins at
    the match) and `offset` beside the match's own fields.
    """

    libraries = {"yara_x": "yara-x (in requirements.txt)"}
    errors = {
        "timeout": "the rules took longer than `timeout_ms`",
        "scan_failed": "the library gave up on the bytes",
    }

    @property
    def ruleset_digest(self) -> str:
        """The digest that results name."""
        return ruleset_of(self.options).digest

    def warnings(self) -> list[str]:
        """The rules that were left out."""
        return left_out(self.options)

    def warm(self) -> None:
        """Load the rules."""
        ruleset_of(self.options)

    def dispatch(self, payload: Payload, job: Job) -> Iterable[Any]:
        """A `Dispatch` for each worker that each match names."""
        rules = matching(payload, self.options, job)
        return self._asked(rules, payload.view()) if rules else []

    def _asked(self, rules: Sequence[Any], view: memoryview) -> Iterator[Any]:
        for rule in rules:
            match = describe(rule, view, self.options)
            if str(match.meta.get("save", "true")).lower() == "false":
                yield Archive(keep=False)
            names = words(match.meta, "plugin")
            if not names:
                continue
            fields = msgspec.to_builtins(match)
            for key in _keys(rule, view) or [{}]:
                for name in names:
                    yield Dispatch(name, {**fields, **key})


def _keys(rule: Any, view: memoryview) -> list[dict[str, Any]]:
    """Each distinct key that the rule's plaintexts give, with the offset of its first match."""
    found: dict[bytes, dict[str, Any]] = {}
    for name, plaintext in rule.metadata:
        if not name.startswith(_XOR) or not plaintext or not isinstance(plaintext, (str, bytes)):
            continue
        plain = plaintext.encode() if isinstance(plaintext, str) else plaintext
        wanted = "$" + name.removeprefix(_XOR)
        for match in (
            one for pattern in rule.patterns if pattern.identifier == wanted for one in pattern.matches
        ):
            data = view[match.offset : match.offset + min(match.length, len(plain))]
            key = _period(bytes(a ^ b for a, b in zip(data, plain, strict=False)))
            found.setdefault(key, {"xorkey": list(key), "offset": match.offset})
            if len(found) >= _MAX_KEYS:
                return list(found.values())
    return list(found.values())


def _period(stream: bytes) -> bytes:
    """The shortest key whose repetition gives the stream; the classic failure table, linear."""
    borders = [0] * len(stream)
    length = 0
    for at in range(1, len(stream)):
        while length and stream[at] != stream[length]:
            length = borders[length - 1]
        if stream[at] == stream[length]:
            length += 1
        borders[at] = length
    return stream[: len(stream) - length] if stream else stream
