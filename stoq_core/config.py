"""The config: defaults, then stoq.toml, then settings, then the call; unknown names are refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from .errors import ConfigError, Reason
from .limits import MiB, RequestLimits
from .options import build, did_you_mean, field_names
from .plugin import KINDS

SETTING_PREFIX = "STOQ_"

_OLD_NAMES = {
    "always_dispatch": "scan.always",
    "start_dispatch": "scan.start",
    "max_recursion": "limits.depth",
    "max_required_worker_depth": "limits.requires_depth",
    "plugin_dir_paths": "plugin_paths",
    "source_archivers": "scan.fetch",
    "dest_archivers": "scan.archivers",
    "provider_consumers": "scan.threads",
    "log_level": "gone: what went wrong stands in the result",
}
"""Options of stoQ 3 and where they went (semantics 14)."""

_RENAMED = {"children": "processes"}
"""Options of `[sandbox]` that had another name."""


_ADDED = {"scan.always", "scan.dispatchers", "scan.decorators", "scan.only", "plugin_paths", "rules.extra"}
"""Lists to which each layer adds: none takes away what another has named."""


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ScanSection(_Section, frozen=True):
    """`[scan]`: which plugins run, in which order where the order matters.

    What a config names under `always` and `dispatchers` is added to these. `only` is put in their place:
    its workers, and no dispatchers but those that are named.
    """

    always: tuple[str, ...] = ("hash", "mimetype", "entropy", "yara", "carve")
    only: tuple[str, ...] | None = None
    start: tuple[str, ...] = ()
    dispatchers: tuple[str, ...] = ("filetype", "yara")
    decorators: tuple[str, ...] = ("context",)
    archivers: tuple[str, ...] = ()
    connectors: tuple[str, ...] = ()
    fetch: dict[str, str] = {}
    archive_when: Literal["all", "extracted", "findings"] = "all"
    dedup: bool = True
    threads: int = 1
    passwords: tuple[str, ...] = ()


_Count = Annotated[int, msgspec.Meta(ge=0)]
_Positive = Annotated[int, msgspec.Meta(ge=1)]


class SandboxSection(_Section, frozen=True):
    """`[sandbox]`: where hostile bytes are parsed, by how many processes (0: one a processor), for how long.

    None is the entry point's choice: handlers require `no_network` and `parent_opaque` and let no child
    see two requests; the command line takes what is there and lets children go on.
    """

    mode: Literal["process", "inline"] = "process"
    processes: _Count = 0
    share_children: bool | None = None
    recycle_payloads: _Positive = 2_000
    recycle_bytes: _Positive = 384 * MiB
    require: tuple[str, ...] | None = None
    accept_missing: tuple[str, ...] = ()
    tools: dict[str, str] = {}


class RulesSection(_Section, frozen=True):
    """`[rules]`: artefacts, files or folders of rules; beside the shipped ones unless `shipped` is false."""

    path: str = ""
    extra: tuple[str, ...] = ()
    shipped: bool = True


class VerdictSection(_Section, frozen=True):
    """`[verdict]`: reasons that do not make a verdict incomplete, by name; results list them all the same."""

    accept: tuple[Reason, ...] = ()
    unknown: Literal["incomplete", "clean"] = "incomplete"


class LoggingSection(_Section, frozen=True):
    """`[logging]`: whether a function's log lines name objects by their keys, or by a digest of them."""

    keys: bool = False


class ResultsSection(_Section, frozen=True):
    """`[results]`: which connector answers `stoq results`."""

    source: str = "sqlite"


class Config(_Section, frozen=True):
    """All settings. Plugins' own are kept as they came, by kind and name, and checked when loaded."""

    deployment: str = "stoq"
    plugin_paths: tuple[str, ...] = ()
    scratch: str = ""
    trigger: dict[str, str] = {}
    scan: ScanSection = ScanSection()
    limits: RequestLimits = RequestLimits()
    sandbox: SandboxSection = SandboxSection()
    rules: RulesSection = RulesSection()
    verdict: VerdictSection = VerdictSection()
    results: ResultsSection = ResultsSection()
    logging: LoggingSection = LoggingSection()
    worker: dict[str, dict[str, Any]] = {}
    dispatcher: dict[str, dict[str, Any]] = {}
    decorator: dict[str, dict[str, Any]] = {}
    archiver: dict[str, dict[str, Any]] = {}
    connector: dict[str, dict[str, Any]] = {}
    provider: dict[str, dict[str, Any]] = {}

    def options_of(self, kind: str, name: str) -> dict[str, Any]:
        """A plugin's own settings, without `use`."""
        given = getattr(self, kind).get(name, {})
        return {key: value for key, value in given.items() if key != "use"}

    def plugin_of(self, kind: str, name: str) -> str:
        """The plugin behind a named instance (`use = "s3"`), or the name itself."""
        return str(getattr(self, kind).get(name, {}).get("use", name))

    @property
    def replaced(self) -> list[str]:
        """The shipped defaults that the config has put something else in place of; shown with each result."""
        found = [] if self.scan.only is None else ["scan.only"]
        found += [] if self.rules.shipped else ["rules.shipped"]
        for kind in ("worker", "dispatcher"):
            own = getattr(self, kind)
            found += [
                f"{kind}.{name}.shipped" for name in sorted(own) if own[name].get("shipped", True) is not True
            ]
        return found

    @property
    def digest(self) -> str:
        """Short digest of every setting; a field of the result, no part of its identity."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()[:16]


def load(
    file: Path | None = None,
    settings: Mapping[str, str] | None = None,
    overrides: Iterable[tuple[str, Any]] = (),
) -> Config:
    """Layer the sources. `settings` are `STOQ_LIMITS__DEPTH=5`; `overrides` are `limits.depth`, value."""
    merged: dict[str, Any] = {}
    where = "config"
    if file is not None:
        where = str(file)
        merged = _read(file)
    for name, text in sorted((settings or {}).items()):
        if name.startswith(SETTING_PREFIX):
            path = name.removeprefix(SETTING_PREFIX).lower().split("__")
            _set(merged, path, _parsed(text), name)
    for dotted, value in overrides:
        _set(merged, dotted.split("."), _parsed(value) if isinstance(value, str) else value, dotted)
    return _checked(merged, where)


def _read(file: Path) -> dict[str, Any]:
    import tomllib  # by the broker alone: the sandbox gets a config that is read

    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        msg = f"{file}: cannot be read: {error.strerror or error}"
        raise ConfigError(msg) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{file}: is not valid TOML: {error}"
        raise ConfigError(msg) from None


def _parsed(text: str) -> Any:
    """JSON where it is JSON (`5`, `true`, `["a"]`), else the text itself."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return text


def _set(into: dict[str, Any], path: list[str], value: Any, name: str) -> None:
    added = ".".join(path) in _ADDED
    for step in path[:-1]:
        into = into.setdefault(step, {})
        if not isinstance(into, dict):
            msg = f"{name}: {step!r} is a value, not a section"
            raise ConfigError(msg)
    known = into.get(path[-1])
    if added and isinstance(known, list) and isinstance(value, (list, tuple)):
        value = [*known, *value]
    into[path[-1]] = value


def _with_defaults(scan: ScanSection, given: Iterable[str]) -> ScanSection:
    """`[scan]` with what is added to the defaults, each name once; with `only` there are no defaults."""
    shipped = ScanSection() if scan.only is None else ScanSection(always=scan.only, dispatchers=())
    added = {
        name: tuple(dict.fromkeys([*getattr(shipped, name), *(getattr(scan, name) if name in given else ())]))
        for name in ("always", "dispatchers")
    }
    return msgspec.structs.replace(scan, **added)


def _checked(merged: dict[str, Any], where: str) -> Config:
    _refuse_old(merged, where)
    known = field_names(Config)
    for name in merged:
        if name not in known:
            hint = did_you_mean(name, known) or f" Sections are: {', '.join(known)}."
            msg = f"{where}: unknown section or setting {name!r}.{hint}"
            raise ConfigError(msg)
    sections: dict[str, Any] = dict(merged)
    for name, kind in (
        ("scan", ScanSection),
        ("limits", RequestLimits),
        ("sandbox", SandboxSection),
        ("rules", RulesSection),
        ("verdict", VerdictSection),
        ("results", ResultsSection),
    ):
        given = merged.get(name, {})
        if not isinstance(given, dict):
            msg = f"{where}: {name!r} is a section: write [{name}]"
            raise ConfigError(msg)
        sections[name] = build(kind, given, f"{where}: {name}")
    sections["scan"] = _with_defaults(sections["scan"], merged.get("scan", {}))
    for kind_name in KINDS:
        for plugin, options in (merged.get(kind_name) or {}).items():
            if not isinstance(options, dict):
                msg = f"{where}: write [{kind_name}.{plugin}] with the plugin's options below it"
                raise ConfigError(msg)
    return _converted(sections, where)


def _converted(sections: dict[str, Any], where: str) -> Config:
    structs = {key: value for key, value in sections.items() if isinstance(value, msgspec.Struct)}
    plain = {key: value for key, value in sections.items() if key not in structs}
    return msgspec.structs.replace(build(Config, plain, where), **structs)


def _refuse_old(merged: Mapping[str, Any], where: str) -> None:
    for section in (merged, *(one for one in merged.values() if isinstance(one, dict))):
        for name in section:
            if name in _RENAMED and section is merged.get("sandbox"):
                msg = f"{where}: sandbox.{name} is called sandbox.{_RENAMED[name]} now"
                raise ConfigError(msg)
            if name in _OLD_NAMES:
                msg = f"{where}: {name!r} is an option of stoQ 3; now: {_OLD_NAMES[name]}"
                raise ConfigError(msg)
