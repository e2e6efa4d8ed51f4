"""What the broker knows of the sandbox's plugins, by name; unknown ones are asked for when they come up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from stoq_core.errors import PluginLoadError

from .messages import PluginInfo

if TYPE_CHECKING:
    from stoq_core.registry import Plugins


class Index:
    """The engine's view of the plugins: facts in place of plugins (`known.PluginIndex`)."""

    def __init__(
        self, always: Iterable[str], loaded: Iterable[PluginInfo], describe: Callable[[str], PluginInfo]
    ) -> None:
        """`loaded` are the plugins that the config names; `describe` asks the zygote for another worker."""
        self.always = tuple(always)
        found = list(loaded)
        self.dispatchers = tuple(one for one in found if one.kind == "dispatcher")
        self._dispatchers = {one.name: one for one in self.dispatchers}
        self.dispatcher_names = frozenset(self._dispatchers)
        self._workers = {one.name: one for one in found if one.kind == "worker"}
        self._describe = describe

    def worker(self, name: str) -> PluginInfo:
        """The facts; raises `PluginLoadError` (the same each time) for a worker that cannot be had."""
        facts = self._workers.get(name)
        if facts is None:
            facts = self._workers[name] = self._describe(name)
        if facts.error:
            raise PluginLoadError(facts.error)
        return facts

    def of(self, label: str) -> PluginInfo | None:
        """The facts behind a journal key such as `hash` or `dispatcher:yara#0`, if there are any."""
        if label.startswith("dispatcher:"):
            return self._dispatchers.get(label[len("dispatcher:") :].partition("#")[0])
        return self._workers.get(label)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the plugins warn of, each once."""
        known = [*self.dispatchers, *self._workers.values()]
        return tuple(dict.fromkeys(line for one in known for line in one.warnings))

    @property
    def ruleset(self) -> str | None:
        """The digest of the ruleset in use, as the first plugin that has one tells it."""
        return next(
            (one.ruleset for one in (*self.dispatchers, *self._workers.values()) if one.ruleset), None
        )


class BrokerPlugins:
    """A plugin source of broker workers (`examine.PluginSource`); the sandbox's are facts here, too."""

    always: tuple[str, ...] = ()
    dispatchers: tuple[Any, ...] = ()
    tools = None

    def __init__(self, plugins: Plugins, index: Index) -> None:
        """`plugins` are of the broker's side."""
        self._plugins = plugins
        self._index = index

    def worker(self, name: str) -> Any:
        """A broker worker to run, or what is known of one of the sandbox's."""
        facts = self._index.worker(name)
        return self._plugins.worker(name) if facts.runs == "broker" else facts
