"""What is encrypted is said to be, by the format's own word; what is not is left alone."""

from __future__ import annotations

import io
import random
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.workers.encrypted import Encrypted
from stoq_core.testing import make, run

ODF = b"mimetypeapplication/vnd.oasis.opendocument.text"
KEY = b'<manifest:file-entry><manifest:encryption-data manifest:checksum="x"/></manifest:file-entry>'


def zipped(kind: str, members: dict[str, bytes]) -> bytes:
    """A package with its type first."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("mimetype", kind)
        for name, content in members.items():
            made.writestr(name, content)
    return out.getvalue()


def book(algorithm: bytes) -> bytes:
    """An EPUB whose encryption.xml names a method."""
    text = (
        b'<encryption><EncryptedData><EncryptionMethod Algorithm="'
        + algorithm
        + b'"/></EncryptedData></encryption>'
    )
    return zipped("application/epub+zip", {"META-INF/encryption.xml": text})


@pytest.mark.parametrize(
    "content",
    [
        zipped("application/vnd.oasis.opendocument.text", {"META-INF/manifest.xml": KEY}),
        zipped("application/vnd.oasis.opendocument.text", {"META-INF/manifest.xml": b"<encryption-data />"}),
        book(b"http://www.w3.org/2001/04/xmlenc#aes128-cbc"),
        b"-----BEGIN PGP MESSAGE-----\n\nhQEMA\n",
        b"\x85\x01\x0c\x03" + bytes(range(8)) + b"\x01" + bytes(40),
        b"\x03\xd9\xa2\x9a\x67\xfb\x4b\xb5" + bytes(40),
        b"LUKS\xba\xbe\0\1" + bytes(600),
        b"Salted__" + bytes(40),
        b"$ANSIBLE_VAULT;1.1;AES256\n6162\n",
        b"\0\1\0\0Standard ACE DB\0" + bytes(4_076) + b"\x80" + random.Random(1).randbytes(20_000),
    ],
)  # fmt: skip
def test_says_so(content: bytes) -> None:
    """Each format's word for it is a reason."""
    assert run(make(Encrypted), content).reasons == {"encrypted_document"}


@pytest.mark.parametrize(
    "content",
    [
        zipped(
            "application/vnd.oasis.opendocument.text", {"META-INF/manifest.xml": b"<manifest:file-entry/>"}
        ),
        book(b"http://www.idpf.org/2008/embedding"),
        b"\0\1\0\0Standard Jet DB\0" + bytes(4_076) + (b"\1\1" + b"text of a page " * 273)[:4096] * 6,
        b"a text about -----BEGIN PGP SIGNATURE-----",
    ],
)
def test_says_nothing(content: bytes) -> None:
    """Fonts that are only mangled, plain packages, plain databases."""
    ran = run(make(Encrypted), content)
    assert not ran.reasons
    assert ran.result is None


@given(
    st.sampled_from([ODF, b"PK\3\4", b"\0\1\0\0Standard Jet DB\0", b"\x85\0\0\3"]), st.binary(max_size=500)
)
def test_any_bytes(mark: bytes, content: bytes) -> None:
    """Never an error."""
    assert run(make(Encrypted), mark + content).error is None
