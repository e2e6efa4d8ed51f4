"""A sandboxed engine over the hostile plugins, and short ways to scan with it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from handlers.bootstrap import BUNDLE, registry
from stoq_core.config import Config, load
from stoq_core.limits import Deadline
from stoq_core.payload import Payload, PayloadMeta, Request
from stoq_core.registry import Plugins
from stoq_core.sandbox.client import Sandbox
from stoq_core.sandbox.index import BrokerPlugins
from stoq_core.scan.engine import Engine
from stoq_core.scan.report import Scanned

PLUGINS = Path(__file__).parent / "hostile"
SCAN_ID = "11111111-1111-4111-8111-111111111111"


def settings(**more: Any) -> Config:
    """The hostile plugins beside `hash`, with a short time for each worker."""
    overrides = {
        "plugin_paths": [str(PLUGINS)],
        "scan.only": ["hash", "hostile", "later"],
        "scan.dispatchers": [],
        "limits.worker_wall_ms": 1_000,
        "limits.sandbox_bytes": 128 << 20,
        **{name.replace("__", "."): value for name, value in more.items()},
    }
    return load(overrides=overrides.items())


class Stage:
    """A sandbox and what it scans."""

    def __init__(self, config: Config, python: str = sys.executable) -> None:
        """Started and ready."""
        self.config = config
        self.sandbox = Sandbox(
            config, BUNDLE / "plugins", tuple(Path(one) for one in config.plugin_paths), python=python
        )
        self.sandbox.ready()
        found = registry(config)
        own = Plugins(found, config, "broker", names=self.sandbox.broker_workers)
        self.sandbox.attend(BrokerPlugins(own, self.sandbox.index))

    def scan(
        self,
        *contents: bytes | Payload,
        wall_ms: float = 60_000,
        examined: Callable[[Any, Payload], None] | None = None,
        **request: Any,
    ) -> Scanned:
        """One request with these roots."""
        engine = Engine(self.sandbox.index, self.sandbox, self.config.limits)
        roots = [one if isinstance(one, Payload) else Payload(one, PayloadMeta()) for one in contents]
        asked = Request(scan_id=SCAN_ID, payloads=roots, **request)
        return engine.scan(asked, Deadline.after_ms(wall_ms), examined)


@contextmanager
def stage(python: str = sys.executable, **more: Any) -> Iterator[Stage]:
    """A stage for as long as the block lasts."""
    one = Stage(settings(**more), python)
    try:
        yield one
    finally:
        one.sandbox.close()
