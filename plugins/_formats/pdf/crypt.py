"""Open documents that the standard security handler encrypted, with a password of either kind.

ISO 32000-1, 7.6 (revisions 2 to 4: RC4 and AES-128) and ISO 32000-2, 7.6.4 (5 and 6: AES-256).
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from stoq_core.errors import Reason
from stoq_core.limits import MiB

from .damage import Damaged

_PAD = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")
_BLOCK = 16
_MOST_PASSWORD = 127
_MOST_SLOW = 8 * MiB
_NO_CIPHER = ("None", "Identity")


class Lock(msgspec.Struct):
    """What the encryption dictionary says: numbers V and R, and the strings that keys are checked with."""

    version: int
    revision: int
    size: int
    owner: bytes
    user: bytes
    permissions: int
    document: bytes
    owner_key: bytes = b""
    user_key: bytes = b""
    metadata: bool = True
    stream_cipher: str = "V2"
    string_cipher: str = "V2"


def lock_of(said: Any, document: Any) -> Lock | None:
    """The lock, from the dictionary and the file's `ID`; None for handlers and numbers that are not known."""
    if not isinstance(said, dict) or said.get(b"Filter") != b"Standard":
        return None
    version, revision = _number(said, b"V", 0), _number(said, b"R", 0)
    owner, user = said.get(b"O"), said.get(b"U")
    known = version in (1, 2, 4, 5) and 2 <= revision <= 6 and (version == 5) == (revision >= 5)
    if not known or type(owner) is not bytes or type(user) is not bytes:
        return None
    first = document[0] if isinstance(document, list) and document and type(document[0]) is bytes else b""
    bits = 40 if version == 1 else _number(said, b"Length", 40 if version == 2 else 128)
    lock = Lock(
        version, revision, _key_bytes(version, bits), owner, user, _number(said, b"P", 0) & 0xFFFF_FFFF, first
    )
    lock.owner_key, lock.user_key = _bytes(said, b"OE"), _bytes(said, b"UE")
    lock.metadata = said.get(b"EncryptMetadata") is not False
    if version >= 4:
        lock.stream_cipher, lock.string_cipher = _cipher(said, b"StmF"), _cipher(said, b"StrF")
    return lock


def _key_bytes(version: int, bits: int) -> int:
    """Some writers give the length in bytes; RC4's is 5 to 16, that of version 4 is 16."""
    size = bits // 8 if bits >= 40 else bits
    return 16 if version == 4 else max(5, min(16, size))


def _number(said: dict[bytes, Any], key: bytes, otherwise: int) -> int:
    value = said.get(key)
    return value if type(value) is int else otherwise


def _bytes(said: dict[bytes, Any], key: bytes) -> bytes:
    value = said.get(key)
    return value if type(value) is bytes else b""


def _cipher(said: dict[bytes, Any], key: bytes) -> str:
    """The method of a crypt filter: V2 (RC4), AESV2, AESV3, None; Identity where none is named."""
    name, filters = said.get(key), said.get(b"CF")
    found = filters.get(name) if isinstance(filters, dict) and isinstance(name, bytes) else None
    method = found.get(b"CFM") if isinstance(found, dict) else None
    return method.decode("latin-1") if isinstance(method, bytes) else "Identity"


def key_of(lock: Lock, password: str) -> bytes | None:
    """The document's key, if this is its user's or its owner's password."""
    if lock.version == 5:
        return _key_256(lock, password.encode("utf-8", "replace")[:_MOST_PASSWORD])
    raw = password.encode("latin-1", "replace")
    return _key_128(lock, raw) or _key_128(lock, _user_of(lock, raw))


def _key_128(lock: Lock, password: bytes) -> bytes | None:
    """Algorithm 2, checked by algorithms 4 and 5."""
    seed = (password + _PAD)[:32] + lock.owner[:32] + lock.permissions.to_bytes(4, "little") + lock.document
    key = _md5(seed + (b"\xff" * 4 if lock.revision >= 4 and not lock.metadata else b""))
    for _ in range(50 if lock.revision >= 3 else 0):
        key = _md5(key[: lock.size])
    key = key[: lock.size]
    if lock.revision == 2:
        return key if _rc4(key, _PAD) == lock.user[:32] else None
    check = _md5(_PAD + lock.document)
    for n in range(20):
        check = _rc4(bytes(one ^ n for one in key), check)
    return key if check == lock.user[:16] else None


def _user_of(lock: Lock, password: bytes) -> bytes:
    """The user's password out of the owner's (algorithm 7)."""
    key = _md5((password + _PAD)[:32])
    for _ in range(50 if lock.revision >= 3 else 0):
        key = _md5(key)
    key, user = key[: lock.size], lock.owner[:32]
    for n in range(19 if lock.revision >= 3 else 0, -1, -1):
        user = _rc4(bytes(one ^ n for one in key), user)
    return user


def _key_256(lock: Lock, password: bytes) -> bytes | None:
    """Algorithm 2.A."""
    user, owner = lock.user[:48], lock.owner[:48]
    if len(user) < 48 or len(owner) < 48:
        return None
    for check, extra, held in ((user, b"", lock.user_key), (owner, user, lock.owner_key)):
        if len(held) >= 32 and _hash(lock, password, check[32:40], extra) == check[:32]:
            return _aes(_hash(lock, password, check[40:48], extra), bytes(_BLOCK), held[:32])
    return None


def _hash(lock: Lock, password: bytes, salt: bytes, extra: bytes) -> bytes:
    """Algorithm 2.B; revision 5 ends after its first line."""
    key = hashlib.sha256(password + salt + extra).digest()
    step, last = 0, 0
    while lock.revision >= 6 and (step < 64 or last > step - 32):
        made = _aes(key[:16], key[16:32], (password + key + extra) * 64, encrypt=True)
        name = ("sha256", "sha384", "sha512")[sum(made[:16]) % 3]
        key = hashlib.new(name, made).digest()
        step, last = step + 1, made[-1]
    return key[:32]


def decrypt(lock: Lock, key: bytes, owner: tuple[int, int], data: bytes, cipher: str) -> bytes:
    """The plain bytes of a string or stream of object `owner` (algorithms 1 and 1.A)."""
    if cipher in _NO_CIPHER or not data:
        return data
    if cipher != "AESV3" and lock.version < 5:
        number, generation = max(0, owner[0]) & 0xFFFFFF, owner[1] & 0xFFFF
        seed = key + number.to_bytes(3, "little") + generation.to_bytes(2, "little")
        key = _md5(seed + (b"sAlT" if cipher == "AESV2" else b""))[: min(len(key) + 5, 16)]
    if cipher == "V2":
        return _rc4(key, data)
    whole = len(data) & -_BLOCK
    if whole < 2 * _BLOCK:
        return b""
    plain = _aes(key, data[:_BLOCK], data[_BLOCK:whole])
    return plain[: -plain[-1]] if 1 <= plain[-1] <= _BLOCK else plain


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _rc4(key: bytes, data: bytes) -> bytes:
    from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4
    from cryptography.hazmat.primitives.ciphers import Cipher

    if 8 * len(key) not in ARC4.key_sizes:
        return _rc4_of_odd_keys(key, data)
    return Cipher(ARC4(key), None).decryptor().update(data)


def _rc4_of_odd_keys(key: bytes, data: bytes) -> bytes:
    """Keys of 6, 9, 11 bytes and the like, which the library refuses."""
    if len(data) > _MOST_SLOW:
        raise Damaged("too large to decrypt with a key of this length", Reason.TOO_LARGE)
    state, j = list(range(256)), 0
    for n in range(256):
        j = (j + state[n] + key[n % len(key)]) & 255
        state[n], state[j] = state[j], state[n]
    made = bytearray(len(data))
    i = j = 0
    for n, one in enumerate(data):
        i = (i + 1) & 255
        j = (j + state[i]) & 255
        state[i], state[j] = state[j], state[i]
        made[n] = one ^ state[(state[i] + state[j]) & 255]
    return bytes(made)


def _aes(key: bytes, start: bytes, data: bytes, *, encrypt: bool = False) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.ciphers.modes import CBC

    cipher = Cipher(AES(key), CBC(start))
    return (cipher.encryptor() if encrypt else cipher.decryptor()).update(data)
