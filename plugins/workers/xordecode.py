"""Undo XOR with a key that a rule found: the whole payload, the key aligned to where it matched."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec

from plugins._formats.executables.mz import is_executable
from stoq_core.errors import ConfigError
from stoq_core.job import Job
from stoq_core.limits import Limits
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_CHUNK_BYTES = 1 << 16
_MAX_KEYS = 16
_MAX_KEY_BYTES = 4_096
_HEX = re.compile(r"(?:0[xX])?((?:[0-9A-Fa-f]{2}[\s:,-]?)+)")
# The text of a DOS stub, which rules know, stands within so many bytes of `MZ`.
_STUB_WITHIN = 512


class XordecodeOptions(Options, frozen=True):
    """A key for payloads that no rule gives one for."""

    key: Annotated[str, about("key in hex, used where no dispatch brings one; empty for none")] = ""


class XorKey(msgspec.Struct, frozen=True):
    """One `key` in hex, its first byte at `offset` and repeated before and behind it."""

    key: str
    offset: int


class XordecodeResult(msgspec.Struct, frozen=True):
    """`key` in hex (the first one), and all `keys` that were used."""

    key: str
    keys: list[XorKey]


class Xordecode(Worker[XordecodeOptions]):
    """Yield the decoded payload, one child a distinct key (`xorkey` in hex, `offset`).

    The key comes from the dispatch's meta: `xorkey` as a number (one byte, or more in the order they are
    written), a list of bytes, bytes or hex text, its first byte at `offset`; or the keys of `strings` that
    a YARA pattern with the modifier `xor` matched. At most 16 keys a payload.
    """

    limits = Limits(children=_MAX_KEYS)
    result = XordecodeResult
    errors = {
        "no_key": "no dispatch brought a key and none is configured",
        "bad_key": "a key that is neither a number, a list of bytes, bytes nor hex text, or that is all zero",
    }
    findings = {
        "xor_hidden_executable": (500, "A Windows executable hidden by XOR", ("T1027.013",)),
    }

    def __init__(self, options: XordecodeOptions, name: str) -> None:
        """Refuse a configured key that is none."""
        super().__init__(options, name)
        if options.key and not _key(options.key):
            raise ConfigError(f"worker.{name}.key: {options.key!r} is no hex text such as 41 or 0xdeadbeef")

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield a child a key, then one `XordecodeResult`."""
        view = payload.view()
        used = []
        for key, offset in self._keys(job):
            child = job.child(_decoded(view, _rotated(key, offset)), xorkey=key.hex(), offset=offset)
            yield child
            used.append(XorKey(key.hex(), offset))
            found = _executable_before(child.body.view(), offset)
            if found is not None:
                yield self.finding("xor_hidden_executable", f"key {key.hex()[:64]}, at offset {found}")
        if used:
            yield XordecodeResult(used[0].key, used)
        else:
            message = "no dispatch brought a key; give one with worker.xordecode.key"
            job.error("no_key", message, whole=True)

    def _keys(self, job: Job) -> list[tuple[bytes, int]]:
        """The distinct keys in the order they came; two that decode alike are one."""
        found: dict[bytes, tuple[bytes, int]] = {}
        for given, offset in self._given(job):
            key = _key(given)
            if not key or not any(key):
                job.error("bad_key", f"{given!r:.80} is no key", whole=True)
                continue
            found.setdefault(_rotated(key, offset), (key, offset))
        return list(found.values())[:_MAX_KEYS]

    def _given(self, job: Job) -> Iterator[tuple[Any, int]]:
        any_given = False
        for meta in job.dispatch_meta:
            for given in _given_by(meta):
                any_given = True
                yield given
        if not any_given and self.options.key:
            yield self.options.key, 0


def _given_by(meta: Mapping[str, Any]) -> Iterator[tuple[Any, int]]:
    """What one dispatch says: its own key, else those of the strings that matched by `xor`."""
    if meta.get("xorkey") is not None:
        yield meta["xorkey"], _offset(meta.get("offset"))
        return
    strings = meta.get("strings")
    for one in strings if isinstance(strings, list) else ():
        if isinstance(one, Mapping) and one.get("xor_key"):
            yield one["xor_key"], _offset(one.get("offset"))


def _offset(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def _key(given: Any) -> bytes:
    """The key's bytes; empty for what is none."""
    if isinstance(given, bool):
        return b""
    if isinstance(given, int):
        return given.to_bytes((given.bit_length() + 7) // 8 or 1) if 0 <= given < 1 << 64 else b""
    if isinstance(given, (bytes, bytearray)):
        return bytes(given[:_MAX_KEY_BYTES])
    if isinstance(given, (list, tuple)):
        good = len(given) <= _MAX_KEY_BYTES and all(type(one) is int and 0 <= one < 256 for one in given)
        return bytes(given) if good else b""
    if isinstance(given, str) and len(given) <= _MAX_KEY_BYTES * 3 and _HEX.fullmatch(given.strip()):
        digits = re.sub(r"^0[xX]|[^0-9A-Fa-f]", "", given.strip())
        return bytes.fromhex(digits)
    return b""


def _rotated(key: bytes, offset: int) -> bytes:
    """The same endless key as one that begins at the payload's first byte."""
    shift = -offset % len(key)
    return key[shift:] + key[:shift]


def _decoded(view: memoryview, key: bytes) -> Iterator[bytes]:
    """Chunk by chunk: one byte by a table, longer keys by whole chunks as numbers."""
    if len(set(key)) == 1:
        table = bytes(value ^ key[0] for value in range(256))
        for at in range(0, len(view), _CHUNK_BYTES):
            yield bytes(view[at : at + _CHUNK_BYTES]).translate(table)
        return
    size = -(-_CHUNK_BYTES // len(key)) * len(key)
    stream = key * (size // len(key))
    whole = int.from_bytes(stream, "little")
    for at in range(0, len(view), size):
        part = view[at : at + size]
        mask = whole if len(part) == size else int.from_bytes(stream[: len(part)], "little")
        yield (int.from_bytes(part, "little") ^ mask).to_bytes(len(part), "little")


def _executable_before(view: memoryview, offset: int) -> int | None:
    """Where the executable begins whose stub the match stands in, or None."""
    low = max(0, offset - _STUB_WITHIN)
    near = bytes(view[low : offset + 2])
    at = near.rfind(b"MZ")
    while at >= 0:
        if is_executable(view, low + at):
            return low + at
        at = near.rfind(b"MZ", 0, at)
    return None
