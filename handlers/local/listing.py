"""What the other commands print: plugins, settings, rules and stored results."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text

from handlers import bootstrap
from stoq_core import describe
from stoq_core.errors import ConfigError, StoqError
from stoq_core.options import did_you_mean
from stoq_core.plugin import Plugin
from stoq_core.store import ResultStore, Summary
from stoq_core.visible import visible_json

from .scanning import complain, configured
from .show import console, safe, size_text


def version() -> str:
    """The installed version."""
    return importlib.metadata.version("stoq-serverless")


def plugins(config_file: Path | None) -> None:
    """A table of all plugins."""
    config = configured(config_file)
    found = bootstrap.registry(config)
    table = Table("kind", "name", "does", "note", box=None, pad_edge=False)
    for one in found:
        note, what = "", ""
        try:
            cls = found.load(one.kind, one.name)
            what = describe.does(cls)
            note = found.missing_library(one.kind, one.name) or ""
        except StoqError as error:
            note = str(error)
        if one.overrides:
            note += f" {one.file} overrides {one.overrides}"
        table.add_row(one.kind, one.name, what, note.strip())
    console.print(table)


def plugin(name: str, config_file: Path | None) -> None:
    """All about the plugins of that name."""
    config = configured(config_file)
    found = bootstrap.registry(config)
    matching = [one for one in found if one.name == name]
    if not matching:
        known = sorted({one.name for one in found})
        hint = did_you_mean(name, known) or f" There are: {', '.join(known)}."
        message = f"no plugin is named {name!r}.{hint}"
        raise ConfigError(message)
    for one in matching:
        cls = found.load(one.kind, one.name)
        console.print(Text(f"{one.kind} {one.name}", "bold"))
        lines = [describe.does(cls), *describe.explains(cls).splitlines(), f"file: {one.file}"]
        for line in (*lines, *_about(one.kind, one.name, cls)):
            console.print(f"  {line}".rstrip(), markup=False, soft_wrap=True)


def _about(kind: str, name: str, cls: type[Plugin[Any]]) -> Iterator[str]:
    """Options, result, errors, findings, what it needs and an example, a line each."""
    yield from _fields("options:", f"{kind}.{name}.", describe.fields(cls.options_type, defaults=True))
    result = getattr(cls, "result", None)
    if result is not None:
        yield from _fields(f"result: {describe.says(result)}", "", describe.fields(result, defaults=False))
        for title, part in describe.parts(result).items():
            yield from _fields(f"{title}: {describe.says(part)}", "", describe.fields(part, defaults=False))
    roles = getattr(cls, "roles", ())
    if roles:
        yield f"{' and '.join(roles)} payloads"
    for code, means in cls.errors.items():
        yield f"error {code}: {means}"
    for title, (score, means, attack) in cls.findings.items():
        yield f"finding {title} (score {score}{''.join(f', {each}' for each in attack)}): {means}"
    for module, advice in cls.libraries.items():
        yield f"needs {module}: {advice}"
    for program, tool in cls.tools.items():
        yield f"runs the program {program}: {tool.brings}"
    made = describe.example(kind, name, cls)
    if made:
        yield "example:"
        yield from (f"  {line}" for line in made.splitlines())


def _fields(title: str, prefix: str, rows: list[describe.Field]) -> Iterator[str]:
    if rows:
        yield title
    for one in rows:
        default = f" = {one.default}" if one.default is not None else ""
        yield f"  {prefix}{one.name}: {one.type}{default}  {one.about}".rstrip()


def settings_in_force(config_file: Path | None, overrides: Iterable[tuple[str, Any]]) -> None:
    """The config as JSON."""
    config = configured(config_file, list(overrides))
    print(msgspec.json.format(msgspec.json.encode(config), indent=2).decode())


def rules_check(paths: list[Path]) -> int:
    """Name the bad rules; 2 if there are any."""
    from plugins._rules.rulesets import compile_sources, read_sources

    made = compile_sources(read_sources(paths))
    _bad(made.bad)
    count = sum(1 for _ in made.rules)
    console.print(f"good rules: {count}, bad: {len(made.bad)}")
    return 2 if made.bad else 0


def rules_build(paths: list[Path], out: Path) -> int:
    """Build a ruleset; 2 if any rule was left out."""
    from plugins._rules.rulesets import build_ruleset

    target, made = build_ruleset(paths, out)
    _bad(made.bad)
    console.print(f"{target}: {sum(1 for _ in made.rules)} rules, digest {made.digest}", markup=False)
    if made.bad:
        complain(f"{len(made.bad)} bad rules were left out; mend them and build again")
    return 2 if made.bad else 0


def _bad(bad: Iterable[Any]) -> None:
    for one in bad:
        complain(one.line_of_text)


def _store(config_file: Path | None) -> ResultStore:
    config = configured(config_file)
    name = config.results.source
    found = bootstrap.registry(config)
    made = found.make(
        "connector", name, config.options_of("connector", name),
        plugin=config.plugin_of("connector", name), resolve=bootstrap.secret,
    )  # fmt: skip
    if not isinstance(made, ResultStore):
        message = f"results.source: connector {name!r} cannot be asked; use sqlite, filedir or dynamodb"
        raise ConfigError(message)
    made.open()  # type: ignore[attr-defined]
    return made


def results(config_file: Path | None, *, limit: int, verdict: str | None) -> None:
    """The newest results as a table."""
    _table(_store(config_file).list(limit, verdict))


def search(
    config_file: Path | None, *, sha256: str | None, name: str | None, finding: str | None, limit: int
) -> None:
    """Matching results as a table."""
    if sha256 is None and name is None and finding is None:
        message = "say what to search: --sha256, --name or --finding"
        raise ConfigError(message)
    _table(_store(config_file).search(sha256=sha256, name=name, finding=finding, limit=limit))


def _table(lines: Iterable[Summary]) -> None:
    table = Table("time", "verdict", "score", "name", "size", "payloads", "scan", box=None, pad_edge=False)
    for one in lines:
        table.add_row(
            safe(one.time[:19]), safe(one.verdict), str(one.score), safe(one.name), size_text(one.size),
            str(one.payloads), safe(one.scan_id),
        )  # fmt: skip
    if table.row_count:
        console.print(table)
    else:
        console.print("no results")


def show(config_file: Path | None, scan_id: str, *, as_json: bool) -> int:
    """One stored document."""
    found = _store(config_file).get(scan_id)
    if found is None:
        complain(f"there is no result {scan_id!r}; `stoq results list` shows those that are there")
        return 2
    made = msgspec.json.encode(found)
    print(visible_json((made if as_json else msgspec.json.format(made, indent=2)).decode()))
    return 0
