"""What a plugin's class says of itself, in words: types, options, result fields, and how to use it."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Iterator
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from .options import Secret
from .plugin import Plugin

_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "length ≥", "max_length": "length ≤"}
_NAMES = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    type(None): "nothing",
    msgspec.UnsetType: "absent",
    Any: "anything",
}
_LISTED_IN = {
    "dispatcher": "dispatchers", "decorator": "decorators", "archiver": "archivers", "connector": "connectors"
}  # fmt: skip


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """An option or a result's field; `default` is JSON, `none: must be set`, or None for a result's."""

    name: str
    type: str
    default: str | None
    about: str


def does(cls: type[Plugin[Any]]) -> str:
    """The first sentence of the plugin's module."""
    doc = inspect.getdoc(sys.modules[cls.__module__]) or ""
    return doc.partition("\n\n")[0].replace("\n", " ")


def explains(cls: type[Plugin[Any]]) -> str:
    """The class's own words."""
    return inspect.cleandoc(cls.__doc__ or "")


def says(struct: type[msgspec.Struct]) -> str:
    """A struct's own words, on one line."""
    return " ".join(inspect.cleandoc(struct.__doc__ or "").split())


def fields(struct: type[msgspec.Struct], *, defaults: bool) -> list[Field]:
    """The struct's fields in their order; `defaults` for options."""
    hints = get_type_hints(struct, include_extras=True)
    return [
        Field(
            name=one.encode_name,
            type=type_name(hints[one.name]),
            default=_default(one, hints[one.name]) if defaults else None,
            about=_about(hints[one.name]),
        )
        for one in msgspec.structs.fields(struct)
    ]


def parts(struct: type[msgspec.Struct]) -> dict[str, type[msgspec.Struct]]:
    """The structs that a result's fields are made of, by name, however deep; each once."""
    found: dict[str, type[msgspec.Struct]] = {}
    waiting = [struct]
    while waiting:
        for hint in get_type_hints(waiting.pop(), include_extras=True).values():
            for one in _structs(hint):
                if one.__name__ not in found and one is not struct:
                    found[one.__name__] = one
                    waiting.append(one)
    return found


def type_name(hint: Any) -> str:
    """A type as a reader of stoq.toml would call it."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is typing.Annotated:
        return type_name(args[0])
    if origin is typing.Literal:
        return " or ".join(msgspec.json.encode(one).decode() for one in args)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(type_name(one) for one in args)
    if origin in (list, tuple, set, frozenset):
        return f"list of {type_name(args[0])}"
    if origin is dict:
        return f"table of {type_name(args[1])}"
    if hint is Secret:
        return "secret (`env:NAME`, `file:PATH`)"
    return _NAMES.get(hint, getattr(hint, "__name__", str(hint)))


def example(kind: str, name: str, cls: type[Plugin[Any]]) -> str:
    """How to use it: a worker's command, what to write into stoq.toml, with options at their defaults."""
    lines = []
    if kind == "worker":
        lines.append(f"stoq scan --always {name} FILE")
    elif kind in _LISTED_IN:
        lines += ["[scan]", f'{_LISTED_IN[kind]} = ["{name}"]']
    options = fields(cls.options_type, defaults=True)
    if options:
        lines.append(f"[{kind}.{name}]")
        lines += [f"{'' if one.default == UNSET else '# '}{one.name} = {_toml(one)}" for one in options]
    return "\n".join(lines)


UNSET = "none: must be set"
"""The default of an option that has none."""


def _toml(field: Field) -> str:
    if field.default != UNSET:
        return field.default or '""'
    return '"env:NAME"' if field.type.startswith("secret") else '"…"'


def _default(field: msgspec.structs.FieldInfo, hint: Any) -> str:
    if field.required:
        return UNSET
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    return msgspec.json.encode(value).decode() if not isinstance(value, Secret) else type_name(hint)


def _about(hint: Any) -> str:
    notes = [one for one in getattr(hint, "__metadata__", ()) if isinstance(one, msgspec.Meta)]
    texts = [one.description for one in notes if one.description]
    bounds = [
        f"{sign} {value}"
        for one in notes
        for name, sign in _BOUNDS.items()
        if (value := getattr(one, name)) is not None
    ]
    return "; ".join([*texts, *bounds])


def _structs(hint: Any) -> Iterator[type[msgspec.Struct]]:
    """The struct types that a type mentions."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield hint
    for one in get_args(hint):
        yield from _structs(one)
