"""The content type, from the bytes and never from the name."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Annotated, Any, Literal

import msgspec

from plugins._formats.filetype import UNKNOWN, FileType, kind_of
from plugins._formats.routes import shipped_routes
from plugins._text.density import is_dense
from stoq_core.errors import ConfigError
from stoq_core.job import Job
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_LIBRARY_BYTES = 4_096
_LOOK_ALONE = frozenset({"decode", "lnk"})
"""Workers that look for what stands in a payload, and leave open what the rest of it is."""
_OPTIONAL = {
    "libmagic": ("magic", "the extra image (python-magic) and Debian's libmagic1"),
    "magika": ("magika", "the extra magika"),
}


class MimetypeOptions(Options, frozen=True):
    """Who decides what the table does not know."""

    engine: Annotated[
        Literal["puremagic", "libmagic", "magika", "table"],
        about(
            "who is asked where the table is silent: a library (libmagic, magika: from an extra) or nobody"
        ),
    ] = "puremagic"


class MimetypeResult(msgspec.Struct, frozen=True):
    """`mimetype`, stoQ's short `label`, the usual `extension`, `group`, and `confidence` from 0 to 1.

    `kind` is what the type is by the shipped routes: container, encoding, leaf, media or text. Where only the
    engine knows the type it is None, and `unknown` for bytes as dense as packed or encrypted ones.
    """

    mimetype: str
    label: str
    extension: str
    group: str
    confidence: float
    kind: str | None = None


class Mimetype(Worker[MimetypeOptions]):
    """A table of prefixes decides in under a microsecond; the engine is asked about the rest.

    puremagic is in every bundle, libmagic in the image. magika (a model, 5 ms a payload and 190 MB on
    disk) also tells languages of source code apart; it is installed by the extra `magika`.
    """

    roles = ("identifies",)
    libraries = {"puremagic": "puremagic (in requirements.txt)"}
    result = MimetypeResult

    def __init__(self, options: MimetypeOptions, name: str) -> None:
        """Refuse an engine whose library is not there."""
        super().__init__(options, name)
        module, bring = _OPTIONAL.get(options.engine, ("", ""))
        if module and importlib.util.find_spec(module) is None:
            raise ConfigError(
                f"worker.{name}.engine: {options.engine!r} needs the library {module!r}: install {bring}"
            )
        self._ask = _ENGINES[options.engine]

    def warm(self) -> None:
        """Read the routes and the library's table; a model that starts threads waits for a first payload."""
        shipped_routes()
        if self.options.engine == "puremagic":
            _marks()
        elif self.options.engine == "libmagic":
            _libmagic()

    def scan(self, payload: Payload, job: Job) -> Iterable[Any]:
        """One `MimetypeResult`."""
        found = kind_of(payload)
        route = shipped_routes().get(found.label)
        if found is UNKNOWN:
            found = self._ask(payload)  # by its own marks: where the table has such a type, its bytes say no
            route = route if found.label == UNKNOWN.label else None
        kind: str | None = route.kind if route else None
        # a leaf is searched as it stands, which says nothing about dense bytes: a mark in front excuses none
        unread = route is None or (route.kind == "leaf" and _LOOK_ALONE.issuperset(route.workers))
        if unread and is_dense(payload.view()):
            kind = "unknown"
        return [MimetypeResult(*found, kind=kind)]


@cache
def _marks() -> re.Pattern[bytes]:
    """All marks that the library looks for from the start: it compares each in turn, 0.4 ms a payload."""
    from puremagic import main as library

    found: dict[int, set[bytes]] = {}
    for row in library.magic_header_array:
        if 0 <= row.offset < _LIBRARY_BYTES:
            found.setdefault(row.offset, set()).add(re.escape(row.byte_match))
    places = [b".{%d}(?:%b)" % (offset, b"|".join(sorted(marks))) for offset, marks in sorted(found.items())]
    return re.compile(b"|".join(places), re.DOTALL)


def _has_mark(head: bytes) -> bool:
    from puremagic import main as library

    return _marks().match(head) is not None or any(
        head.startswith(row.byte_match, len(head) + row.offset)
        for row in library.magic_footer_array
        if len(head) + row.offset >= 0
    )


def _by_puremagic(payload: Payload) -> FileType:
    import puremagic

    head = payload.head(_LIBRARY_BYTES)
    if not _has_mark(head):
        return UNKNOWN
    try:
        found = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError, IndexError, OSError):
        return UNKNOWN
    best = next((one for one in found if one.mime_type and one.confidence >= 0.5), None)
    if best is None:
        return UNKNOWN
    extension = best.extension.lstrip(".")
    return FileType(
        best.mime_type, extension or "unknown", extension, best.mime_type.partition("/")[0], best.confidence
    )


@cache
def _libmagic() -> tuple[Any, Any]:
    """A handle for the type and one for the extensions; a new one a payload would cost 20 ms each."""
    import magic

    handle: Any = magic.Magic  # its types lag behind it
    return handle(mime=True), handle(extension=True)


def _by_libmagic(payload: Payload) -> FileType:
    import magic

    by_type, by_extension = _libmagic()
    head = payload.head(_LIBRARY_BYTES)
    try:
        mimetype, extensions = by_type.from_buffer(head), by_extension.from_buffer(head)
    except (magic.MagicException, UnicodeDecodeError):
        return UNKNOWN
    if "/" not in mimetype or mimetype == UNKNOWN.mimetype:
        return UNKNOWN
    extension = "" if "?" in extensions else extensions.partition("/")[0]
    group, _, subtype = mimetype.partition("/")
    label = extension or subtype.removeprefix("x-").removeprefix("vnd.")
    return FileType(mimetype, label, extension, group)


@cache
def _magika() -> Any:
    """The model, loaded where it is first used: it starts threads, which no fork survives."""
    from magika import Magika

    return Magika()


def _by_magika(payload: Payload) -> FileType:
    found = _magika().identify_bytes(payload.content)
    kind = found.output
    if kind.label in ("unknown", "undefined"):
        return UNKNOWN
    extension = kind.extensions[0] if kind.extensions else ""
    return FileType(kind.mime_type, str(kind.label), extension, kind.group, round(float(found.score), 3))


_ENGINES: dict[str, Callable[[Payload], FileType]] = {
    "puremagic": _by_puremagic,
    "libmagic": _by_libmagic,
    "magika": _by_magika,
    "table": lambda _: UNKNOWN,
}
