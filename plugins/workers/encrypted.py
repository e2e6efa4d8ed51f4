"""Say of documents and containers that what they hold is encrypted, where their format does."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import msgspec

from plugins._formats.archives.declare import number
from plugins._formats.filetype import kind_of
from plugins._text.density import is_dense
from stoq_core.errors import Reason
from stoq_core.job import Job
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_MANIFESTS = frozenset({"META-INF/manifest.xml", "META-INF/encryption.xml"})
_MOST_MANIFEST_BYTES = 4 << 20
_ODF_KEY = re.compile(rb"<(?:[A-Za-z][\w.-]*:)?(?:encryption-data|encrypted-key)[\s>/]")
_EPUB_KEY = re.compile(rb"EncryptionMethod[^>]{0,200}Algorithm\s*=\s*[\"']([^\"']{1,200})")
_MANGLED_FONTS = (b"http://www.idpf.org/2008/embedding", b"http://ns.adobe.com/pdf/enc#RC")
"""Methods that only make fonts useless elsewhere; their keys stand in the book."""
_ZIPS = frozenset({"odf", "epub"})
_PAGE_BYTES = 4_096
_MOST_PAGES = 64
_LOCKED = {
    "pgp": "an OpenPGP message", "keepass": "a KeePass database",
    "luks": "a LUKS volume", "bitlocker": "a BitLocker volume", "aescrypt": "an AES Crypt file",
    "openssl": "the output of openssl enc",
    "age": "an age file", "vault": "an Ansible vault",
}  # fmt: skip


class EncryptedResult(msgspec.Struct, frozen=True):
    """`format`, and what of it is encrypted."""

    format: str
    what: str


class Encrypted(Worker[Options]):
    """ODF and EPUB with keys in their manifest, Access under a key, OpenPGP, KeePass, LUKS, BitLocker.

    It opens nothing: it gives the reason `encrypted_document`, so that nobody reads a clean verdict into
    bytes that nobody could read.
    """

    roles = ("opens",)
    result = EncryptedResult

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """One `EncryptedResult` and the reason, or nothing."""
        label = kind_of(payload).label
        what = _LOCKED.get(label)
        if label in _ZIPS:
            what = _in_manifest(payload)
        elif label == "mdb" and _has_dense_pages(payload.view()):
            what = "the pages of the database"
        if what is None:
            return
        job.unread(Reason.ENCRYPTED_DOCUMENT, f"encrypted: {what}")
        yield EncryptedResult(label, what)


def _in_manifest(payload: Payload) -> str | None:
    """ODF 1.3, part 2, 4.8: entries with keys; OCF 3.3, 4.2.6.3.2: all methods but those for fonts."""
    try:
        with zipfile.ZipFile(payload.open()) as zipped:
            for name in _MANIFESTS.intersection(zipped.namelist()):
                with zipped.open(name) as member:
                    text = member.read(_MOST_MANIFEST_BYTES)
                methods = _EPUB_KEY.findall(text)
                if _ODF_KEY.search(text) or any(method not in _MANGLED_FONTS for method in methods):
                    return f"members, by {name}"
    except (zipfile.BadZipFile, zlib.error, RuntimeError, OSError, ValueError, EOFError):
        return None  # `decompress` says what is wrong with the zip
    return None


def _has_dense_pages(view: memoryview) -> bool:
    """Pages under no key begin with their kind and are mostly free; ciphers are dense."""
    pages = min(len(view) // _PAGE_BYTES, _MOST_PAGES)
    dense = sum(
        number(view, _PAGE_BYTES * page, 1) > 9
        and is_dense(view[_PAGE_BYTES * page : _PAGE_BYTES * (page + 1)])
        for page in range(1, pages)
    )
    return pages > 1 and dense * 2 > pages
