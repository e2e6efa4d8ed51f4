"""What the tree gives away: names, mails, shortcuts, locked archives; everyday trees that give nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plugins.decorators.context import Context, read_rules
from stoq_core.errors import ConfigError, Reason, Unread
from stoq_core.job import Finding, On
from stoq_core.payload import PayloadMeta, RequestMeta
from stoq_core.response import FoundIn, PayloadReport, ScanResponse
from stoq_core.testing import make

Node = tuple[str, str, list[Any]]
"""A payload: its name, its type's label, and what came out of it."""


def tree(root: Node, **more: Any) -> ScanResponse:
    """A response with these payloads; `more` are fields of the report by name of the payload."""
    reports: list[PayloadReport] = []

    def add(node: Node, parent: str | None) -> None:
        name, label, children = node
        report = PayloadReport(
            payload_id=f"p{len(reports)}", size=1, sha256="", extracted_from=parent,
            meta=PayloadMeta(extra_data={"filename": name}), workers=[{"mimetype": {"label": label}}],
        )  # fmt: skip
        for field, value in more.get(name.replace(".", "_"), {}).items():
            setattr(report, field, value)
        reports.append(report)
        for child in children:
            add(child, report.payload_id)

    add(root, None)
    return ScanResponse(scan_id="s", time="", request_meta=RequestMeta(), results=reports)


def found(response: ScanResponse, **options: Any) -> dict[str, set[str]]:
    """Names of findings by the name of the payload that they are on."""
    decorator = make(Context, **options)
    decorator.open()
    names = {report.payload_id: report.name for report in response.results}
    result: dict[str, set[str]] = {}
    for emit in decorator.decorate(response):
        assert isinstance(emit, On)
        result.setdefault(names[emit.payload_id], set()).add(emit.finding.name)
    return result


EXE = ("a.exe", "pe", [])
LOCKED = {"unread": [Unread(reason=Reason.ENCRYPTED_ARCHIVE)]}


@pytest.mark.parametrize(
    ("root", "payload", "finding"),
    [
        (("Invoice.pdf.exe", "pe", []), "Invoice.pdf.exe", "name_double_extension"),
        (("a.zip", "zip", [("b.pdf" + " " * 100 + ".exe", "pe", [])]), "b.pdf" + " " * 100 + ".exe", "name_double_extension"),
        (("a.tar", "tar", [("x\u202efdp.exe", "pe", [])]), "x\u202efdp.exe", "name_right_to_left"),
        (("report.pdf", "pe", []), "report.pdf", "program_named_as_document"),
        (("m.eml", "eml", [("a.zip", "zip", [EXE])]), "a.exe", "program_in_mail"),
        (("m.eml", "eml", [("a.js", "txt", [])]), "a.js", "script_in_mail"),
        (("m.msg", "msg", [("a.iso", "iso", [])]), "a.iso", "disk_image_in_mail"),
        (("a.zip", "zip", [("a.lnk", "lnk", []), ("a.dll", "pe", [])]), "a.lnk", "shortcut_beside_program"),
        (("a.iso", "iso", [("a.lnk", "lnk", [])]), "a.lnk", "shortcut_in_disk_image"),
        (("a.xll", "pe", []), "a.xll", "excel_addin"),
        (("a.zip", "zip", [("a.scr", "pe", [])]), "a.scr", "screensaver_or_control_panel"),
        (("a.zip", "zip", [("x.pdf /x.pdf .cmd", "txt", [])]), "x.pdf /x.pdf .cmd", "archive_opens_other_member"),
    ],
)  # fmt: skip
def test_found(root: Node, payload: str, finding: str) -> None:
    """Each rule on a tree that shows it."""
    assert finding in found(tree(root))[payload]


@pytest.mark.parametrize(
    "root",
    [
        ("setup.exe", "pe", []),
        ("a.zip", "zip", [EXE, ("readme.txt", "txt", []), ("page.html.js", "txt", []), ("v1.2.txt", "txt", [])]),
        ("m.eml", "eml", [("photo.jpg", "jpeg", []), ("report.docx", "docx", [("word/document.xml", "xml", [])])]),
        ("a.zip", "zip", [("a.lnk", "lnk", []), ("b.lnk", "lnk", [])]),
        ("a.iso", "iso", [EXE]),
        ("jquery.min.js", "txt", []),
    ],
)  # fmt: skip
def test_everyday_trees_give_nothing(root: Node) -> None:
    """Programs in archives, documents in mails, scripts with two dots."""
    assert found(tree(root)) == {}


def test_a_locked_archive_in_a_mail_with_a_program_inside() -> None:
    """Whether a password opened it or not: what is listed counts as what was taken out."""
    listed = [{"mimetype": {"label": "zip"}, "decompress": {"members": [{"name": "a.exe"}]}}]
    locked = tree(("m.eml", "eml", [("a.zip", "zip", [])]), a_zip={**LOCKED, "workers": listed})
    assert "program_behind_password_in_mail" in found(locked)["a.zip"]
    opened = [{"mimetype": {"label": "zip"}, "decompress": {"password": "x"}}]
    inside = tree(("m.eml", "eml", [("a.zip", "zip", [("b.js", "txt", [])])]), a_zip={"workers": opened})
    assert "program_behind_password_in_mail" in found(inside)["a.zip"]
    plain = tree(("m.eml", "eml", [("a.zip", "zip", [("b.txt", "txt", [])])]), a_zip={"workers": opened})
    assert found(plain) == {}


def test_what_is_found_already_is_not_found_twice() -> None:
    """A mail's own worker has looked at the names of its attachments."""
    known = FoundIn(plugin="smtp", payload_id="p0", finding=Finding("name_double_extension", 600))
    assert found(tree(("a.pdf.exe", "pe", []), a_pdf_exe={"findings": [known]})) == {}


def test_rules_of_ones_own(tmp_path: Path) -> None:
    """Beside the shipped ones, groups and all; a mistake names the file and what is wrong."""
    own = tmp_path / "own.toml"
    own.write_text('[groups]\nx = ["pe"]\n[mine]\nmeans = "m"\nscore = 5\ntype = ["@x"]\n')
    assert found(tree(EXE), rules=str(own)) == {"a.exe": {"mine"}}
    for text in (
        '[a]\nmeans = "m"\nscore = 5\ntype = ["@y"]',
        "[a]\nscore = 5",
        '[a]\nmeans = "m"\nscore = 5\nname = "("',
        "x",
    ):
        own.write_text(text)
        with pytest.raises(ConfigError, match=r"own\.toml"):
            read_rules(own)


def test_thousands_of_members_take_one_look_each() -> None:
    """Siblings are counted once, not gone through for each of them."""
    many = [(f"{number}.lnk", "lnk", []) for number in range(3_000)]
    assert found(tree(("a.zip", "zip", many))) == {}
