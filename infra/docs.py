"""Write plugins/README.md and docs/result.schema.json from the classes; `--check`: fail if one is stale."""

from __future__ import annotations

import difflib
import inspect
import re
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from stoq_core.options import Secret
from stoq_core.plugin import KINDS, Plugin, Worker
from stoq_core.registry import Registry
from stoq_core.schema import json_schema

ROOT = Path(__file__).resolve().parent.parent
CATALOGUE = ROOT / "plugins" / "README.md"
SCHEMA = ROOT / "docs" / "result.schema.json"
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "length ≥", "max_length": "length ≤"}
_HEAD = """# Plugins

Written by `make docs` from the plugins' classes: change those, not this file. Options stand in
`stoq.toml` under `[KIND.NAME]`; `stoq plugin NAME` shows the same for the plugins of your machine.
"""


def catalogue(registry: Registry) -> str:
    """The whole file: a table of all plugins, then a section each."""
    found = [(one.kind, one.name, registry.load(one.kind, one.name)) for one in registry]
    found.sort(key=lambda one: (KINDS.index(one[0]), one[1]))
    lines = [_HEAD, "| kind | name | does |", "|---|---|---|"]
    lines += [f"| {kind} | [{name}](#{kind}-{name}) | {_cell(_does(cls))} |" for kind, name, cls in found]
    for kind, name, cls in found:
        lines += ["", *_section(kind, name, cls)]
    return "\n".join(lines) + "\n"


def _does(cls: type[Plugin[Any]]) -> str:
    doc = inspect.getdoc(sys.modules[cls.__module__]) or ""
    return doc.partition("\n\n")[0].replace("\n", " ")


def _section(kind: str, name: str, cls: type[Plugin[Any]]) -> Iterator[str]:
    yield f"## {kind} {name}"
    yield ""
    yield _does(cls)
    yield ""
    yield inspect.cleandoc(cls.__doc__ or "")
    yield from _facts(cls)
    yield from _table("option", cls.options_type, defaults=True)
    result = getattr(cls, "result", None)
    if result is not None:
        yield from _table("result", result, defaults=False)
    if cls.errors:
        yield from ("", "| error | means |", "|---|---|")
        yield from (f"| `{code}` | {_cell(means)} |" for code, means in sorted(cls.errors.items()))


def _facts(cls: type[Plugin[Any]]) -> Iterator[str]:
    facts = []
    if issubclass(cls, Worker):
        if cls.requires:
            facts.append(f"requires {', '.join(f'`{one}`' for one in cls.requires)}")
        if cls.runs != "sandbox":
            facts.append(f"runs in the {cls.runs}")
        if not cls.essential:
            facts.append("not essential: without it a payload still counts as examined")
    facts += [f"needs `{module}` ({_cell(advice)})" for module, advice in sorted(cls.libraries.items())]
    if facts:
        yield ""
        yield "; ".join(facts).capitalize() + "."


def _table(title: str, struct: type[msgspec.Struct], *, defaults: bool) -> Iterator[str]:
    fields = msgspec.structs.fields(struct)
    if not fields:
        return
    hints = get_type_hints(struct, include_extras=True)
    yield ""
    yield f"| {title} | type |{' default |' if defaults else ''} about |"
    yield f"|---|---|{'---|' if defaults else ''}---|"
    for field in fields:
        hint = hints[field.name]
        shown = f" {_default(field)} |" if defaults else ""
        yield f"| `{field.encode_name}` | {_cell(_type(hint))} |{shown} {_cell(_about(hint))} |"


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "none: must be set"
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    return f"`{msgspec.json.encode(value).decode()}`"


def _type(hint: Any) -> str:
    """A type as a reader of stoq.toml would call it."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is typing.Annotated:
        return _type(args[0])
    if origin is typing.Literal:
        return " or ".join(msgspec.json.encode(one).decode() for one in args)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_type(one) for one in args)
    if origin in (list, tuple, set, frozenset):
        return f"list of {_type(args[0])}"
    if origin is dict:
        return f"table of {_type(args[1])}"
    if hint is Secret:
        return "secret (`env:NAME`, `file:PATH`)"
    names = {str: "text", int: "integer", float: "number", bool: "true or false", type(None): "nothing"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))


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


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


def schema_text() -> str:
    """The JSON Schema of results."""
    return msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode() + "\n"


def main() -> int:
    """Write the files, or with `--check` say how they are stale; the exit code."""
    stale = 0
    for file, made in ((CATALOGUE, catalogue(Registry(ROOT / "plugins"))), (SCHEMA, schema_text())):
        there = file.read_text("utf-8") if file.exists() else ""
        if "--check" not in sys.argv:
            file.parent.mkdir(exist_ok=True)
            file.write_text(made, "utf-8")
        elif made != there:
            stale = 1
            print(
                "\n".join(difflib.unified_diff(there.splitlines(), made.splitlines(), "there", "now", "", ""))
            )
            print(f"{file.relative_to(ROOT)} is stale: run `make docs`", file=sys.stderr)
    return stale


if __name__ == "__main__":
    sys.exit(main())
