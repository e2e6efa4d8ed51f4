"""What the XML of Office documents refers to and runs, read by a real parser.

So quotes, entities, encodings and prefixes hide nothing. Layout: ECMA-376 parts 1 (17.16 fields, 18.14
external links) and 2 (9.3 relationships), MS-XLSX 2.2 (macro sheets), OpenDocument 1.3. Nothing is fetched;
expat bounds the expansion of entities, and external ones are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeVar
from xml.parsers import expat

from plugins._formats.office.links import is_remote

_Fact = TypeVar("_Fact")
_CHUNK_BYTES = 256 * 1024
_MOST_FIELD_CHARS = 64 * 1024
_MOST_FACTS = 1_000


class Reference(NamedTuple):
    """An external relationship: its kind (the last part of its type) and its target."""

    kind: str
    target: str


class Markup:
    """What one XML part says, as far as it is well-formed."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.references: list[Reference] = []
        self.fields: list[str] = []
        self.dde: list[tuple[str, str]] = []
        self.formulas: list[str] = []
        self.names: list[str] = []
        self.loads: list[str] = []
        self.is_macro_sheet = False
        self.hides_sheets = False
        self._text: list[str] | None = None
        self._field: list[str] = []
        self._field_chars = 0

    def read(self, view: memoryview) -> None:
        """Parse to the end, or to where it is no XML any more."""
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        try:
            for at in range(0, len(view), _CHUNK_BYTES):
                parser.Parse(bytes(view[at : at + _CHUNK_BYTES]), at + _CHUNK_BYTES >= len(view))
        except (expat.ExpatError, LookupError, ValueError):
            pass  # what was read so far counts; an Office program would refuse the part
        self._close_field()

    def _start(self, tag: str, given: dict[str, str]) -> None:
        name = tag.rpartition(":")[2]
        values = {key.rpartition(":")[2]: value for key, value in given.items()}
        if name == "Relationship":
            if values.get("TargetMode", "").lower() == "external":
                self._keep(
                    self.references,
                    Reference(values.get("Type", "").rpartition("/")[2], values.get("Target", "")),
                )
        elif name in ("instrText", "delInstrText", "f", "formula"):
            self._text = []
        elif name == "fldSimple":
            self._keep(self.fields, values.get("instr", ""))
        elif name == "p":
            self._close_field()
        else:
            self._rare(name, values)

    def _refer(self, kind: str, target: str) -> None:
        self._keep(self.references, Reference(kind.rpartition("/")[2], target))

    def _rare(self, name: str, values: dict[str, str]) -> None:
        if name == "ddeLink":
            self._keep(self.dde, (values.get("ddeService", ""), values.get("ddeTopic", "")))
        elif name == "dde-source":
            self._keep(self.dde, (values.get("dde-application", ""), values.get("dde-topic", "")))
        elif name == "attachedTemplate" and "val" in values:
            self._refer(name, values["val"])
        elif name == "definedName":
            self._keep(self.names, values.get("name", ""))
        elif name == "customUI":
            self._keep(self.loads, values.get("onLoad", ""))
        elif name == "macrosheet":
            self.is_macro_sheet = True
        elif name == "sheet" and values.get("state", "").lower() == "veryhidden":
            self.hides_sheets = True

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _end(self, tag: str) -> None:
        name = tag.rpartition(":")[2]
        if self._text is not None and name in ("instrText", "delInstrText", "f", "formula"):
            text, self._text = "".join(self._text), None
            if name in ("f", "formula"):
                self._keep(self.formulas, text[:_MOST_FIELD_CHARS])
            elif self._field_chars < _MOST_FIELD_CHARS:
                self._field.append(text)
                self._field_chars += len(text)

    def _close_field(self) -> None:
        """The pieces of a paragraph's fields, joined: runs cut a word anywhere."""
        if self._field:
            self._keep(self.fields, "".join(self._field))
        self._field, self._field_chars = [], 0

    @staticmethod
    def _keep(into: list[_Fact], fact: _Fact) -> None:
        if len(into) < _MOST_FACTS:
            into.append(fact)


def remote_references(markup: Markup, kinds: frozenset[str]) -> Iterator[Reference]:
    """Those of these kinds that lead out of the site."""
    for reference in markup.references:
        if reference.kind in kinds and is_remote(reference.target):
            yield reference
