"""Conditions over named values, written as data: globs, lists, ranges, `all`, `any` and `not`.

A value that is not known makes its condition neither true nor false, and so is what is built of it:
a rule about a worker's result does not hold before that worker ran, and neither does its opposite.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from stoq_core.errors import ConfigError
from stoq_core.options import did_you_mean

Values = Callable[[str], Any]
"""The value of a name, or None where there is none."""

Condition = Callable[[Values], bool | None]
"""True, False, or None where that cannot be told."""

_JOINS = ("all", "any", "not")
_MOST_NESTED = 20


def condition(table: Any, where: str, names: Iterable[str], nested: int = 0) -> Condition:
    """The condition that a table describes: each of its keys must hold.

    `names` are the attributes that may be asked about; one that ends with a dot stands for all that
    begin with it. Raises `ConfigError` with `where`, the key and what is allowed.
    """
    if not isinstance(table, Mapping) or not table:
        raise ConfigError(
            f'{where}: a condition is a table with at least one key, such as {{ name = "*.js" }}'
        )
    if nested > _MOST_NESTED:
        raise ConfigError(f"{where}: conditions are nested more than {_MOST_NESTED} deep")
    parts = [_part(str(key), value, f"{where}.{key}", list(names), nested) for key, value in table.items()]
    return parts[0] if len(parts) == 1 else _all(parts)


def _part(key: str, value: Any, where: str, names: list[str], nested: int) -> Condition:
    if key == "not":
        return _not(condition(value, where, names, nested + 1))
    if key in _JOINS:
        if not isinstance(value, list) or not value:
            raise ConfigError(f"{where}: {key} is a list of conditions")
        parts = [condition(one, f"{where}[{at}]", names, nested + 1) for at, one in enumerate(value)]
        return _all(parts) if key == "all" else _any(parts)
    if not any(key.startswith(one) and key != one if one.endswith(".") else key == one for one in names):
        known = ", ".join([*(f"{one}…" if one.endswith(".") else one for one in names), *_JOINS])
        hint = did_you_mean(key, [*names, *_JOINS])
        raise ConfigError(f"{where}: there is no attribute {key!r}.{hint} Known: {known}")
    test = _test(value, where)

    def asks(values: Values) -> bool | None:
        found = values(key)
        return None if found is None else test(found)

    return asks


def _test(value: Any, where: str) -> Callable[[Any], bool]:
    """What a found value must be: a glob, one of a list, within a range, or equal."""
    if isinstance(value, Mapping):
        return _range(value, where)
    if isinstance(value, list):
        if not value or any(isinstance(one, (list, Mapping)) for one in value):
            raise ConfigError(f"{where}: a list holds the texts or numbers of which one must match")
        tests = [_test(one, where) for one in value]
        return lambda found: any(test(found) for test in tests)
    if isinstance(value, str):
        glob = re.compile(fnmatch.translate(value.casefold()))
        return lambda found: _each(
            found, lambda one: isinstance(one, str) and bool(glob.match(one.casefold()))
        )
    if isinstance(value, bool):
        return lambda found: _each(found, lambda one: one is value)
    if isinstance(value, (int, float)):
        return lambda found: _each(found, lambda one: _is_number(one) and one == value)
    raise ConfigError(f"{where}: {type(value).__name__} is no text, number, truth value, list or range")


def _range(value: Mapping[str, Any], where: str) -> Callable[[Any], bool]:
    if not value or set(value) - {"min", "max"} or not all(_is_number(one) for one in value.values()):
        raise ConfigError(f"{where}: a range has min, max or both, as numbers: {{ min = 1, max = 10 }}")
    least, most = value.get("min", float("-inf")), value.get("max", float("inf"))
    if least > most:
        raise ConfigError(f"{where}: min {least} is above max {most}, so nothing can match")
    return lambda found: _each(found, lambda one: _is_number(one) and least <= one <= most)


def _each(found: Any, test: Callable[[Any], bool]) -> bool:
    """A list matches if any of its items does."""
    return any(test(one) for one in found) if isinstance(found, (list, tuple)) else test(found)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _all(parts: list[Condition]) -> Condition:
    def holds(values: Values) -> bool | None:
        answers = [part(values) for part in parts]
        return False if False in answers else None if None in answers else True

    return holds


def _any(parts: list[Condition]) -> Condition:
    def holds(values: Values) -> bool | None:
        answers = [part(values) for part in parts]
        return True if True in answers else None if None in answers else False

    return holds


def _not(part: Condition) -> Condition:
    def holds(values: Values) -> bool | None:
        answer = part(values)
        return None if answer is None else not answer

    return holds
