"""Write the generated documents from the classes and the rules; `--check`: fail if one is stale."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from plugins._rules.attack_names import NAMES
from plugins._rules.rulesets import ROUTING, SHIPPED, compile_sources, read_sources
from plugins._rules.split import split
from plugins._rules.yara import meta_of, score, words
from stoq_core.describe import UNSET, Field, does, explains, fields, parts, says
from stoq_core.plugin import KINDS, Plugin, Worker
from stoq_core.registry import Registry
from stoq_core.schema import json_schema
from stoq_core.verdict import MALICIOUS, SUSPICIOUS

ROOT = Path(__file__).resolve().parent.parent
CATALOGUE = ROOT / "plugins" / "README.md"
FINDINGS = ROOT / "docs" / "findings.md"
SCHEMA = ROOT / "docs" / "result.schema.json"
_HEAD = """# Plugins

Written by `make docs` from the plugins' classes: change those, not this file. Options stand in
`stoq.toml` under `[KIND.NAME]`; `stoq plugin NAME` shows the same for the plugins of your machine.
What the plugins find stands in [docs/findings.md](../docs/findings.md), too.
"""
_FINDINGS_HEAD = f"""# Findings

Written by `make docs` from the plugins' classes and the meta of `rules/*.yar`: change those, not this
file. A payload's score is the sum over its distinct findings, a request's is that of its highest payload:
from {SUSPICIOUS} on it is suspicious; one finding of {MALICIOUS} makes it malicious. Techniques are ATT&CK's.
"""


def catalogue(registry: Registry) -> str:
    """The whole file: a table of all plugins, then a section each."""
    found = [(one.kind, one.name, registry.load(one.kind, one.name)) for one in registry]
    found.sort(key=lambda one: (KINDS.index(one[0]), one[1]))
    lines = [_HEAD, "| kind | name | does |", "|---|---|---|"]
    lines += [f"| {kind} | [{name}](#{kind}-{name}) | {_cell(does(cls))} |" for kind, name, cls in found]
    for kind, name, cls in found:
        lines += ["", *_section(kind, name, cls)]
    return "\n".join(lines) + "\n"


def _section(kind: str, name: str, cls: type[Plugin[Any]]) -> Iterator[str]:
    yield from (f"## {kind} {name}", "", does(cls), "", explains(cls))
    yield from _facts(cls)
    yield from _fields("option", fields(cls.options_type, defaults=True))
    result = getattr(cls, "result", None)
    if result is not None:
        for title, part in {"result": result, **parts(result)}.items():
            yield from ("", f"{'Result: ' if part is result else ''}{says(part)}")
            yield from _fields(title, fields(part, defaults=False))
    if cls.errors:
        rows = [(f"`{code}`", _cell(means)) for code, means in sorted(cls.errors.items())]
        yield from ("", *_table(("error", "means"), rows))
    if cls.findings:
        found = [
            (f"`{one}`", str(value), _cell(means), ", ".join(attack))
            for one, (value, means, attack) in sorted(cls.findings.items())
        ]
        yield from ("", *_table(("finding", "score", "means", "ATT&CK"), found))


def _facts(cls: type[Plugin[Any]]) -> Iterator[str]:
    facts = []
    if issubclass(cls, Worker):
        if cls.requires:
            facts.append(f"requires {', '.join(f'`{one}`' for one in cls.requires)}")
        if cls.roles:
            facts.append(f"{' and '.join(cls.roles)} payloads")
        if cls.runs != "sandbox":
            facts.append(f"runs in the {cls.runs}")
        if not cls.essential:
            facts.append("not essential: without it a payload still counts as examined")
    facts += [f"needs `{module}` ({_cell(advice)})" for module, advice in sorted(cls.libraries.items())]
    facts += [f"runs the program `{name}` ({_cell(tool.brings)})" for name, tool in sorted(cls.tools.items())]
    if facts:
        text = "; ".join(facts)
        yield from ("", f"{text[0].upper()}{text[1:]}.")


def _fields(title: str, rows: list[Field]) -> Iterator[str]:
    if not rows:
        return
    if rows[0].default is None:
        cells = [(f"`{one.name}`", _cell(one.type), _cell(one.about)) for one in rows]
        yield from ("", *_table((title, "type", "about"), cells))
        return
    more = [
        (
            f"`{one.name}`",
            _cell(one.type),
            UNSET if one.default == UNSET else f"`{one.default}`",
            _cell(one.about),
        )
        for one in rows
    ]
    yield from ("", *_table((title, "type", "default", "about"), more))


def _table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(titles)} |"
    yield f"|{'---|' * len(titles)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


class Row(NamedTuple):
    """A finding: its name, score, meaning, techniques, and the plugin or rule file that makes it."""

    name: str
    score: int
    means: str
    attack: tuple[str, ...]
    source: str


def findings(registry: Registry) -> list[Row]:
    """What plugins declare and what the shipped rules' meta gives a score, by name."""
    rows = [
        Row(name, value, means, attack, f"{one.kind} `{one.name}`")
        for one in registry
        for name, (value, means, attack) in registry.load(one.kind, one.name).findings.items()
    ]
    sources = read_sources([SHIPPED])
    files = {piece.rule: file for _, file, text in sources for piece in split(text).pieces}
    for rule in compile_sources(sources).rules:
        meta = meta_of(rule.metadata)
        if rule.namespace != ROUTING and score(meta):
            means = str(meta.get("description", ""))
            source = f"`rules/{files[rule.identifier]}`"
            rows.append(Row(rule.identifier, score(meta), means, words(meta, "attack"), source))
    return sorted(_merged(rows))


def _merged(rows: Iterable[Row]) -> list[Row]:
    """One row for what several plugins find by the same name, score and meaning."""
    sources: dict[Row, list[str]] = {}
    for row in rows:
        sources.setdefault(row._replace(source=""), []).append(row.source)
    return [row._replace(source=", ".join(sorted(found))) for row, found in sources.items()]


def findings_text(registry: Registry) -> str:
    """The table of findings."""
    rows = [
        (f"`{one.name}`", str(one.score), _cell(one.means), _cell(_techniques(one.attack)), one.source)
        for one in findings(registry)
    ]
    return "\n".join([_FINDINGS_HEAD, *_table(("finding", "score", "means", "ATT&CK", "from"), rows)]) + "\n"


def _techniques(attack: tuple[str, ...]) -> str:
    return ", ".join(f"{one} {NAMES.get(one, '')}".strip() for one in attack)


def schema_text() -> str:
    """The JSON Schema of results."""
    return msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode() + "\n"


def main() -> int:
    """Write the files, or with `--check` say how they are stale; the exit code."""
    stale = 0
    registry = Registry(ROOT / "plugins")
    made_files = {CATALOGUE: catalogue(registry), FINDINGS: findings_text(registry), SCHEMA: schema_text()}
    for file, made in made_files.items():
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
