"""What the broker learns of a sandbox plugin: its declarations, never its code."""

from __future__ import annotations

from typing import Any

from stoq_core.plugin import Accepts, Plugin

from .messages import PluginInfo


def info_of(kind: str, name: str, cls: type[Plugin[Any]], made: Plugin[Any] | None = None) -> PluginInfo:
    """The facts of a class; with an instance, also the digest of its ruleset, and what it warns of."""
    digest: Any = getattr(made, "ruleset_digest", None)
    limits = getattr(cls, "limits", None)
    return PluginInfo(
        kind=kind,
        name=name,
        runs=getattr(cls, "runs", "sandbox"),
        essential=bool(getattr(cls, "essential", True)),
        reads_meta=bool(getattr(cls, "reads_meta", False)),
        reads_results=bool(getattr(cls, "reads_results", False)),
        wall_ms=limits.wall_ms if limits else None,
        tools=dict((made or cls).tools),  # an option may name the program
        ruleset=(str(digest()) if callable(digest) else str(digest)) if digest else None,
        warnings=[*(made.warnings() if made else ())],
        roles=[*getattr(made or cls, "roles", ())],
        accepts=getattr(cls, "accepts", Accepts()),
    )
