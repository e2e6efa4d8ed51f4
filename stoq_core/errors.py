"""What can go wrong: a bad deployment raises, a bad file becomes data, and unread bytes get a reason.

Exception
├── StoqError                 a bad deployment: stops the start, exit code 2
│   ├── ConfigError           a setting that is unknown, of the wrong type or out of bounds
│   ├── PluginLoadError       a plugin that is unknown, broken or lacks a library
│   ├── RulesError            a ruleset that cannot be read or compiled
│   └── StoreError            a store that refused (`retryable` says whether to try again)
└── PluginError               a bad file: becomes an `ErrorReport`, the scan goes on
    └── LimitReached          a ceiling was hit while writing; carries the `Reason`
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Reason(StrEnum):
    """Why bytes were not examined; stable codes that dashboards and scripts may rely on."""

    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    TOO_MANY_PAYLOADS = "too_many_payloads"
    TOO_MANY_BYTES = "too_many_bytes"
    RATIO = "ratio"
    ENCRYPTED_ARCHIVE = "encrypted_archive"
    ENCRYPTED_DOCUMENT = "encrypted_document"
    UNSUPPORTED_METHOD = "unsupported_method"
    CORRUPT = "corrupt"
    TRUNCATED = "truncated"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CRASHED = "crashed"
    PLUGIN_FAILED = "plugin_failed"
    PLUGIN_MISSING = "plugin_missing"
    NO_WORKER = "no_worker"
    NOT_IDENTIFIED = "not_identified"
    NOT_SEARCHED = "not_searched"
    UNKNOWN_TYPE = "unknown_type"
    NOT_SCANNED = "not_scanned"
    OPTION_LIMIT = "option_limit"
    RESULT_TOO_LARGE = "result_too_large"
    PENDING = "pending"
    NOT_FETCHED = "not_fetched"
    SUPERSEDED = "superseded"
    DEADLINE = "deadline"


class StoqError(Exception):
    """A deployment that cannot work as it is; the message names the culprit and what to do."""


class ConfigError(StoqError):
    """A setting that is unknown, of the wrong type, out of bounds or contradicts another."""


class PluginLoadError(StoqError):
    """A plugin that is unknown, cannot be imported or lacks a library."""


class RulesError(StoqError):
    """A ruleset that cannot be read, was built for something else, or does not compile."""


class StoreError(StoqError):
    """A store that did not take or give what was asked; `retryable` says whether to try again."""

    def __init__(self, message: str, *, retryable: bool, reason: Reason | None = None) -> None:
        """Keep what the queue needs to know: try again, or record `reason` and be done."""
        super().__init__(message)
        self.retryable = retryable
        self.reason = reason


class PluginError(Exception):
    """A file that a plugin cannot handle: reported under the plugin's name, the scan goes on."""

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        reason: Reason | None = None,
        retryable: bool = False,
        observed: int | None = None,
        allowed: int | None = None,
    ) -> None:
        """`code` is one the plugin documents; `reason` marks the bytes that stay unread."""
        super().__init__(message or code)
        self.code = code
        self.message = message or code
        self.reason = reason
        self.retryable = retryable
        self.observed = observed
        self.allowed = allowed


class LimitReached(PluginError):
    """A ceiling was hit while bytes or children were being made; what was made so far is kept."""

    def __init__(
        self, reason: Reason, message: str, *, observed: int | None = None, allowed: int | None = None
    ) -> None:
        """The reason is the code, too."""
        super().__init__(reason.value, message, reason=reason, observed=observed, allowed=allowed)


class ErrorReport(msgspec.Struct, frozen=True, kw_only=True):
    """One entry under `errors` of the document; `plugin` is its key (`hash`, `connector:s3`)."""

    plugin: str
    code: str
    message: str
    payload_id: str | None = None
    retryable: bool = False
    observed: int | None = None
    allowed: int | None = None


class Unread(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that were not examined, and why; any of these makes a clean verdict `incomplete`."""

    reason: Reason
    payload_id: str | None = None
    plugin: str | None = None
    message: str = ""
    count: int = 1
    """How often the same was said."""
