"""Parts of Office documents as XML: what they load from elsewhere, and what they run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from plugins._formats.office.links import LINK_FINDINGS, dde, field, is_remote
from plugins._formats.office.markup import Markup, remote_references
from stoq_core.job import Job
from stoq_core.limits import Limits, MiB
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_MOST_LISTED = 100
_DETAIL_CHARS = 300
_TEMPLATES = frozenset({"attachedTemplate"})
_OBJECTS = frozenset(
    [
        "oleObject",
        "frame",
        "subDocument",
        "attachedToolbar",
        "package",
        "afChunk",
        "control",
        "activeXControlBinary",
    ]
)
_DDE = re.compile(r"(?<![A-Za-z])D\s?D\s?E(\s?A\s?U\s?T\s?O)?(?![A-Za-z])", re.IGNORECASE)
_RUNS = re.compile(
    r"\b(EXEC|CALL|REGISTER(\.ID)?|FOPEN|FWRITE|RUN|FORMULA(\.FILL)?|URLDownloadToFile\w?"
    r"|WinExec|ShellExecute\w?)\s*\(",
    re.IGNORECASE,
)
_OPENS_BY_ITSELF = re.compile(r"(^|[._])Auto_?(Open|Close|Activate)", re.IGNORECASE)


class OoxmlResult(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What leads out of the document (`kind target`), its fields, its macros' formulas; 100 of each."""

    external: list[str] = []
    fields: list[str] = []
    formulas: list[str] = []


class Ooxml(Worker[Options]):
    """Relationships, fields joined over their runs, DDE links, macro sheets and ribbons of OOXML and ODF.

    A template or object on a disk or on a server of the own site (a name without dots) is nothing to tell.
    """

    limits = Limits(input_bytes=64 * MiB)
    essential = False
    result = OoxmlResult
    findings = {
        "ooxml_remote_template": (600, "the document loads its template from another host", ("T1221",)),
        "ooxml_external_object": (600, "the document loads an object from another host", ("T1221", "T1203")),
        "ooxml_ribbon_from_elsewhere": (600, "the ribbon is loaded with code of another host", ("T1221",)),
        **LINK_FINDINGS,
        "office_dde_field": (300, "a field asks by DDE for what it does not name", ("T1559.002",)),
        "xlm_macro_sheet": (300, "a sheet of Excel 4 macros", ("T1059", "T1204.002")),
        "xlm_macro_runs_program": (600, "an Excel 4 macro runs a program", ("T1059", "T1204.002")),
        "xlm_macro_opens_by_itself": (300, "Excel 4 macros run when the file is opened", ("T1204.002",)),
    }  # fmt: skip

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield findings, then one `OoxmlResult` where there is something to list."""
        markup = Markup()
        markup.read(payload.view())
        yield from self._references(markup)
        yield from self._fields(markup)
        yield from self._macros(markup)
        external = [f"{reference.kind} {reference.target}"[:_DETAIL_CHARS] for reference in markup.references]
        formulas = markup.formulas if markup.is_macro_sheet else []
        if external or markup.fields or formulas:
            yield OoxmlResult(
                external=external[:_MOST_LISTED],
                fields=[field.strip()[:_DETAIL_CHARS] for field in markup.fields[:_MOST_LISTED]],
                formulas=[formula[:_DETAIL_CHARS] for formula in formulas[:_MOST_LISTED]],
            )

    def _references(self, markup: Markup) -> Iterator[Any]:
        for reference in remote_references(markup, _TEMPLATES):
            yield self.finding("ooxml_remote_template", reference.target[:_DETAIL_CHARS])
        for reference in remote_references(markup, _OBJECTS):
            yield self.finding("ooxml_external_object", reference.target[:_DETAIL_CHARS])
        for code in markup.loads:
            if is_remote(code) or ("!" in code and is_remote(code.partition("!")[0])):
                yield self.finding("ooxml_ribbon_from_elsewhere", code[:_DETAIL_CHARS])

    def _fields(self, markup: Markup) -> Iterator[Any]:
        for service, topic in markup.dde:
            yield from (self.finding(*seen) for seen in dde(service, topic))
        for text in markup.fields:
            seen = list(field(text))
            yield from (self.finding(*found) for found in seen)
            if not seen and _DDE.search(text):
                yield self.finding("office_dde_field", text.strip()[:_DETAIL_CHARS])

    def _macros(self, markup: Markup) -> Iterator[Any]:
        for name in markup.names:
            if _OPENS_BY_ITSELF.search(name):
                yield self.finding("xlm_macro_opens_by_itself", name[:_DETAIL_CHARS])
        if not markup.is_macro_sheet:
            return
        yield self.finding("xlm_macro_sheet")
        runs = next((formula for formula in markup.formulas if _RUNS.search(formula)), None)
        if runs is not None:
            yield self.finding("xlm_macro_runs_program", runs[:_DETAIL_CHARS])
