"""The two encryptions of zip: PKWARE's traditional one (APPNOTE 6.1) and WinZip's AES (AE-1, AE-2)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

from .entry import CHUNK_BYTES

_AES_KEY_BYTES = {1: 16, 2: 24, 3: 32}
_MAC_BYTES = 10
_FIRST_BYTES = 1_024


def _table() -> list[int]:
    table = []
    for n in range(256):
        value = n
        for _ in range(8):
            value = value >> 1 ^ (0xEDB88320 if value & 1 else 0)
        table.append(value)
    return table


_CRC = _table()


def traditional(data: memoryview, password: bytes, check: int) -> Iterator[bytes] | None:
    """The plain bytes, or None where the check byte does not fit (one in 256 wrong ones fits)."""
    keys = [0x12345678, 0x23456789, 0x34567890]
    for byte in password:
        _update(keys, byte)
    head = _decrypt(keys, bytes(data[:12]))
    if len(head) < 12 or head[11] != check:
        return None
    return _decrypted(keys, data)


def _decrypted(keys: list[int], data: memoryview) -> Iterator[bytes]:
    """A little first: what is packed and does not come out plain breaks off soon."""
    at, step = 12, _FIRST_BYTES
    while at < len(data):
        yield _decrypt(keys, bytes(data[at : at + step]))
        at, step = at + step, min(CHUNK_BYTES, 4 * step)


def _update(keys: list[int], byte: int) -> None:
    keys[0] = keys[0] >> 8 ^ _CRC[(keys[0] ^ byte) & 0xFF]
    keys[1] = ((keys[1] + (keys[0] & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
    keys[2] = keys[2] >> 8 ^ _CRC[(keys[2] ^ keys[1] >> 24) & 0xFF]


def _decrypt(keys: list[int], data: bytes) -> bytes:
    key0, key1, key2 = keys
    crc, out = _CRC, bytearray(len(data))
    for at, byte in enumerate(data):
        mixed = key2 | 2
        plain = byte ^ ((mixed * (mixed ^ 1)) >> 8 & 0xFF)
        out[at] = plain
        key0 = key0 >> 8 ^ crc[(key0 ^ plain) & 0xFF]
        key1 = ((key1 + (key0 & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
        key2 = key2 >> 8 ^ crc[(key2 ^ key1 >> 24) & 0xFF]
    keys[:] = key0, key1, key2
    return bytes(out)


def aes(data: memoryview, password: bytes, strength: int) -> Iterator[bytes] | None:
    """The plain bytes, or None where the password or the authentication code does not fit."""
    size = _AES_KEY_BYTES.get(strength)
    if size is None or len(data) < size // 2 + 2 + _MAC_BYTES:
        return None
    salt, rest = bytes(data[: size // 2]), data[size // 2 :]
    derived = hashlib.pbkdf2_hmac("sha1", password, salt, 1000, 2 * size + 2)
    if not hmac.compare_digest(derived[-2:], bytes(rest[:2])):
        return None
    body, code = rest[2:-_MAC_BYTES], bytes(rest[-_MAC_BYTES:])
    if not hmac.compare_digest(hmac.digest(derived[size : 2 * size], body, "sha1")[:_MAC_BYTES], code):
        return None
    return _aes_ctr(body, derived[:size])


def _aes_ctr(body: memoryview, key: bytes) -> Iterator[bytes]:
    """Counter mode with a little-endian counter that begins at 1, as WinZip has it."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    encrypt = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - the blocks are counters
    counter = 1
    for at in range(0, len(body), CHUNK_BYTES):
        chunk = bytes(body[at : at + CHUNK_BYTES])
        blocks = -(-len(chunk) // 16)
        stream = encrypt.update(b"".join(n.to_bytes(16, "little") for n in range(counter, counter + blocks)))
        counter += blocks
        size = len(chunk)
        mixed = int.from_bytes(chunk, "big") ^ int.from_bytes(stream[:size], "big")
        yield mixed.to_bytes(size, "big")
