"""Typed plugin options: one declaration gives the type, the default, the bounds and the help text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_type_hints

import msgspec

from .errors import ConfigError


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every plugin's options; a field is `name: Annotated[type, about("help")] = default`."""


def about(text: str, **bounds: Any) -> msgspec.Meta:
    """Help text and bounds (`ge`, `le`, `min_length`, `pattern`, …) of an option."""
    return msgspec.Meta(description=text, **bounds)


class Secret:
    """A reference to a secret (`env:NAME`, `file:PATH`, …) whose value never shows in a log."""

    __slots__ = ("_value", "reference")

    def __init__(self, reference: str, value: str | None = None) -> None:
        """`value` is filled in by the resolver of the process that may know it."""
        self.reference = reference
        self._value = value

    def reveal(self) -> str:
        """The secret itself."""
        if self._value is None:
            msg = f"secret {self.reference!r} was not resolved in this process"
            raise ConfigError(msg)
        return self._value

    def __repr__(self) -> str:
        """Never the value."""
        return f"Secret({self.reference!r})"


SecretResolver = Callable[[str], str]
"""From a reference to its value; the composition root supplies it."""

_T = TypeVar("_T")


def build(kind: type[_T], values: Mapping[str, Any], where: str, resolve: SecretResolver | None = None) -> _T:
    """`values` as a `kind`, or a `ConfigError` that names `where`, the option and what is allowed."""
    unknown = [name for name in values if name not in field_names(kind)]
    if unknown:
        raise ConfigError(_unknown_message(unknown[0], field_names(kind), where))

    def decode(wanted: type, value: Any) -> Any:
        if wanted is not Secret:
            msg = f"unsupported option type {wanted}"
            raise ConfigError(msg)
        if not isinstance(value, str) or ":" not in value:
            msg = "a secret is given as a reference, such as env:NAME or file:/path"
            raise ValueError(msg)
        return Secret(value, resolve(value) if resolve else None)

    try:
        return msgspec.convert(dict(values), kind, strict=False, dec_hook=decode)
    except msgspec.ValidationError as error:
        raise ConfigError(_type_message(str(error), where)) from None


def field_names(kind: type) -> tuple[str, ...]:
    """The options that a struct knows."""
    return tuple(getattr(kind, "__struct_fields__", ()))


def did_you_mean(name: str, known: Any) -> str:
    """` Did you mean X?` or nothing."""
    import difflib  # only for those who mistyped

    close = difflib.get_close_matches(name, [str(one) for one in known], n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def has_secret(kind: type) -> bool:
    """True if any option is a `Secret` (which no sandbox plugin may have)."""
    return any(_mentions_secret(hint) for hint in get_type_hints(kind).values())


def _mentions_secret(hint: Any) -> bool:
    return hint is Secret or any(_mentions_secret(arg) for arg in getattr(hint, "__args__", ()))


def _unknown_message(name: str, known: tuple[str, ...], where: str) -> str:
    hint = did_you_mean(name, known) or f" It knows: {', '.join(known) or 'no options'}."
    return f"{where}: unknown option {name!r}.{hint}"


def _type_message(text: str, where: str) -> str:
    found = re.match(r"(?P<what>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", text, re.DOTALL)
    what, path = (found["what"], found["path"]) if found else (text, None)
    return f"{where}.{path}: {what[0].lower()}{what[1:]}." if path else f"{where}: {what}."
