"""Mails that programs read differently: in each the attachment is found, or the verdict cannot be clean."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins._formats.filetype import identify
from plugins.workers.smtp import Smtp
from stoq_core.testing import make, payload, run
from tests.mail_variants import BOUNDARIES, ENCODINGS, ENDS, HEADERS, MARKER, ROOTS, variant

AXES = (ROOTS, HEADERS, BOUNDARIES, ENCODINGS, ENDS)
PLAIN = ("plain", "plain", "plain", "base64", "CRLF")
ONE_FLAW = [(*PLAIN[:axis], name, *PLAIN[axis + 1 :]) for axis, names in enumerate(AXES) for name in names]


def shown(content: bytes, depth: int = 0) -> bool:
    """True if the marker stands in a child, or bytes are named that were not read."""
    ran = run(make(Smtp), payload(content, "m.eml"))
    assert ran.error is None
    if ran.reasons:
        return True
    for child in ran.children:
        body = child.body.content()
        if MARKER in body:
            return True
        mail = "smtp" in child.meta.dispatch_to or identify(memoryview(body)).label == "eml"
        if mail and depth < 3 and shown(body, depth + 1):
            return True
    return False


@pytest.mark.parametrize("names", ONE_FLAW, ids="/".join)
def test_one_flaw(names: tuple[str, str, str, str, str]) -> None:
    """Each flaw alone."""
    assert shown(variant(*names))


@settings(max_examples=300, deadline=None)
@given(st.tuples(*(st.sampled_from(sorted(names)) for names in AXES)))
def test_flaws_together(names: tuple[str, str, str, str, str]) -> None:
    """Flaws of each kind at once."""
    assert shown(variant(*names))


@pytest.mark.soak
@settings(max_examples=5_000, deadline=None)
@given(st.tuples(*(st.sampled_from(sorted(names)) for names in AXES)))
def test_many_flaws_together(names: tuple[str, str, str, str, str]) -> None:
    """The same, many more."""
    assert shown(variant(*names))


@pytest.mark.parametrize("ends", sorted(ENDS))
@pytest.mark.parametrize("root", sorted(ROOTS))
def test_such_mails_are_known_by_their_content(root: str, ends: str) -> None:
    """Whatever stands before the headers but for lines of other things, the type is a mail's."""
    label = identify(memoryview(variant(root, "plain", "plain", "base64", ends))).label
    assert label in ("eml", "mbox") or root == "line of HTML"


@pytest.mark.parametrize(
    "text",
    [
        b"title: Suspicious Run\nid: 5f0\nstatus: test\ndate: 2021/01/02\nlevel: high\ndetection:\n  CommandLine: 'x -enc'\n",
        b"Metadata-Version: 2.1\nName: thing\nVersion: 1.0\nAuthor-email: a@b.example\nDescription-Content-Type: text/markdown\n\nWords\n",
        b"Package: thing\nVersion: 1.0\nMaintainer: A <a@b.example>\nDate: Tue, 1 Jul 2025 10:00:00 +0200\nDescription: x\n",
        b"Manifest-Version: 1.0\nCreated-By: 17\nMain-Class: a.B\n",
        b"From: here\nwe go on: to there\n",
        b"key: value\nother: value\n\ntext\n",
        b'msgid ""\nmsgstr ""\n"MIME-Version: 1.0\\n"\n"Content-Type: text/plain; charset=UTF-8\\n"\n',
    ],
)  # fmt: skip
def test_other_texts_are_no_mails(text: bytes) -> None:
    """Rules, metadata and manifests have lines like headers, too."""
    assert identify(memoryview(text)).label != "eml"
