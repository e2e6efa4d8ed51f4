"""A small set of files built in code that shows every verdict; nothing in it is harmful."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

# The EICAR test string in two halves, so that no scanner stumbles over this source file.
_EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


def eicar() -> bytes:
    """The harmless file that every scanner calls malicious."""
    return _EICAR


def zipped(**members: bytes) -> bytes:
    """A deflated zip; a member's name is the keyword with `__` for a dot."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(zipfile.ZipInfo(name.replace("__", "."), (2024, 1, 1, 0, 0, 0)), content)
    return out.getvalue()


def tar_gz(name: str, content: bytes) -> bytes:
    """A tar.gz with one member; the same bytes at any time of day."""
    out = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as made,
    ):
        info = tarfile.TarInfo(name)
        info.size = len(content)
        made.addfile(info, io.BytesIO(content))
    return out.getvalue()


def nested_eicar() -> bytes:
    """A zip in a tar.gz in a zip, with EICAR at the bottom."""
    return zipped(middle__tar__gz=tar_gz("inner.zip", zipped(eicar__com=eicar())))


def encrypted_zip() -> bytes:
    """A zip whose only member has the encryption flag and bytes that no password opens."""
    plain = zipped(secret__txt=bytes(range(64)))
    made = bytearray(plain)
    made[6] |= 1  # general purpose bit 0 of the local header (APPNOTE 4.4.4)
    central = plain.index(b"PK\x01\x02")
    made[central + 8] |= 1
    made[14] ^= 1  # a checksum that the bytes as they stand do not have
    made[central + 16] ^= 1
    return bytes(made)


def bomb(size_mib: int = 400) -> bytes:
    """A zip with one member that would be `size_mib` MiB of zeros."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made,
        made.open("zeros.bin", "w", force_zip64=True) as member,
    ):
        block = bytes(1024 * 1024)
        for _ in range(size_mib):
            member.write(block)
    return out.getvalue()


def write_samples(folder: Path) -> list[Path]:
    """Write the set into `folder`; the files, in the order to show them."""
    made = {
        "invoice.zip": nested_eicar(),
        "encrypted.zip": encrypted_zip(),
        "bomb.zip": bomb(),
        "notes.txt": b"Nothing to see here.\n",
    }
    files = []
    for name, content in made.items():
        file = folder / name
        file.write_bytes(content)
        files.append(file)
    return files
