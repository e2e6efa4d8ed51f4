"""b64decode: the whole payload as base64, and runs in it."""

from __future__ import annotations

import base64
import random

import pytest

from plugins.workers.b64decode import B64decode
from stoq_core.testing import make, run

DATA = random.Random(7).randbytes(3_000)


@pytest.mark.parametrize(
    "content",
    [
        base64.b64encode(DATA),
        b"\n " + base64.encodebytes(DATA),
        base64.b64encode(DATA).rstrip(b"="),
        base64.urlsafe_b64encode(DATA),
        base64.b64encode(DATA).decode().encode("utf-16"),
    ],
)
def test_a_payload_that_is_base64_gives_what_it_holds(content: bytes) -> None:
    """In lines, without padding, url-safe, as UTF-16; whatever comes out."""
    ran = run(make(B64decode), content)
    assert [child.body.content() for child in ran.children] == [DATA]
    assert ran.result == {"runs": [{"offset": 0, "size": len(content)}], "count": 1}


def test_runs_in_other_text_give_files_and_text() -> None:
    """What is neither stays where it is."""
    words = b"a text that is long enough"
    content = b"x = '%b'; y = '%b'" % (base64.b64encode(words), base64.b64encode(DATA[:60]))
    ran = run(make(B64decode), content)
    assert [child.body.content() for child in ran.children] == [words]
    assert ran.children[0].meta.extra_data["offset"] == 5


@pytest.mark.parametrize("content", [b"", b"=", b"====", b"a b c.", b"\0\1\2" * 40])
def test_nothing_comes_of_other_bytes(content: bytes) -> None:
    """Nor is anything an error."""
    ran = run(make(B64decode), content)
    assert not ran.children
    assert not ran.reasons
