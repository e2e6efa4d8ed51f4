"""The core of stoQ: what plugin authors and handlers import; it knows no cloud and no plugin.

Each name is imported when it is first asked for, so that a cold start brings no more than it uses.
"""

TYPE_CHECKING = False  # as `typing` has it, which the first import of a cold start does without

if TYPE_CHECKING:
    from .errors import (
        ConfigError,
        ErrorReport,
        LimitReached,
        PluginError,
        PluginLoadError,
        Reason,
        RulesError,
        StoqError,
        StoreError,
        Unread,
    )
    from .job import Archive, Child, Dispatch, Finding, Hint, Job, On
    from .limits import Deadline, GiB, KiB, Limits, MiB, RequestLimits
    from .operations import Operation, Tool
    from .options import Options, Secret, about
    from .payload import ObjectRef, OpaquePayload, Payload, PayloadMeta, Request, RequestMeta
    from .plugin import Accepts, Archiver, Connector, Decorator, Dispatcher, Item, Provider, Worker
    from .response import PayloadReport, ScanResponse, Verdict
    from .tools import ToolRun

__all__ = [
    "Accepts",
    "Archive",
    "Archiver",
    "Child",
    "ConfigError",
    "Connector",
    "Deadline",
    "Decorator",
    "Dispatch",
    "Dispatcher",
    "ErrorReport",
    "Finding",
    "GiB",
    "Hint",
    "Item",
    "Job",
    "KiB",
    "LimitReached",
    "Limits",
    "MiB",
    "ObjectRef",
    "On",
    "OpaquePayload",
    "Operation",
    "Options",
    "Payload",
    "PayloadMeta",
    "PayloadReport",
    "PluginError",
    "PluginLoadError",
    "Provider",
    "Reason",
    "Request",
    "RequestLimits",
    "RequestMeta",
    "RulesError",
    "ScanResponse",
    "Secret",
    "StoqError",
    "StoreError",
    "Tool",
    "ToolRun",
    "Unread",
    "Verdict",
    "Worker",
    "about",
]

_MODULES = {
    "errors": (
        "ConfigError",
        "ErrorReport",
        "LimitReached",
        "PluginError",
        "PluginLoadError",
        "Reason",
        "RulesError",
        "StoqError",
        "StoreError",
        "Unread",
    ),
    "job": ("Archive", "Child", "Dispatch", "Finding", "Hint", "Job", "On"),
    "limits": ("Deadline", "GiB", "KiB", "Limits", "MiB", "RequestLimits"),
    "options": ("Options", "Secret", "about"),
    "payload": ("ObjectRef", "OpaquePayload", "Payload", "PayloadMeta", "Request", "RequestMeta"),
    "plugin": ("Accepts", "Archiver", "Connector", "Decorator", "Dispatcher", "Item", "Provider", "Worker"),
    "response": ("PayloadReport", "ScanResponse", "Verdict"),
    "operations": ("Operation", "Tool"),
    "tools": ("ToolRun",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """The name from the module that defines it (PEP 562)."""
        if name not in _HOMES:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        import importlib

        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
