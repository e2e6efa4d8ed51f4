"""Symhash of a Mach-O: one digest of what each slice takes from other libraries."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from plugins._formats.executables.lief import library, source
from stoq_core.job import Job
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Accepts, Worker

_STAB, _EXTERNAL, _TYPE, _UNDEFINED = 0xE0, 0x01, 0x0E, 0x00  # n_type, <mach-o/nlist.h>
_MAGIC = (
    b"\xca\xfe\xba\xbe",
    b"\xca\xfe\xba\xbf",
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
)


class SymhashResult(msgspec.Struct, frozen=True):
    """`symhash` by slice: the processor (`X86_64`, `ARM64`; a second one of a kind gets `_2`)."""

    symhash: dict[str, str]


class Symhash(Worker[Options]):
    """MD5 of the sorted, comma-joined names of undefined external symbols, as Anomali defined it.

    yara-x calls the same `macho.symhash()`. A slice without symbols has none; neither has a Java
    class, which begins as a fat Mach-O does.
    """

    accepts = Accepts(magic=_MAGIC)
    libraries = {"lief": "lief (in requirements.txt)"}
    essential = False
    result = SymhashResult

    def warm(self) -> None:
        """Import the library."""
        library()

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield one `SymhashResult`, or nothing."""
        macho = library().MachO
        config = macho.ParserConfig.quick
        fat = macho.parse(source(payload), config)
        if fat is None:
            return
        found: dict[str, str] = {}
        for binary in fat:
            names = [_raw(one.name) for one in binary.symbols if _taken(one, macho)]
            if names:
                digest = hashlib.md5(b",".join(sorted(names))).hexdigest()
                found[_unused(_processor(binary), found)] = digest
        if found:
            yield SymhashResult(found)


def _taken(symbol: Any, macho: Any) -> bool:
    """An undefined external symbol of the symbol table, debugger's entries aside."""
    kind = symbol.raw_type
    return (
        symbol.origin == macho.Symbol.ORIGIN.SYMTAB
        and not kind & _STAB
        and bool(kind & _EXTERNAL)
        and kind & _TYPE == _UNDEFINED
    )


def _raw(name: str | bytes) -> bytes:
    """A name as it stands in the file: LIEF gives text, or bytes where they are no UTF-8."""
    return name if isinstance(name, bytes) else name.encode("utf-8", "surrogatepass")


def _processor(binary: Any) -> str:
    kind = binary.header.cpu_type
    return str(getattr(kind, "name", kind))


def _unused(name: str, found: dict[str, str]) -> str:
    if name not in found:
        return name
    return next(made for at in range(2, len(found) + 3) if (made := f"{name}_{at}") not in found)
