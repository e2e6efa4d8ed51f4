"""What Office keeps in compound files: objects of a presentation, and whether the document is encrypted."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

from plugins._formats.office.compound import Compound

_OBJECT = b"\x11\x10"
"""Record type 0x1011, ExternalOleObjectStg (MS-PPT 2.10.34), VBA projects among them."""
_ZIP = b"PK\x03\x04"
_MOST_OBJECTS = 1_000
_INFLATE_BYTES = 64 * 1024
_ENCRYPTED_USER = b"\xdf\xc4\xd1\xf3"
_MOST_RECORDS = 64


def presentation_objects(stream: bytes) -> Iterator[tuple[int, Iterator[bytes]]]:
    """Offset and chunks of each object of a `PowerPoint Document` stream, inflated as it is read."""
    at, count = stream.find(_OBJECT, 2), 0
    while at >= 0 and count < _MOST_OBJECTS:
        version, _, size = struct.unpack_from("<HHI", stream.ljust(at + 6, b"\0"), at - 2)
        end = at + 6 + size
        if version in (0x00, 0x10) and size >= 8 and end <= len(stream):
            body = memoryview(stream)[at + 6 : end]
            if version == 0x10 and body[4] == 0x78:
                count += 1
                yield at - 2, _inflated(body[4:])
            elif version == 0x00 and bytes(body[:4]) == b"\xd0\xcf\x11\xe0":
                count += 1
                yield at - 2, iter((bytes(body),))
            else:
                end = at + 1
        else:
            end = at + 1
        at = stream.find(_OBJECT, end)


def presentation_packages(stream: bytes) -> Iterator[tuple[int, memoryview]]:
    """Offset and bytes of each zip that fills a record of a slide stream, such as a theme (MS-PPT 2.11)."""
    at, count = stream.find(_ZIP), 0
    while at >= 0 and count < _MOST_OBJECTS:
        end = at + 4
        if at >= 8:
            (size,) = struct.unpack_from("<I", stream, at - 4)
            if 22 <= size <= len(stream) - at:
                count, end = count + 1, at + size
                yield at, memoryview(stream)[at:end]
        at = stream.find(_ZIP, end)


def _inflated(view: memoryview) -> Iterator[bytes]:
    """Raises `zlib.error` where the data is damaged."""
    inflate = zlib.decompressobj()
    data = bytes(view)
    while data and not inflate.eof:
        made = inflate.decompress(data, _INFLATE_BYTES)
        if not made and not inflate.unconsumed_tail:
            break
        yield made
        data = inflate.unconsumed_tail


def encryption(compound: Compound) -> str | None:
    """How the document is encrypted, or None: `ooxml`, `word`, `excel`, `powerpoint`, `drm`."""
    if compound.find("EncryptedPackage") is not None:
        return "ooxml" if compound.find("EncryptionInfo") is not None else "drm"
    if compound.find("\x09DRMContent") is not None:
        return "drm"
    word = compound.find("WordDocument")
    if word is not None:
        head = compound.read(word, 12)
        return "word" if len(head) == 12 and head[11] & 0x01 else None  # MS-DOC 2.5.2: fEncrypted
    for name in ("Workbook", "Book"):
        book = compound.find(name)
        if book is not None:
            return "excel" if _has_filepass(compound.read(book, 64 * 1024)) else None
    user = compound.find("Current User")
    if user is not None and compound.read(user, 16)[12:16] == _ENCRYPTED_USER:  # MS-PPT 2.3.2
        return "powerpoint"
    return None


def _has_filepass(book: bytes) -> bool:
    """MS-XLS 2.4.117: FilePass follows BOF, before anything that would be encrypted."""
    at = 0
    for _ in range(_MOST_RECORDS):
        if at + 4 > len(book):
            return False
        kind, size = struct.unpack_from("<HH", book, at)
        if kind == 0x2F:
            return True
        at += 4 + size
    return False


def sizes_hold(compound: Compound) -> bool:
    """True where no stream claims more than the file has; only such a file is handed to a library."""
    most = len(compound.view)
    return not compound.problems and all(one.size <= most for one in (compound.root, *compound.streams))


class _Memory:
    """What stands in for `tempfile` in the library, which would write the document in the clear to a disk."""

    TemporaryFile = io.BytesIO


def _keep_in_memory() -> None:
    from msoffcrypto.format import doc97, ppt97, xls97

    for module in (doc97, ppt97, xls97):
        module.tempfile = _Memory


class Locked(Exception):
    """No password fits, or the kind of encryption is not known; the message says which."""


def decrypt(content: bytes, password: str) -> bytes | None:
    """The document in the clear, or None for a wrong password. Raises `Locked` where nothing would help."""
    import msoffcrypto
    from msoffcrypto import exceptions

    _keep_in_memory()
    try:
        document = msoffcrypto.OfficeFile(io.BytesIO(content))
        # not verify_password: its check refuses right passwords of Excel's files; decrypt() looks for a zip
        document.load_key(password=password)
        made = io.BytesIO()
        document.decrypt(made)
    except exceptions.InvalidKeyError:
        return None
    except exceptions.DecryptionError as error:
        if "password" in str(error).lower() or "verif" in str(error).lower():
            return None
        raise Locked(f"it cannot be decrypted: {error}"[:300]) from None
    except Exception as error:  # noqa: BLE001 - the library raises whatever damaged data makes it raise
        raise Locked(f"it cannot be decrypted: {type(error).__name__}: {error}"[:300]) from None
    return made.getvalue()
