"""Turn whatever a plugin yields into JSON-like values within limits, or say why not."""

from __future__ import annotations

import datetime as dt
import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from .errors import LimitReached, PluginError, Reason
from .limits import MiB

_SAFE_INTEGER = 2**53


class ValueLimits(msgspec.Struct, kw_only=True):
    """Ceilings for one worker's result, or what is left of them: nesting, nodes, and bytes of text."""

    depth: int = 32
    nodes: int = 100_000
    bytes: int = MiB


def plain(value: Any, limits: ValueLimits) -> tuple[dict[str, Any], int, int]:
    """A result as a JSON-like dict (ARCHITECTURE, *The result*), with the bytes and nodes it took.

    Raises `LimitReached(result_too_large)`, or `PluginError(wrong_type)` for what is no mapping.
    """
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if type(value) is dict:
        text_size = _flat(value, limits)
        if text_size is not None:
            return value.copy(), text_size, len(value)
    elif not isinstance(value, Mapping):
        raise PluginError("wrong_type", f"a worker yielded {type(value).__name__}; see the Emit types")
    one = _Plain(limits)
    made = one.mapping(value, 1)
    return made, limits.bytes - one.bytes_left, limits.nodes - one.nodes_left


def plain_text(text: str) -> str:
    """Text without NUL and lone surrogates, which databases refuse; both are escaped."""
    if text.isascii():
        return text.replace("\x00", "\\u0000") if "\x00" in text else text
    text = text.replace("\x00", "\\u0000")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text


_TEXT = {str}
_NESTED = {dict, list}
_ROWS = {dict}
_PLAIN_KINDS = {str, int, float, bool, type(None), *_NESTED}


def _safe(values: Iterable[Any]) -> bool:
    """True if all numbers among them can stay as they are."""
    for one in values:
        kind = type(one)
        if kind is int:
            if not -_SAFE_INTEGER <= one <= _SAFE_INTEGER:
                return False
        elif kind is float and not math.isfinite(one):
            return False
    return True


def _flat(value: dict[Any, Any], limits: ValueLimits) -> int | None:
    """The size of all text, where neither a key nor a value has to be changed and none is nested; or None."""
    if not _TEXT.issuperset(map(type, value)):
        return None
    texts = [*value]
    for item in value.values():
        kind = type(item)
        if kind is str:
            texts.append(item)
        elif kind is int:
            if not -_SAFE_INTEGER <= item <= _SAFE_INTEGER:
                return None
        elif (kind is not float or not math.isfinite(item)) and kind is not bool and item is not None:
            return None
    text = "".join(texts)
    if not text.isascii() or "\x00" in text:
        return None
    fits = len(text) <= limits.bytes and len(value) <= limits.nodes and limits.depth >= 1
    return len(text) if fits else None


class _Plain:
    """One conversion, counting what it spends."""

    __slots__ = ("bytes_left", "limits", "nodes_left")

    def __init__(self, limits: ValueLimits) -> None:
        self.limits = limits
        self.nodes_left = limits.nodes
        self.bytes_left = limits.bytes

    def mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        self._spend_depth(depth)
        if type(value) is dict and _TEXT.issuperset(map(type, value)):
            nested = [key for key, item in value.items() if type(item) in _NESTED]
            if self._are_plain([*value, *value.values()], len(value) - len(nested)):
                copy = value.copy()
                for key in nested:
                    copy[key] = self.value(copy[key], depth + 1)
                return copy
        made: dict[str, Any] = {}
        for key, item in value.items():
            name = self._text(key if isinstance(key, str) else _key(key))
            if type(item) is str and self.nodes_left > 0:  # most are; saves a call
                self.nodes_left -= 1
                made[name] = self._text(item)
            else:
                made[name] = self.value(item, depth + 1)
        return made

    def _are_plain(self, items: list[Any], nodes: int) -> bool:
        """True, and paid for, if none has to be changed but the nested; without a call for each of them."""
        kinds = set(map(type, items))
        if not kinds <= _PLAIN_KINDS:
            return False
        if kinds != _TEXT:
            if not _safe(items):
                return False
            items = [one for one in items if type(one) is str]
        text = "".join(items)
        if not text.isascii() or "\x00" in text or len(text) > self.bytes_left or nodes > self.nodes_left:
            return False  # what is too much is said where it is counted one by one
        self.bytes_left -= len(text)
        self.nodes_left -= nodes
        return True

    def value(self, value: Any, depth: int) -> Any:
        self.nodes_left -= 1
        if self.nodes_left < 0:
            raise _too_large("nodes", self.limits.nodes)
        kind = type(value)
        if kind is str:
            return self._text(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            return self._integer(value)
        if kind is float:
            return value if math.isfinite(value) else None
        return self._other(value, depth)

    def _other(self, value: Any, depth: int) -> Any:
        if isinstance(value, msgspec.Struct):
            return self.mapping(msgspec.structs.asdict(value), depth)
        if isinstance(value, Mapping):
            return self.mapping(value, depth)
        if isinstance(value, (list, tuple)):
            self._spend_depth(depth)
            return self._list(value, depth)
        if isinstance(value, (set, frozenset)):
            self._spend_depth(depth)
            return [self.value(item, depth + 1) for item in sorted(value, key=repr)]
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self._text(bytes(value).hex()) if self._fits(len(value) * 2) else None
        return self._scalar(value)

    def _list(self, value: Sequence[Any], depth: int) -> list[Any]:
        rows = [msgspec.structs.asdict(one) if isinstance(one, msgspec.Struct) else one for one in value]
        kinds = set(map(type, rows))
        if kinds == _ROWS and depth < self.limits.depth and self._are_plain_rows(rows):
            return [row.copy() for row in rows]
        if kinds.isdisjoint(_NESTED) and self._are_plain(rows, len(rows)):
            return rows
        return [self.value(item, depth + 1) for item in rows]

    def _are_plain_rows(self, rows: list[dict[Any, Any]]) -> bool:
        """As `_are_plain`, for mappings of which none holds another."""
        keys = [*chain.from_iterable(rows)]
        if not _TEXT.issuperset(map(type, keys)):
            return False
        items = [item for row in rows for item in row.values()]
        nodes = len(rows) + len(items)
        return _NESTED.isdisjoint(map(type, items)) and self._are_plain([*keys, *items], nodes)

    def _scalar(self, value: Any) -> Any:
        if isinstance(value, enum.Enum):
            return self.value(value.value, 1)
        if isinstance(value, str):
            return self._text(str.__str__(value))
        if isinstance(value, int):
            return self._integer(int(value))
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else None
        if isinstance(value, dt.datetime):
            return _rfc3339(value)
        raise PluginError(
            "wrong_type", f"a result holds a {type(value).__name__}; use text, numbers, lists and mappings"
        )

    def _text(self, text: str) -> str:
        self.bytes_left -= len(text)
        if self.bytes_left < 0:
            raise _too_large("bytes", self.limits.bytes)
        if text.isascii() and "\x00" not in text:
            return text
        made = plain_text(text)
        self._fits(len(made) - len(text))  # what escaping adds counts, too
        return made

    def _integer(self, value: int) -> int | str:
        if -_SAFE_INTEGER <= value <= _SAFE_INTEGER:
            return value
        digits = value.bit_length() // 3 + 2
        self._fits(digits)
        return str(value) if digits < 4000 else hex(value)

    def _fits(self, size: int) -> bool:
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise _too_large("bytes", self.limits.bytes)
        return True

    def _spend_depth(self, depth: int) -> None:
        if depth > self.limits.depth:
            raise _too_large("levels", self.limits.depth)


def _key(key: Any) -> str:
    if key is None or isinstance(key, (bool, int, float)):
        return str(key) if not isinstance(key, int) or key.bit_length() < 4096 else hex(key)
    if isinstance(key, bytes):
        return key.hex()
    if isinstance(key, enum.Enum):
        return str(key.value)
    raise PluginError("wrong_type", f"a result has a key of type {type(key).__name__}; keys are text")


def _rfc3339(value: dt.datetime) -> str:
    aware = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
    return aware.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def _too_large(what: str, allowed: int) -> LimitReached:
    return LimitReached(
        Reason.RESULT_TOO_LARGE, f"the result has more than {allowed} {what}", allowed=allowed
    )
