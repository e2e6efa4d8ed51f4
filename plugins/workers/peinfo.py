"""What a Windows executable says about itself: headers, sections, imports, resources, who signed it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeVar

import msgspec

from plugins._formats.executables.mz import end_of_dos
from plugins._formats.executables.pe import authenticode, directories
from plugins._formats.executables.pe.account import certificate_children, claim_image, holds_data
from plugins._formats.executables.pe.image import (
    Image,
    RichHeader,
    Section,
    entry_section,
    open_image,
    packed,
    rich_header,
    sections,
    utc,
)
from plugins._text.room import Room
from stoq_core.errors import Reason
from stoq_core.job import Job
from stoq_core.limits import Limits, MiB
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Accepts, Worker

_T = TypeVar("_T")
_MIN_OVERLAY_BYTES, _MOST_CHARS = 16, 400_000
_NET_DIRECTORY = 14
_MOST_WARNINGS, _WARNING_CHARS = 20, 300
_MACHINES = {0x14C: "i386", 0x8664: "amd64", 0xAA64: "arm64", 0x1C0: "arm", 0x1C4: "armnt", 0x200: "ia64",
             0xEBC: "ebc", 0x5064: "riscv64", 0x6264: "loongarch64"}  # fmt: skip
_SUBSYSTEMS = {1: "native", 2: "windows_gui", 3: "windows_cui", 5: "os2_cui", 7: "posix_cui", 9: "windows_ce",
               10: "efi_application", 11: "efi_boot_driver", 12: "efi_runtime_driver", 13: "efi_rom",
               14: "xbox", 16: "boot_application"}  # fmt: skip


class PeinfoOptions(Options, frozen=True):
    """What becomes a child beside the certificates."""

    extract_resources: Annotated[
        bool, about("make a child of each resource, not of those alone that hold data")
    ] = False
    extract_overlay: Annotated[bool, about("make a child of what is appended behind the sections")] = True


class Overlay(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is appended behind the sections, certificates aside: offset, bytes, digest and entropy."""

    offset: int
    size: int
    sha256: str = ""
    entropy: float | None = None


class CertificateEntry(msgspec.Struct, frozen=True):
    """An entry of the certificate table; `hidden_bytes` stand behind its PKCS#7, unsigned."""

    offset: int
    cert_size: int
    revision: int
    cert_type: int
    sha256: str
    hidden_bytes: int


class PeinfoResult(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The fields as stoQ named them. Addresses are relative to `image_base`, sizes in bytes, times UTC.

    The `is_` fields are always there, both ways. `is_valid`: every section's bytes are in the file.
    `rich_header`, `debug_info`, `tls_callbacks`, `exports`, `version_info`, `certificates`,
    `signatures`, `resources`, `overlay` only where the file has them. `cut` names lists that are
    not complete, `warnings` what pefile found odd.
    """

    is_exe: bool | msgspec.UnsetType = msgspec.UNSET
    is_dll: bool | msgspec.UnsetType = msgspec.UNSET
    is_driver: bool | msgspec.UnsetType = msgspec.UNSET
    is_dotnet: bool | msgspec.UnsetType = msgspec.UNSET
    is_packed: bool | msgspec.UnsetType = msgspec.UNSET
    is_suspicious: bool | msgspec.UnsetType = msgspec.UNSET
    is_valid: bool | msgspec.UnsetType = msgspec.UNSET
    machine: str = ""
    subsystem: str = ""
    compile_time: str = ""
    compile_time_epoch: int | None = None
    image_base: int | None = None
    entrypoint: int | None = None
    entrypoint_section: str = ""
    linker_version: str = ""
    os_version: str = ""
    checksum: int | None = None
    characteristics: int | None = None
    dll_characteristics: int | None = None
    imphash: str = ""
    rich_header: RichHeader | None = None
    sections: list[Section] = []
    imports: dict[str, list[str]] = {}
    exports: directories.Exports | None = None
    tls_callbacks: list[int] | None = None
    debug_info: list[directories.Debug] = []
    resources: list[directories.Resource] = []
    version_info: dict[str, str] = {}
    overlay: Overlay | None = None
    certificates: list[CertificateEntry] = []
    signatures: list[authenticode.Signature] = []
    cut: list[str] = []
    warnings: list[str] = []


class Peinfo(Worker[PeinfoOptions]):
    """Children: certificates (`certificate_N.p7b`), the overlay, resources with data, what no table names.

    A part that cannot be read is an error, and all other parts are there. `signatures` says whether
    each fits the file; whether its signer deserves trust is not decided here.
    """

    roles = ("opens",)
    accepts = Accepts(magic=(b"MZ",), min_bytes=64)
    limits = Limits(output_bytes=512 * MiB, children=1_100, wall_ms=30_000)
    libraries = {
        "pefile": "pefile (in requirements.txt)",
        "lief": "lief (in requirements.txt)",
        "yara_x": "yara-x (in requirements.txt)",
    }
    errors = {"corrupt": "the headers, or the part that is named, do not hold"}
    findings = {
        "pe_writable_code": (60, "a section that is both writable and executable", ("T1027.002",)),
        "pe_entry_outside_sections": (150, "the entry point stands in no section", ("T1027.002",)),
        "pe_packed": (80, "a packer's section, or random code beside few imports", ("T1027.002",)),
        "pe_signature_broken": (
            200,
            "the signed digest is not that of the file: it was changed after it was signed",
            ("T1036.001",),
        ),
        "pe_hidden_behind_signature": (200, "bytes behind a signature that it does not cover", ("T1027",)),
    }
    result = PeinfoResult

    def warm(self) -> None:
        """Import the libraries."""
        import pefile  # noqa: F401 - warmed before the fork

        from plugins._formats.executables.lief import library

        library()

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield fields (the headers' first), findings and children; of DOS programs what is appended."""
        image = open_image(payload)
        if image is None:
            job.account.searched(0, end_of_dos(payload.view()))
            return
        work = _Work(image, job)
        work.headers()
        yield work.news()  # kept, should the tables take too long
        work.tables()
        if authenticode.table(image)[1]:
            work.certificates()
        yield from self._findings(work)
        work.finish()
        yield work.news()
        yield from self._children(work)

    def _findings(self, work: _Work) -> Iterator[Any]:
        for name, details in work.noticed().items():
            yield self.finding(name, details)

    def _children(self, work: _Work) -> Iterator[Any]:
        result, view, job = work.result, work.image.view, work.job
        claim_image(work.image, job.account)
        yield from certificate_children(work.image, work.entries, job)
        overlay = result.overlay
        if not self.options.extract_overlay and overlay is not None:
            job.account.searched(overlay.offset, overlay.size)
        elif overlay is not None and overlay.size >= _MIN_OVERLAY_BYTES:
            content = view[overlay.offset : overlay.offset + overlay.size]
            job.account.child(overlay.offset, overlay.size)
            yield job.child(_chunks(content), name="overlay", offset=overlay.offset)
        yield from self._resources(work)

    def _resources(self, work: _Work) -> Iterator[Any]:
        seen = set()
        for one in work.result.resources:
            wanted = self.options.extract_resources or holds_data(one.type, one.size)
            if not one.offset or not one.size or not wanted or (one.offset, one.size) in seen:
                continue
            seen.add((one.offset, one.size))
            work.job.account.child(one.offset, one.size)
            content = work.image.view[one.offset : one.offset + one.size]
            name = f"resource_{one.type}_{one.name}"
            yield work.job.child(_chunks(content), name=name, offset=one.offset, language=one.language)


def _chunks(view: memoryview) -> Iterator[memoryview]:
    for at in range(0, len(view), MiB):
        yield view[at : at + MiB]


class _Work:
    """One file being read, part by part; a part that fails leaves the others alone."""

    def __init__(self, image: Image, job: Job) -> None:
        self.image, self.job = image, job
        self.result = PeinfoResult()
        self._room = Room(_MOST_CHARS)
        self._entry: Section | None = None
        self._told: set[str] = set()
        self.entries: list[authenticode.Entry] = []

    def part(self, what: str, read: Callable[[], _T], otherwise: _T) -> _T:
        """What `read` gives; if it raises, an error that names the part, and the reason `corrupt`."""
        try:
            return read()
        except Exception as error:  # noqa: BLE001 - the libraries raise anything on hostile bytes
            message = f"{what}: {type(error).__name__}: {error}"[:_WARNING_CHARS]
            self.job.error("corrupt", message)
            self.job.unread(Reason.CORRUPT, message)
            return otherwise

    def headers(self) -> None:
        """What the headers and the section table say."""
        pe, result = self.image.pe, self.result
        file, optional = pe.FILE_HEADER, pe.OPTIONAL_HEADER
        result.machine = _MACHINES.get(file.Machine, f"0x{file.Machine:x}")
        result.subsystem = _SUBSYSTEMS.get(optional.Subsystem, str(optional.Subsystem))
        result.compile_time_epoch = file.TimeDateStamp
        result.compile_time = utc(file.TimeDateStamp)
        result.image_base, result.entrypoint = optional.ImageBase, optional.AddressOfEntryPoint
        result.linker_version = f"{optional.MajorLinkerVersion}.{optional.MinorLinkerVersion}"
        result.os_version = f"{optional.MajorOperatingSystemVersion}.{optional.MinorOperatingSystemVersion}"
        result.checksum = optional.CheckSum
        result.characteristics, result.dll_characteristics = file.Characteristics, optional.DllCharacteristics
        result.sections = self.part("sections", lambda: sections(self.image), [])
        self._entry = entry_section(self.image, result.sections)
        result.entrypoint_section = self._entry.name if self._entry is not None else ""
        result.rich_header = rich_header(self.image)
        result.is_exe, result.is_dll = bool(pe.is_exe()), bool(pe.is_dll())
        result.is_dotnet = bool(self._directory(_NET_DIRECTORY))
        size = len(self.image.view)
        result.is_valid = all(one.raw_offset + one.raw_size <= size for one in result.sections)

    def _directory(self, number: int) -> int:
        table = self.image.pe.OPTIONAL_HEADER.DATA_DIRECTORY
        return int(table[number].VirtualAddress) if number < len(table) else 0

    def news(self) -> dict[str, Any]:
        """The fields that are known since this was asked last."""
        known: dict[str, Any] = msgspec.to_builtins(self.result)
        new = {name: value for name, value in known.items() if name not in self._told}
        self._told.update(new)
        return new

    def tables(self) -> None:
        """What the data directories say."""
        image, result, room = self.image, self.result, self._room
        result.imports = self.part("imports", lambda: directories.imports(image, room), {})
        result.imphash = self.part("imphash", image.pe.get_imphash, "")
        result.exports = self.part("exports", lambda: directories.exports(image, room), None)
        result.tls_callbacks = self.part("tls", lambda: directories.tls_callbacks(image), None)
        result.debug_info = self.part("debug", lambda: directories.debug(image), [])
        result.resources = self.part("resources", lambda: directories.resources(image, room), [])
        result.version_info = self.part("version", lambda: directories.version_info(image), {})
        result.overlay = self.part("overlay", self._overlay, None)
        result.is_driver = self.part("driver", lambda: bool(image.pe.is_driver()), otherwise=False)

    def _overlay(self) -> Overlay | None:
        start = self.image.pe.get_overlay_data_start_offset()
        at, size = authenticode.table(self.image)
        end = len(self.image.view)
        if size and start is not None and start <= at and at + size == end:
            end = at
        if start is None or start >= end:
            return None
        found = self.image.digests(start, end - start)
        if found is None:
            return Overlay(start, end - start)
        return Overlay(start, end - start, found.sha256, found.entropy)

    def certificates(self) -> None:
        """The certificate table and what it proves."""
        found = self.entries = list(authenticode.entries(self.image))
        for one in found:
            hidden = authenticode.hidden_bytes(self.image, one)
            self.result.certificates.append(
                CertificateEntry(one.offset, one.size, one.revision, one.kind, one.sha256, hidden)
            )
        self.result.signatures = self.part(
            "signatures", lambda: authenticode.signatures(self.image, found), []
        )

    def noticed(self) -> dict[str, str]:
        """The findings' names and details; sets what depends on them."""
        result = self.result
        functions = sum(len(names) for names in result.imports.values())
        reason = "" if result.is_dotnet else packed(result.sections, functions)
        result.is_packed = bool(reason)
        found: dict[str, str] = {"pe_packed": reason}
        both = [one.name for one in result.sections if "w" in one.flags and "x" in one.flags]
        found["pe_writable_code"] = ", ".join(both[:5])
        if self._entry is None and result.entrypoint and result.sections:
            found["pe_entry_outside_sections"] = f"entry point at 0x{result.entrypoint:x}"
        broken = [one for one in result.signatures if not one.fits and one.digest]
        found["pe_signature_broken"] = ", ".join(broken[0].signers) or "no signer" if broken else ""
        hidden = sum(one.hidden_bytes for one in result.certificates)
        found["pe_hidden_behind_signature"] = f"{hidden} bytes" if hidden else ""
        found = {name: detail for name, detail in found.items() if detail}
        result.is_suspicious = bool(found)
        return found

    def finish(self) -> None:
        """What is known once all parts are read."""
        self.image.done()
        self.result.cut = list(dict.fromkeys(self._room.cut))
        warnings = self.image.pe.get_warnings()
        self.result.warnings = [str(one)[:_WARNING_CHARS] for one in warnings[:_MOST_WARNINGS]]
