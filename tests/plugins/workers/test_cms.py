"""CMS and S/MIME: signed and compressed content comes out, encrypted content is named; BER of any form."""

from __future__ import annotations

import base64
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins._formats.filetype import identify
from plugins.workers.cms import Cms
from stoq_core.testing import Ran, make, run

DATA, SIGNED, ENVELOPED, ENCRYPTED = (bytes.fromhex("2a864886f70d0107") + bytes((n,)) for n in (1, 2, 3, 6))
COMPRESSED, TIME = bytes.fromhex("2a864886f70d0109100109"), bytes.fromhex("2a864886f70d0109100104")
ALGORITHM = bytes.fromhex("2a864886f70d010910" + "0308")
MAIL = b'Content-Type: application/octet-stream; name="a.js"\r\n\r\nWScript.Echo 1'


def tlv(tag: int, *parts: bytes) -> bytes:
    """One value with the shortest length (DER)."""
    body = b"".join(parts)
    if len(body) < 0x80:
        return bytes((tag, len(body))) + body
    size = len(body).to_bytes(4, "big").lstrip(b"\0")
    return bytes((tag, 0x80 | len(size))) + size + body


def endless(tag: int, *parts: bytes) -> bytes:
    """One value of indefinite length (BER)."""
    return bytes((tag, 0x80)) + b"".join(parts) + b"\0\0"


def signed(content: bytes | None, *, ber: bool = False, inner: bytes = DATA) -> bytes:
    """Signed data with one piece of nonsense for each other field."""
    wrap = endless if ber else tlv
    if content is None:
        octets = b""
    elif ber:
        octets = wrap(0xA0, wrap(0x24, *(tlv(4, content[at : at + 5]) for at in range(0, len(content), 5))))
    else:
        octets = tlv(0xA0, tlv(4, content))
    inside = wrap(0x30, tlv(6, inner), octets)
    body = wrap(0x30, tlv(2, b"\1"), tlv(0x31, tlv(0x30, tlv(6, ALGORITHM))), inside, tlv(0x31))
    return wrap(0x30, tlv(6, SIGNED), wrap(0xA0, body))


def scan(content: bytes) -> Ran:
    """Run the worker."""
    return run(make(Cms), content)


@pytest.mark.parametrize("ber", [False, True])
def test_signed_mails_come_out(ber: bool) -> None:
    """Opaque S/MIME, in DER and in BER with strings in pieces: the mail inside goes to `smtp`."""
    content = signed(MAIL, ber=ber)
    ran = scan(content)
    assert [one.body.content() for one in ran.children] == [MAIL]
    assert ran.children[0].meta.dispatch_to == ["smtp"]
    assert not ran.reasons
    assert ran.result == {"kind": "signed", "content_bytes": len(MAIL), "detached": False}
    assert identify(memoryview(content)).label == "cms"


def test_armour_is_taken_off() -> None:
    """Base64 with a frame, and without one: the message is a child."""
    text = base64.encodebytes(signed(MAIL))
    framed = b"see:\n-----BEGIN PKCS7-----\n" + text + b"-----END PKCS7-----\n"
    for content in (text, framed, b"-----BEGIN CMS-----\n" + text):
        assert [one.body.content() for one in scan(content).children] == [signed(MAIL)]
    assert scan(b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----").children == []


def test_a_detached_signature_is_clean() -> None:
    """The signature part of a signed mail holds no content; nothing of it is left over."""
    ran = scan(signed(None))
    assert (ran.children, ran.reasons) == ([], set())
    assert ran.result is not None
    assert ran.result["detached"] is True


def test_compressed_content_is_inflated() -> None:
    """RFC 3274; damage is `corrupt`, and what inflates before it is a child."""
    packed = zlib.compress(MAIL * 20)

    def message(data: bytes) -> bytes:
        inside = tlv(0x30, tlv(6, DATA), tlv(0xA0, tlv(4, data)))
        return tlv(
            0x30,
            tlv(6, COMPRESSED),
            tlv(0xA0, tlv(0x30, tlv(2, b"\0"), tlv(0x30, tlv(6, ALGORITHM)), inside)),
        )

    assert [one.body.content() for one in scan(message(packed)).children] == [MAIL * 20]
    assert "corrupt" in scan(message(packed[:20])).reasons


@pytest.mark.parametrize("kind", [ENVELOPED, ENCRYPTED])
def test_encrypted_content_is_named(kind: bytes) -> None:
    """Whatever type the mail declares: only the receivers have the key."""
    inside = tlv(0x30, tlv(6, DATA), tlv(0x30, tlv(6, ALGORITHM)), tlv(0x80, b"\xa5" * 40))
    ran = scan(tlv(0x30, tlv(6, kind), tlv(0xA0, tlv(0x30, tlv(2, b"\0"), tlv(0x31), inside))))
    assert ran.reasons == {"encrypted_document"}


def test_other_signed_values_are_no_children() -> None:
    """A time stamp's content is a value of known form; one that is none is a child."""
    assert scan(signed(tlv(0x30, tlv(2, b"\1")), inner=TIME)).children == []
    assert [one.body.content() for one in scan(signed(b"\x1f\x8b not a value", inner=TIME)).children] == [
        b"\x1f\x8b not a value"
    ]


def test_what_stands_behind_or_around_is_a_child() -> None:
    """Bytes behind the message, and a message whose frame is broken, lose nothing."""
    assert scan(signed(MAIL) + b"\x09 and a tail").contents["tail"] == b"\x09 and a tail"
    broken = bytes.fromhex("3080") + tlv(6, SIGNED) + bytes(14) + MAIL
    assert scan(broken).contents["tail"] == MAIL
    cut = scan(signed(MAIL * 20)[:-100])
    assert cut.reasons == {"corrupt"}
    assert cut.children[0].body.content().startswith(MAIL)


def test_depth_bomb() -> None:
    """Values nested a hundred thousand deep end in a reason, not in recursion."""
    ran = scan(bytes.fromhex("3080") + tlv(6, SIGNED) + b"\xa0\x80" * 100_000)
    assert ran.reasons == {"corrupt"}


WHOLE = signed(MAIL, ber=True)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=6),
    st.integers(0, len(WHOLE)),
)
def test_any_bytes(damage: list[tuple[int, int]], keep: int) -> None:
    """Damaged bytes end in a result or nothing, and never in more bytes than there were."""
    broken = bytearray(WHOLE)
    for at, value in damage:
        broken[at] = value
    ran = scan(bytes(broken[:keep]))
    assert sum(one.body.size for one in ran.children) <= 2 * len(broken)
