"""A report of the whole result by a Jinja template, sandboxed and escaped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from stoq_core.errors import ConfigError, PluginError
from stoq_core.limits import KiB
from stoq_core.options import Options, about
from stoq_core.plugin import Decorator
from stoq_core.render import document
from stoq_core.response import ScanResponse
from stoq_core.visible import visible
from stoq_core.watchdog import WATCHDOG, Overtime

if TYPE_CHECKING:
    from jinja2 import Template

_SHIPPED = Path(__file__).resolve().parent.parent / "report.html.jinja"
_MOST = 50
_LONGEST = 1_000_000
# These methods of text make any length out of a few letters, by a number that the template may compute.
_GROWING = frozenset(
    {"format", "format_map", "ljust", "rjust", "center", "zfill", "expandtabs", "replace", "join"}
)
_GROWING_FILTERS = ("center", "format", "indent", "replace", "wordwrap", "batch", "slice")


class JinjaOptions(Options, frozen=True):
    """The template, and what it may cost."""

    file: Annotated[str, about("a template; empty for the shipped report")] = ""
    template: Annotated[str, about("the template itself, instead of a file")] = ""
    max_bytes: Annotated[int, about("longest report, bytes of UTF-8", ge=1, le=900 * KiB)] = 64 * KiB
    wall_ms: Annotated[int, about("longest rendering, milliseconds", ge=1)] = 2_000


class JinjaResult(msgspec.Struct, frozen=True):
    """The `report`, and whether it was `truncated` at `max_bytes`."""

    report: str
    truncated: bool


class Jinja(Decorator[JinjaOptions]):
    """Renders the document that connectors get (`results`, `verdict`, `errors`, `scan_id`, …) into `report`.

    Values of files are always escaped as HTML; the template reaches no file, no module and no method
    that changes anything. What makes text grow by a number (`format`, `center`, `*`, …) is left out, and
    the report ends at `max_bytes` or `wall_ms`.
    """

    libraries = {"jinja2": "jinja2 (in requirements.txt)"}
    result = JinjaResult
    errors = {
        "template_failed": "the template stopped at something that is not there or not allowed",
        "timeout": "rendering took longer than `wall_ms`",
    }

    def open(self) -> None:
        """Compile the template, so that a mistake stops the start."""
        from jinja2 import TemplateError

        where = f"decorator.{self.name}"
        if self.options.file and self.options.template:
            raise ConfigError(f"{where}: give either file or template, not both")
        file = Path(self.options.file).expanduser() if self.options.file else _SHIPPED
        try:
            text = self.options.template or file.read_text("utf-8")
            self._template: Template = _environment().from_string(text)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{where}.file: {file} cannot be read: {error}") from None
        except TemplateError as error:
            line = getattr(error, "lineno", None)
            raise ConfigError(f"{where}: {file.name}, line {line}: {error}") from None

    def decorate(self, response: ScanResponse) -> Iterator[Any]:
        """Yield one `JinjaResult`."""
        made = document(response)
        verdict = made["decorators"].pop("verdict", {})
        yield self._rendered({**made, "verdict": verdict, "most": _MOST})

    def _rendered(self, values: dict[str, Any]) -> JinjaResult:
        parts: list[str] = []
        left = self.options.max_bytes
        until = time.monotonic() + self.options.wall_ms / 1000
        try:
            WATCHDOG.arm(self.options.wall_ms / 1000, self.options.wall_ms / 1000)
            try:
                for part in self._template.generate(values):
                    raw = part.encode("utf-8", "replace")
                    parts.append(raw[:left].decode("utf-8", "ignore"))
                    left -= len(raw)
                    if left < 0:
                        return JinjaResult("".join(parts), truncated=True)
                    if time.monotonic() > until:
                        raise self._overtime()
            finally:
                WATCHDOG.disarm()
        except Overtime:
            raise self._overtime() from None
        except PluginError:
            raise
        except Exception as error:  # noqa: BLE001 - an expression of a template may raise anything
            raise PluginError("template_failed", f"{type(error).__name__}: {error}"[:1000]) from None
        return JinjaResult("".join(parts), truncated=False)

    def _overtime(self) -> PluginError:
        allowed = self.options.wall_ms
        return PluginError("timeout", f"rendering took longer than {allowed} ms", allowed=allowed)


def _environment() -> Any:
    """Jinja's immutable sandbox without what makes long text out of short."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Bounded(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"*", "**", "%", "+"})

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            growing = isinstance(obj, (str, bytes)) and attr in _GROWING
            return not growing and super().is_safe_attribute(obj, attr, value)

        def wrap_str_format(self, value: Any) -> None:
            return None  # or `format` would never be asked about above

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator != "+" and not (_is_number(left) and _is_number(right)):
                raise TypeError(f"{operator} is for numbers")
            if operator == "**" or (operator == "+" and _length(left) + _length(right) > _LONGEST):
                raise OverflowError(f"{operator} makes too much of this")
            return super().call_binop(context, operator, left, right)

    made = Bounded(autoescape=True, trim_blocks=False, auto_reload=False, finalize=_shown)
    for name in _GROWING_FILTERS:
        made.filters.pop(name, None)
    for name in ("lipsum", "cycler", "joiner"):
        made.globals.pop(name, None)
    return made


def _shown(value: Any) -> Any:
    """A text of the document without invisible characters; what the template itself made stays."""
    return visible(value, keep="\n\t") if type(value) is str else value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and (isinstance(value, float) or abs(value) <= _LONGEST**3)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, (str, bytes, list, tuple)) else 0
