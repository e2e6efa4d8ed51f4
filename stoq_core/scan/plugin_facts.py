"""What the engine must know of plugins: themselves, or the sandbox's facts about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from stoq_core.plugin import Accepts


class Known(Protocol):
    """What the engine must know of a plugin: the plugin itself, or the sandbox's facts about it."""

    @property
    def name(self) -> str:
        """As the config and the journal call it."""

    @property
    def reads_meta(self) -> bool:
        """True if an occurrence of the same bytes elsewhere may change its result."""

    @property
    def essential(self) -> bool:
        """False where the payload counts as examined without it."""


class KnownWorker(Known, Protocol):
    """The same for a worker."""

    @property
    def runs(self) -> str:
        """`sandbox` or `broker`."""

    @property
    def roles(self) -> Sequence[str]:
        """What it does of that which every payload needs (`floor`)."""

    @property
    def accepts(self) -> Accepts:
        """Which payloads concern it at all."""


class KnownDispatcher(Known, Protocol):
    """The same for a dispatcher."""

    @property
    def reads_results(self) -> bool:
        """True if it is asked again after each round."""


class PluginIndex(Protocol):
    """The plugins as far as the engine knows them."""

    @property
    def always(self) -> tuple[str, ...]:
        """Workers for every payload."""

    @property
    def dispatchers(self) -> Sequence[KnownDispatcher]:
        """In the configured order."""

    def worker(self, name: str) -> KnownWorker:
        """A worker; raises `PluginLoadError` for one that cannot be had."""
