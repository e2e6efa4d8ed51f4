"""Whether an Office document is encrypted, how, and what opens it."""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from typing import Any

from plugins._formats.office.compound import Compound

_ENCRYPTED_USER = b"\xdf\xc4\xd1\xf3"
_MOST_RECORDS = 64
_SEGMENT = 4_096
ENCRYPTED_STREAMS = frozenset({
    "ENCRYPTEDPACKAGE", "WORDDOCUMENT", "0TABLE", "1TABLE", "DATA", "WORKBOOK", "BOOK", "POWERPOINT DOCUMENT",
    "PICTURES", "ENCRYPTEDSUMMARY",
})  # fmt: skip
"""Streams whose bytes are all in the document once it is decrypted."""
_BLOCK, _PAD = 16, b"\x36"
_HASHES: dict[str, Callable[[bytes], Any]] = {
    "sha1": hashlib.sha1, "sha256": hashlib.sha256, "sha384": hashlib.sha384, "sha512": hashlib.sha512,
    "md5": hashlib.md5,
}  # fmt: skip
_PACKAGED = ("agile", "standard")
_GUESSES = 4_500_000
"""Rounds of hashing spent on passwords that nobody told: about two seconds."""
_OLD_ROUNDS = 100_000
"""What reading one of the older documents costs, in rounds."""


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


def clear_from(stream: bytes, name: str) -> int:
    """Where an encrypted stream's own bytes end; of a package (MS-OFFCRYPTO 2.3.4.4) its size tells."""
    if name.upper() != "ENCRYPTEDPACKAGE":
        return len(stream)
    size = int.from_bytes(stream[:8], "little")
    return min(len(stream), 8 + -(-size // _SEGMENT) * _SEGMENT)


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
    made = io.BytesIO()
    packaged = False
    try:
        document = msoffcrypto.OfficeFile(io.BytesIO(content))
        packaged = getattr(document, "type", None) in _PACKAGED
        if not packaged:
            document.load_key(password=password)  # no check: it refuses right passwords of Excel's files
        elif not _is_right(document, password):
            return None
        document.decrypt(made)
    except exceptions.InvalidKeyError:
        # the password was right, and what came out is no package: that is worth a look, too
        return made.getvalue() if packaged and made.tell() else None
    except exceptions.DecryptionError as error:
        if "password" in str(error).lower() or "verif" in str(error).lower():
            return None
        raise Locked(f"it cannot be decrypted: {error}"[:300]) from None
    except Exception as error:  # noqa: BLE001 - the library raises whatever damaged data makes it raise
        raise Locked(f"it cannot be decrypted: {type(error).__name__}: {error}"[:300]) from None
    return made.getvalue()


def guess(content: bytes, passwords: Iterable[str], job_has_time: Callable[[], bool]) -> str | None:
    """The first password that the document's verifier accepts, of as many as its hashing allows.

    Raises `Locked` where the document cannot be read.
    """
    import msoffcrypto
    from msoffcrypto import exceptions

    _keep_in_memory()
    try:
        document = msoffcrypto.OfficeFile(io.BytesIO(content))
        most = _GUESSES // max(1, _rounds(document))
        for password in islice(passwords, most):
            if not job_has_time():
                return None
            with suppress(exceptions.InvalidKeyError):
                if _is_right(document, password):
                    return password
    except Exception as error:  # noqa: BLE001 - the library raises whatever damaged data makes it raise
        raise Locked(f"it cannot be decrypted: {type(error).__name__}: {error}"[:300]) from None
    return None


def _rounds(document: Any) -> int:
    """How often a password is hashed: as told (MS-OFFCRYPTO 2.3.4.10), 50,000 times (2.3.6.2), or once."""
    kind = getattr(document, "type", None)
    if kind == "agile":
        return int(document.info["spinValue"])
    return 50_000 if kind == "standard" else _OLD_ROUNDS


def _is_right(document: Any, password: str) -> bool:
    """Whether the verifier accepts it; the document's key is then set."""
    if getattr(document, "type", None) == "agile":
        document.secret_key = _agile_key(document.info, password)
        return document.secret_key is not None
    if getattr(document, "type", None) == "standard":
        document.load_key(password=password, verify_password=True)
    else:
        document.load_key(password=password)  # the older ones verify it themselves
    return True


def _agile_key(told: dict[str, Any], password: str) -> bytes | None:
    """MS-OFFCRYPTO 2.3.4.11 to 13; the library compares hashes with their padding, and derives them twice."""
    hasher = _HASHES[told["passwordHashAlgorithm"].replace("-", "").lower()]
    salt = told["passwordSalt"]
    hashed = hasher(salt + password.encode("utf-16-le")).digest()
    for n in range(told["spinValue"]):
        hashed = hasher(n.to_bytes(4, "little") + hashed).digest()

    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.ciphers.modes import CBC

    def plain(block: str, packed: bytes) -> bytes:
        key = hasher(hashed + bytes.fromhex(block)).digest()
        key = key[: told["passwordKeyBits"] // 8].ljust(told["passwordKeyBits"] // 8, _PAD)
        cipher = Cipher(AES(key), CBC(salt[:_BLOCK].ljust(_BLOCK, _PAD)))
        return cipher.decryptor().update(packed)

    asked = plain("fea7d2763b4b9e79", told["encryptedVerifierHashInput"])
    expected = plain("d7aa0f6d3061344e", told["encryptedVerifierHashValue"])
    if not expected.startswith(hasher(asked).digest()):
        return None
    return plain("146e0be7abacd0d6", told["encryptedKeyValue"])
