"""YARA rules that say which workers a payload needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from plugins._yara import YaraMatch, YaraOptions, matches, ruleset
from stoq_core.payload import Payload
from stoq_core.plugin import Archive, Dispatch, Dispatcher, Job

_XOR = "xor_plaintext_for_string_"


class Yara(Dispatcher[YaraOptions]):
    """Reads rules' meta: `plugin = "a,b"` names workers, `save = false` keeps bytes out of archives.

    `xor_plaintext_for_string_ID = "text"` gives the worker the XOR key and the offset of the match.
    """

    libraries = {"yara_x": "yara-x (in requirements.txt)"}
    errors = {"timeout": "the rules took longer than `timeout_ms`"}

    @property
    def ruleset_digest(self) -> str:
        """The digest that results name."""
        return ruleset(self.options.rules).digest

    def warm(self) -> None:
        """Load the rules."""
        ruleset(self.options.rules)

    def dispatch(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield a `Dispatch` for each worker that each match names."""
        for one in matches(payload, self.options):
            if str(one.meta.get("save", "true")).lower() == "false":
                yield Archive(keep=False)
            names = [name.strip() for name in str(one.meta.get("plugin", "")).split(",") if name.strip()]
            if names:
                meta = {**msgspec.to_builtins(one), **_xor(one)}
                for name in names:
                    yield Dispatch(name, meta)


def _xor(match: YaraMatch) -> dict[str, Any]:
    """The key that turns a match into the plaintext its rule declares, and where the match stands."""
    for key, plaintext in match.meta.items():
        if not key.startswith(_XOR):
            continue
        wanted = "$" + key.removeprefix(_XOR).lstrip("$")
        plain = plaintext.encode() if isinstance(plaintext, str) else bytes(plaintext)
        for one in match.strings:
            data = bytes.fromhex(one.data)
            if one.id == wanted and plain and len(data) >= len(plain):
                stream = bytes(a ^ b for a, b in zip(data, plain, strict=False))
                return {"xorkey": list(_period(stream)), "offset": one.offset}
    return {}


def _period(stream: bytes) -> bytes:
    """The shortest key whose repetition gives the stream."""
    for size in range(1, len(stream)):
        if all(stream[at] == stream[at % size] for at in range(len(stream))):
            return stream[:size]
    return stream
