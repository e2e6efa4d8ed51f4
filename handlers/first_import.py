"""Every entry point imports this first: the sandbox's process starts while this one still imports."""

from __future__ import annotations

import gc
import os

from stoq_core.sandbox import spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stoq_core.pipeline import Pipeline

if os.environ.get("STOQ_SANDBOX__MODE") != "inline":
    spawn.ahead()
gc.disable()  # imports make no garbage; whoever has made the pipeline turns it on again (`bootstrap.settled`)


def cold_start() -> Pipeline:
    """The pipeline of a cloud function, from its environment; any mistake stops the start."""
    from handlers import bootstrap

    return bootstrap.cold_start()
