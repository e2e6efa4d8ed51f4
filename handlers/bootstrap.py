"""The composition root: settings, registry and pipeline, put together once per cold start."""

from __future__ import annotations

import gc
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from stoq_core.config import Config, load
from stoq_core.errors import ConfigError
from stoq_core.sandbox import spawn

if TYPE_CHECKING:  # what is imported once the sandbox has begun
    from stoq_core.pipeline import Broker, Pipeline
    from stoq_core.registry import Plugins, Registry

BUNDLE = Path(__file__).resolve().parent.parent
CONFIG_VARIABLE = "STOQ_CONFIG"
_NOT_SETTINGS = {CONFIG_VARIABLE, "STOQ_HOME"}
REQUIRED = ("no_network", "parent_opaque")
"""Protections without which no function starts; `sandbox.accept_missing` excuses from one by name."""


def cold_start() -> Pipeline:
    """The pipeline of a cloud function, from its environment; any mistake stops the start."""
    try:
        made = pipeline(_strict(configured(os.environ)))
        if made.warnings:
            made.close()
            raise ConfigError("; ".join(made.warnings))
        return made
    finally:
        settled()


def settled() -> None:
    """The start is over: what it brought stays, and collections, on from now, do not look through it.

    Nor do they look through all that a request holds as often as they would: its tree grows until it is
    answered, and nothing in it is garbage before.
    """
    gc.freeze()
    gc.set_threshold(20_000, 10, 30)
    gc.enable()


def _strict(config: Config) -> Config:
    """What a function requires of its machine unless the config says otherwise."""
    chosen = config.sandbox
    sandbox = msgspec.structs.replace(
        chosen,
        require=REQUIRED if chosen.require is None else chosen.require,
        share_children=bool(chosen.share_children),
    )
    return msgspec.structs.replace(config, sandbox=sandbox)


def configured(
    environment: Mapping[str, str], overrides: Iterable[tuple[str, Any]] = (), file: Path | None = None
) -> Config:
    """stoq.toml (that of the bundle, or `STOQ_CONFIG`), then `STOQ_…` settings, then `overrides`."""
    named = environment.get(CONFIG_VARIABLE)
    if file is None:
        file = Path(named) if named else BUNDLE / "stoq.toml"
    settings = {name: text for name, text in environment.items() if name not in _NOT_SETTINGS}
    return _with_rules(load(file, settings, overrides))


def _with_rules(config: Config) -> Config:
    """`[rules]` says which rulesets both YARA plugins use beside the shipped one, or in its place.

    Paths become absolute here: the sandbox works in a folder of its own.
    """
    rules = config.rules
    shared = {
        "extra": [_absolute(path) for path in (rules.path, *rules.extra) if path],
        "shipped": rules.shipped,
    }
    changed = {}
    for kind in ("worker", "dispatcher"):
        given = getattr(config, kind)
        own = dict(given.get("yara", {}))
        if isinstance(own.get("rules"), str) and own["rules"]:
            own["rules"] = _absolute(own["rules"])
        if own or shared != {"extra": [], "shipped": True}:
            changed[kind] = {**given, "yara": {**shared, **own}}
    return msgspec.structs.replace(config, **changed) if changed else config


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def registry(config: Config) -> Registry:
    """Shipped plugins, then those that the bundle was built with, then those of `plugin_paths`."""
    from stoq_core.registry import Registry

    return Registry(BUNDLE / "plugins", _extra(config))


def _extra(config: Config) -> tuple[Path, ...]:
    built_in = BUNDLE / "own_plugins"
    extra = [Path(one).expanduser().absolute() for one in config.plugin_paths]
    for folder in extra:
        _refuse_others(folder)
    return (*([built_in] if built_in.is_dir() else []), *extra)


def _refuse_others(folder: Path) -> None:
    """No plugin is run that another user of this machine could have put there or changed."""
    for path in (folder, *folder.glob("*"), *folder.glob("*/*.py")):
        with suppress(FileNotFoundError):
            found = path.stat()
            if found.st_mode & stat.S_IWOTH:
                message = f"plugin_paths: {path} can be written by everybody; chmod o-w it"
                raise ConfigError(message)
            if found.st_uid not in (0, os.geteuid()):
                message = (
                    f"plugin_paths: {path} belongs to another user ({found.st_uid}); copy it or chown it"
                )
                raise ConfigError(message)


def pipeline(config: Config, found: Registry | None = None) -> Pipeline:
    """Everything that one process needs, opened and checked."""
    _refuse_loops(config)
    scratch = _scratch(config)
    if config.sandbox.mode == "process":
        return _sandboxed(config, found, scratch)
    from stoq_core.pipeline import Pipeline, in_process
    from stoq_core.registry import Plugins

    spawn.drop()
    found = found or registry(config)
    plugins = Plugins(found, config, resolve=secret)
    broker = _broker(config, found)
    made = [*plugins.dispatchers, *plugins.loaded()]
    warnings = tuple(dict.fromkeys(line for one in made for line in one.warnings()))
    executor = in_process(plugins, config.scan.threads)
    pipeline = Pipeline(
        config, plugins, executor, broker, ruleset=_ruleset(plugins), warnings=warnings, scratch=scratch
    )
    pipeline.warnings += _not_done(pipeline)
    return pipeline


def _sandboxed(config: Config, found: Registry | None, scratch: Path | None) -> Pipeline:
    """The zygote loads the sandbox's plugins while this process imports the engine and opens its own."""
    from stoq_core.sandbox.client import Sandbox

    executor = Sandbox(config, BUNDLE / "plugins", _extra(config))
    try:
        executor.begin()
        from stoq_core.pipeline import Pipeline
        from stoq_core.registry import Plugins
        from stoq_core.sandbox.index import BrokerPlugins

        found = found or registry(config)
        broker = _broker(config, found)
        executor.ready()
        own = Plugins(found, config, "broker", names=executor.broker_workers, resolve=secret)
        executor.attend(BrokerPlugins(own, executor.index))
    except BaseException:
        executor.close()
        raise
    index = executor.index
    made = Pipeline(
        config, index, executor, broker, ruleset=index.ruleset, warnings=index.warnings, scratch=scratch
    )
    made.warnings += _not_done(made)
    return made


def _not_done(made: Pipeline) -> tuple[str, ...]:
    """What no plugin of the config does though every payload needs it, unless that is excused by name."""
    reasons = {"identifies": "not_identified", "searches": "not_searched", "opens": "no_worker"}
    accepted = made.config.verdict.accept
    lacking = [(role, reasons[role]) for role in made.floor.missing() if reasons[role] not in accepted]
    return tuple(
        f"[scan]: no plugin {role} what is scanned, so no verdict will be clean; name one under always,"
        f' or say [verdict] accept = ["{reason}"]'
        for role, reason in lacking
    )


def _broker(config: Config, found: Registry) -> Broker:
    from stoq_core.pipeline import Broker

    made: dict[tuple[str, str], Any] = {}

    def plugin(kind: str, name: str) -> Any:
        key = (kind, name)
        if key not in made:
            made[key] = found.make(
                kind, name, config.options_of(kind, name), plugin=config.plugin_of(kind, name), resolve=secret
            )
            made[key].open()
        return made[key]

    scan = config.scan
    return Broker(
        archivers={name: plugin("archiver", name) for name in scan.archivers},
        fetchers={store: plugin("archiver", name) for store, name in scan.fetch.items()},
        decorators={name: plugin("decorator", name) for name in scan.decorators},
        connectors={name: plugin("connector", name) for name in scan.connectors},
    )


def secret(reference: str) -> str:
    """The value behind `env:NAME` or `file:PATH`."""
    scheme, _, rest = reference.partition(":")
    if scheme == "env":
        if rest not in os.environ:
            message = f"secret {reference!r}: the environment has no {rest}"
            raise ConfigError(message)
        return os.environ[rest]
    if scheme == "file":
        try:
            return Path(rest).read_text("utf-8").rstrip("\n")
        except OSError as error:
            message = f"secret {reference!r} cannot be read: {error.strerror}"
            raise ConfigError(message) from None
    message = f"secret {reference!r}: a reference begins with env: or file:"
    raise ConfigError(message)


def _ruleset(plugins: Plugins) -> str | None:
    """The digest of the ruleset in use, as the first plugin that has one tells it."""
    for plugin in plugins.dispatchers:
        digest = getattr(plugin, "ruleset_digest", None)
        if digest:
            return str(digest() if callable(digest) else digest)
    return None


def _scratch(config: Config) -> Path | None:
    if not config.scratch:
        return None
    folder = Path(config.scratch)
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        message = f"scratch: {folder} is no folder that can be written to"
        raise ConfigError(message)
    from stoq_core.body import anonymous_file

    os.close(anonymous_file(folder))
    return folder


def _refuse_loops(config: Config) -> None:
    """No archiver or connector may write where the trigger listens (ARCHITECTURE, *Delivery*)."""
    trigger = config.trigger
    if not trigger.get("bucket"):
        return
    for kind, names in (("archiver", config.scan.archivers), ("connector", config.scan.connectors)):
        for name in names:
            options = config.options_of(kind, name)
            same = options.get("bucket", options.get("container")) == trigger["bucket"]
            if same and _overlap(str(options.get("prefix", "")), trigger.get("prefix", "")):
                message = (
                    f"{kind}.{name} writes into bucket {trigger['bucket']!r} where the trigger listens:"
                    " every result would be scanned again; use another bucket or separate prefixes"
                )
                raise ConfigError(message)


def _overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)
