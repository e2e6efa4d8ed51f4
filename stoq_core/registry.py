"""Find plugins by name without importing them, and load those that the config asks for."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from .config import Config
from .errors import PluginLoadError, StoqError
from .options import SecretResolver, build, did_you_mean, has_secret
from .plugin import KINDS, Dispatcher, Plugin, Worker
from .tools import LocalTools, ToolRunner

FOLDERS = {kind: f"{kind}s" for kind in KINDS}
"""Each kind's folder below a plugin path."""


class Found:
    """Where a plugin stands: its kind, name, file, and the file it overrides, if any."""

    __slots__ = ("file", "kind", "module", "name", "overrides")

    def __init__(self, kind: str, name: str, file: Path, module: str | None, overrides: Path | None) -> None:
        """`module` is the importable name of a shipped plugin; others are loaded from the file."""
        self.kind = kind
        self.name = name
        self.file = file
        self.module = module
        self.overrides = overrides


class Registry:
    """The plugins that are there, by kind and name; later folders override earlier ones."""

    def __init__(self, shipped: Path, extra: tuple[Path, ...] = (), *, entry_points: bool = False) -> None:
        """`shipped` is the bundle's own `plugins` package; nothing is imported here."""
        self._found: dict[tuple[str, str], Found] = {}
        self._classes: dict[tuple[str, str], type[Plugin[Any]]] = {}
        self._scan(shipped, package=shipped.name)
        if entry_points:
            import importlib.metadata

            for point in importlib.metadata.entry_points(group="stoq.plugins"):
                spec = importlib.util.find_spec(point.value)
                for location in (spec.submodule_search_locations or ()) if spec else ():
                    self._scan(Path(location), package=None)
        for folder in extra:
            if not folder.is_dir():
                msg = f"plugin_paths: {folder} is no folder; make it or take it out of plugin_paths"
                raise PluginLoadError(msg)
            self._scan(folder, package=None)

    def _scan(self, root: Path, package: str | None) -> None:
        for kind, folder in FOLDERS.items():
            for file in sorted((root / folder).glob("[!_]*.py")):
                key = (kind, file.stem)
                before = self._found.get(key)
                module = f"{package}.{folder}.{file.stem}" if package else None
                self._found[key] = Found(kind, file.stem, file, module, before.file if before else None)

    def __iter__(self) -> Iterator[Found]:
        """All plugins, by kind and name."""
        return iter(self._found[key] for key in sorted(self._found))

    def names(self, kind: str) -> list[str]:
        """The names of one kind."""
        return sorted(name for one, name in self._found if one == kind)

    def load(self, kind: str, name: str) -> type[Plugin[Any]]:
        """The plugin's class; raises `PluginLoadError` that says what to do."""
        key = (kind, name)
        if key not in self._classes:
            found = self._found.get(key)
            if found is None:
                known = self.names(kind)
                hint = did_you_mean(name, known) or f" There are: {', '.join(known) or 'none'}."
                msg = f"no {kind} is named {name!r}.{hint}"
                raise PluginLoadError(msg)
            self._classes[key] = _class_in(_import(found), found)
        return self._classes[key]

    def missing_library(self, kind: str, name: str) -> str | None:
        """What to install before this plugin can work, or None."""
        for module, bring in self.load(kind, name).libraries.items():
            if importlib.util.find_spec(module.partition(".")[0]) is None:
                return f"{kind} {name!r} needs the library {module!r}: install {bring}"
        return None

    def make(
        self,
        kind: str,
        name: str,
        options: Mapping[str, Any],
        *,
        plugin: str = "",
        resolve: SecretResolver | None = None,
    ) -> Plugin[Any]:
        """An instance called `name` of `plugin` (the name itself by default), options checked."""
        cls = self.load(kind, plugin or name)
        missing = self.missing_library(kind, plugin or name)
        if missing:
            raise PluginLoadError(missing)
        if (
            kind in ("worker", "dispatcher")
            and getattr(cls, "runs", "sandbox") == "sandbox"
            and has_secret(cls.options_type)
        ):
            msg = f"{kind} {name!r} runs in the sandbox and may not have a secret option"
            raise PluginLoadError(msg)
        return cls(build(cls.options_type, options, f"{kind}.{name}", resolve), name)


def _import(found: Found) -> ModuleType:
    try:
        if found.module:
            return importlib.import_module(found.module)
        name = f"stoq_plugin_{found.kind}_{found.name}"
        spec = importlib.util.spec_from_file_location(name, found.file)
        if spec is None or spec.loader is None:
            msg = f"{found.file} cannot be imported"
            raise PluginLoadError(msg)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    except StoqError:
        raise
    except Exception as error:
        msg = (
            f"{found.kind} {found.name!r} ({found.file}) cannot be imported: {type(error).__name__}: {error}"
        )
        raise PluginLoadError(msg) from error
    return module


def _class_in(module: ModuleType, found: Found) -> type[Plugin[Any]]:
    for value in vars(module).values():
        if (
            isinstance(value, type)
            and issubclass(value, Plugin)
            and value.__module__ == module.__name__
            and value.kind == found.kind
        ):
            return value
    msg = f"{found.file} defines no {found.kind} class"
    raise PluginLoadError(msg)


Side = Literal["both", "sandbox", "broker"]


class Plugins:
    """The sandbox plugins of one config: what `examine` runs. Workers are made when first asked for."""

    def __init__(
        self,
        registry: Registry,
        config: Config,
        side: Side = "both",
        *,
        names: Iterable[str] | None = None,
        resolve: SecretResolver | None = None,
    ) -> None:
        """Make what every scan needs and check the options of all that the config names.

        `side` is the process this is: the sandbox makes no broker workers, the broker no others. Those
        of the other side are known by their declarations alone, and their settings are not looked at.
        `names` are the workers to make at once, by default all that the config names.
        """
        self._resolve = resolve
        self._side = side
        self._registry = registry
        self._config = config
        self._workers: dict[str, Worker[Any]] = {}
        self._failed: dict[str, str] = {}
        self.always = config.scan.always
        self.tools: ToolRunner = LocalTools(config.sandbox.tools)
        self.dispatchers: tuple[Dispatcher[Any], ...] = tuple(
            self._dispatcher(name) for name in (config.scan.dispatchers if side != "broker" else ())
        )
        named = {*config.scan.always, *config.scan.start, *config.worker} if names is None else {*names}
        for name in sorted(named):
            self.worker(name)

    def _dispatcher(self, name: str) -> Dispatcher[Any]:
        options = self._config.options_of("dispatcher", name)
        return self._registry.make("dispatcher", name, options)  # type: ignore[return-value]

    def worker(self, name: str) -> Worker[Any]:
        """The worker; raises `PluginLoadError` (the same each time) for one that cannot be had."""
        worker = self._workers.get(name)
        if worker is None:
            if name in self._failed:
                raise PluginLoadError(self._failed[name])
            try:
                made = self._made(name)
            except StoqError as error:
                self._failed[name] = str(error)
                raise
            worker = self._workers[name] = made  # type: ignore[assignment]
        return worker  # type: ignore[return-value]

    def _made(self, name: str) -> Plugin[Any]:
        cls = self._registry.load("worker", name)
        if self._side != "both" and getattr(cls, "runs", "sandbox") != self._side:
            declared: Plugin[Any] = object.__new__(cls)
            declared.name = name
            return declared
        options = self._config.options_of("worker", name)
        return self._registry.make("worker", name, options, resolve=self._resolve)

    def loaded(self) -> list[Worker[Any]]:
        """The workers of this side that were made so far, by name."""
        both = self._side == "both"
        found = (self._workers[name] for name in sorted(self._workers))
        return [one for one in found if both or one.runs == self._side]

    def warm(self) -> None:
        """Bring what the configured plugins import and read anyway."""
        for dispatcher in self.dispatchers:
            dispatcher.warm()
        for worker in self.loaded():
            worker.warm()
