"""The core of stoQ: what plugin authors and handlers import; it knows no cloud and no plugin."""

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
    "ToolRun",
    "Unread",
    "Verdict",
    "Worker",
    "about",
]
