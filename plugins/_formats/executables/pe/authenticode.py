"""The attribute certificates of a PE file: the entries, who signed, and whether the signature fits the file.

Sources: Microsoft, *PE Format*, The Attribute Certificate Table; *Windows Authenticode Portable
Executable Signature Format*. LIEF reads and checks each PKCS#7, alone; the file's digest is counted here.
Nobody is asked about revocation, no list of trusted roots is consulted and no clock, so `verified`
speaks of the file and not of its signer.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from plugins._formats.executables.lief import library
from plugins._formats.executables.pe.image import Image
from plugins._text.room import text

_SECURITY = 4
_ROW = struct.Struct("<IHH")
_MOST_ENTRIES, _MOST_SIGNATURES, _MOST_CERTIFICATES = 16, 16, 32
_PKCS7, _MOST_PKCS7_BYTES = 2, 4 << 20
_ALGORITHMS = ("md5", "sha1", "sha256", "sha384", "sha512")
_PADDING = 8  # entries begin at a multiple of it


class Entry(NamedTuple):
    """One entry of the table: where its content stands and what kind it says that it is."""

    offset: int
    size: int
    revision: int
    kind: int
    sha256: str


class Certificate(msgspec.Struct, frozen=True):
    """An X.509 certificate that came along; times in UTC, digests of its DER."""

    subject: str
    issuer: str
    serial: str
    not_before: str
    not_after: str
    sha1: str
    sha256: str


class Signature(msgspec.Struct, frozen=True, omit_defaults=True):
    """One Authenticode signature.

    `verified`: the signature holds and the digest is this file's. `fits`: the digest alone.
    `problems`: what does not hold, in LIEF's words. `digest` is the one that was signed. `signers` by
    subject; `program_name` and `more_info` as they say.
    """

    verified: bool
    fits: bool
    problems: list[str]
    digest_algorithm: str
    digest: str
    signers: list[str]
    certificates: list[Certificate]
    program_name: str = ""
    more_info: str = ""
    countersigned: bool = False


def table(image: Image) -> tuple[int, int]:
    """Where the certificate table stands in the file, cut at its end; zeros where there is none."""
    directories = image.pe.OPTIONAL_HEADER.DATA_DIRECTORY
    if len(directories) <= _SECURITY:
        return 0, 0
    start, size = directories[_SECURITY].VirtualAddress, directories[_SECURITY].Size
    if not start or not size or start >= len(image.view):
        return 0, 0
    return start, min(size, len(image.view) - start)


def entries(image: Image) -> Iterator[Entry]:
    """Each entry; one whose length makes no sense ends the table."""
    at, size = table(image)
    end = at + size
    for _ in range(_MOST_ENTRIES):
        if at + _ROW.size > end:
            return
        length, revision, kind = _ROW.unpack_from(image.view, at)
        if length <= _ROW.size or at + length > end:
            return
        content = image.view[at + _ROW.size : at + length]
        digest = hashlib.sha256(content).hexdigest()
        yield Entry(at + _ROW.size, length - _ROW.size, revision, kind, digest)
        at += length + -length % _PADDING


def hidden_bytes(image: Image, entry: Entry) -> int:
    """How many bytes stand behind the DER of a PKCS#7 entry, its padding aside.

    They are covered by no signature: Microsoft's MS13-098 and its opt-in check are about them.
    """
    if entry.kind != _PKCS7:
        return 0
    content = image.view[entry.offset : entry.offset + entry.size]
    length = der_bytes(bytes(content[:6]))
    behind = content[length:] if length else b""
    return len(behind) if len(behind) >= _PADDING and any(behind) else 0


def der_bytes(head: bytes) -> int:
    """Length of a DER sequence with its header (X.690 8.1), or 0."""
    if len(head) < 6 or head[0] != 0x30:
        return 0
    if head[1] < 0x80:
        return 2 + head[1]
    octets = head[1] & 0x7F
    return 2 + octets + int.from_bytes(head[2 : 2 + octets], "big") if octets <= 4 else 0


def signatures(image: Image, found: list[Entry]) -> list[Signature]:
    """What is signed and by whom. Raises `ValueError` for a PKCS#7 that LIEF cannot read."""
    pe = library().PE
    made = []
    for entry in found[:_MOST_SIGNATURES]:
        if entry.kind != _PKCS7 or entry.size > _MOST_PKCS7_BYTES:
            continue
        one = pe.Signature.parse(list(image.view[entry.offset : entry.offset + entry.size]))
        if one is None:
            raise ValueError(f"the PKCS#7 at offset {entry.offset} cannot be read")
        made.append(_signature(pe, image, one))
    return made


def file_digest(image: Image, algorithm: str) -> str:
    """The digest that Authenticode signs, or an empty string for an algorithm that is not known here.

    Everything but the checksum, the directory's entry for the certificates, and these themselves.
    """
    if algorithm not in _ALGORITHMS:
        return ""
    optional = image.pe.OPTIONAL_HEADER
    checksum = optional.get_field_absolute_offset("CheckSum")
    entry = optional.DATA_DIRECTORY[_SECURITY].get_file_offset()
    start, size = table(image)
    whole, ends = hashlib.new(algorithm), start or len(image.view)
    for first, last in (
        (0, checksum),
        (checksum + 4, entry),
        (entry + 8, ends),
        (start + size, len(image.view)),
    ):
        if first < last and (last <= ends or size):
            whole.update(image.view[first:last])
    whole.update(bytes(-(len(image.view) - size) % _PADDING))
    return whole.hexdigest()


def _signature(pe: Any, image: Image, one: Any) -> Signature:
    # whether its certificates are valid today is another question, with another answer tomorrow
    checks = one.check(pe.Signature.VERIFICATION_CHECKS.SKIP_CERT_TIME)
    flags = pe.Signature.VERIFICATION_FLAGS
    problems = [flag.name for flag in flags if flag.value and flag in checks] if checks != flags.OK else []
    algorithm, digest = _name(one.content_info.digest_algorithm), bytes(one.content_info.digest).hex()
    program, more, countersigned = _attributes(one)
    fits = file_digest(image, algorithm.replace("_", "")) == digest
    return Signature(
        verified=fits and not problems,
        fits=fits,
        problems=problems,
        digest_algorithm=algorithm,
        digest=digest,
        signers=[_signer(signer) for signer, _ in zip(one.signers, range(_MOST_SIGNATURES), strict=False)],
        certificates=[
            _certificate(crt) for crt, _ in zip(one.certificates, range(_MOST_CERTIFICATES), strict=False)
        ],
        program_name=program,
        more_info=more,
        countersigned=countersigned,
    )


def _attributes(one: Any) -> tuple[str, str, bool]:
    """Program name and address from the signed attributes, and whether somebody vouches for the time."""
    program = more = ""
    countersigned = False
    for signer, _ in zip(one.signers, range(_MOST_SIGNATURES), strict=False):
        for attribute in (*signer.authenticated_attributes, *signer.unauthenticated_attributes):
            kind = type(attribute).__name__
            if kind == "SpcSpOpusInfo":
                program, more = text(attribute.program_name), text(attribute.more_info)
            countersigned |= kind in ("MsCounterSign", "PKCS9CounterSignature")
    return program, more, countersigned


def _signer(signer: Any) -> str:
    return text(signer.cert.subject if signer.cert is not None else signer.issuer)


def _certificate(one: Any) -> Certificate:
    der = bytes(one.raw)
    return Certificate(
        subject=text(one.subject),
        issuer=text(one.issuer),
        serial=bytes(one.serial_number).hex(),
        not_before=_time(one.valid_from),
        not_after=_time(one.valid_to),
        sha1=hashlib.sha1(der).hexdigest(),
        sha256=hashlib.sha256(der).hexdigest(),
    )


def _time(parts: Any) -> str:
    year, month, day, hour, minute, second = (int(one) for one in parts)
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"


def _name(value: Any) -> str:
    return str(getattr(value, "name", value)).lower()
