"""PE, ELF and Mach-O as LIEF sees them: headers, sections, segments, imports, exports, libraries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from plugins._formats.executables.elf import spans as elf_spans
from plugins._formats.executables.lief import elf, library, macho, pe, source
from plugins._formats.executables.lief.facts import BinaryFacts, Reading
from plugins._formats.executables.macho import fat_header_bytes, slices
from plugins._formats.executables.macho import spans as macho_spans
from plugins._text.room import Room
from stoq_core.errors import PluginError, Reason
from stoq_core.job import Child, Job
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Accepts, Worker

_MOST_CHARS = 400_000
_FORMATS: dict[bytes, tuple[str, Any]] = {
    b"MZ": ("pe", pe),
    b"\x7fELF": ("elf", elf),
    b"\xca\xfe\xba\xbe": ("macho", macho),
    b"\xca\xfe\xba\xbf": ("macho", macho),
    b"\xfe\xed\xfa\xce": ("macho", macho),
    b"\xfe\xed\xfa\xcf": ("macho", macho),
    b"\xce\xfa\xed\xfe": ("macho", macho),
    b"\xcf\xfa\xed\xfe": ("macho", macho),
}
_MOST_SLICES = 44  # in a fat Mach-O; above it the mark is that of a Java class

Field = Literal["sections", "segments", "imports", "exports", "libraries"]


class LiefOptions(Options, frozen=True):
    """How much to report."""

    fields: Annotated[tuple[Field, ...], about("fields to report beside the header; none means all")] = ()


class LiefResult(BinaryFacts, omit_defaults=True, kw_only=True):
    """The first binary's fields, its `format` (pe, elf, macho), and the other slices of a fat Mach-O.

    `header` is what the format's header says, a `build_id`, `uuid`, `interpreter` and the like included.
    `imports` of a PE are `library:function`. `cut` names lists that are not complete.
    """

    format: str
    slices: list[BinaryFacts] = []
    cut: list[str] = []


class Lief(Worker[LiefOptions]):
    """Read by LIEF, a C++ library, from the bytes; its lists end at a number of entries and of characters.

    Children: each slice of a fat Mach-O, and what no header, section, segment or load command names.
    No disassembly, no relocations, no debug information. What is no such file has no result.
    """

    roles = ("opens",)
    accepts = Accepts(magic=tuple(_FORMATS), min_bytes=20)
    libraries = {"lief": "lief (in requirements.txt)"}
    errors = {"corrupt": "LIEF cannot read the file, or a part of it"}
    findings = {
        "binary_writable_code": (60, "a segment that is both writable and executable", ("T1027.002",)),
        "binary_entry_outside_segments": (
            150,
            "the entry point stands in no segment that is loaded and executable",
            ("T1027.002",),
        ),
    }
    result = LiefResult

    def warm(self) -> None:
        """Import the library."""
        library()

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield the findings and one `LiefResult` without its empty fields."""
        found = _format(payload)
        if found is None:
            return
        name, module = found
        yield from _accounted(payload, name, job)
        room = Room(_MOST_CHARS)
        reading = Reading(room, payload.size, frozenset(self.options.fields))
        try:
            _owner, parts = module.parse(library(), source(payload))  # the owner outlives its parts
            binaries = [module.facts(one, reading) for one in parts]
        except Exception as error:  # noqa: BLE001 - its bindings raise anything on hostile bytes
            message = f"{type(error).__name__}: {error}"[:300]
            raise PluginError("corrupt", message, reason=Reason.CORRUPT) from None
        if not binaries:
            raise PluginError("corrupt", f"LIEF reads no {name} here", reason=Reason.CORRUPT)
        if name != "pe":  # peinfo says more about those
            yield from self._findings(binaries)
        first = msgspec.to_builtins(binaries[0])
        rest = {
            "format": name,
            "slices": msgspec.to_builtins(binaries[1:]),
            "cut": list(dict.fromkeys(room.cut)),
        }
        yield {**first, **{key: value for key, value in rest.items() if value}}

    def _findings(self, binaries: list[BinaryFacts]) -> Iterator[Any]:
        both = [seg.name for one in binaries for seg in one.segments if "w" in seg.flags and "x" in seg.flags]
        both = [name for name in both if name != "gnu_stack"]  # a wish about the stack, no bytes
        if both:
            yield self.finding("binary_writable_code", ", ".join(both[:5]))
        outside = [one.entrypoint for one in binaries if _outside(one)]
        if outside:
            yield self.finding("binary_entry_outside_segments", f"entry point at 0x{outside[0]:x}")


def _accounted(payload: Payload, name: str, job: Job) -> Iterator[Child]:
    """Claim what the file's own tables name; each slice of a fat Mach-O is a child. `peinfo` does PE."""
    view = payload.view()
    if name == "pe":
        return
    for span in elf_spans(view) if name == "elf" else macho_spans(view):
        job.account.searched(span.offset, span.size)
    for number, span in enumerate(slices(view)):
        job.account.structure(0, fat_header_bytes(view))
        job.account.child(span.offset, span.size)
        content = view[span.offset : span.offset + span.size]
        yield job.child([content], name=f"slice_{number}", offset=span.offset)


def _format(payload: Payload) -> tuple[str, Any] | None:
    head = payload.head(8)
    found = _FORMATS.get(head[:4]) or _FORMATS.get(head[:2])
    if found is None or (head[:3] == b"\xca\xfe\xba" and int.from_bytes(head[4:8], "big") > _MOST_SLICES):
        return None
    if found[1] is pe:
        view = payload.view()
        at = int.from_bytes(view[0x3C:0x40], "little")
        return found if bytes(view[at : at + 4]) == b"PE\0\0" else None
    return found


def _outside(one: BinaryFacts) -> bool:
    """True if no executable segment holds the entry point; object files have neither."""
    entry = one.entrypoint
    loaded = [seg for seg in one.segments if "x" in seg.flags]
    if entry is None or not loaded:
        return False
    return not any(seg.virtual_address <= entry < seg.virtual_address + seg.virtual_size for seg in loaded)
