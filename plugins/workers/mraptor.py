"""Find VBA macros in Office files and say what they do: run by themselves, write, download, execute."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from plugins._formats.office.compound import BadCompound, Compound
from plugins._formats.office.macro_words import Flags, Words
from plugins._formats.office.parts import Found, compounds
from plugins._formats.office.vba import Module, read
from plugins._formats.office.vba_strings import decoded
from plugins._text.iocs import Suffixes, find
from stoq_core.errors import LimitReached, Reason
from stoq_core.job import Job
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_LINE_CHARS = 1_100
"""VBA lines end at 1,023 characters; longer ones are broken, for patterns that look along a line."""
_LINES = re.compile(rf"[^\n]{{{_LINE_CHARS}}}(?=[^\n])")


class MraptorOptions(Options, frozen=True):
    """How much to read and to keep."""

    max_source_chars: Annotated[int, about("characters of source that are analysed", ge=1)] = 2_000_000
    max_iocs: Annotated[int, about("indicators kept", ge=0)] = 200
    decode_strings: Annotated[bool, about("undo Chr, StrReverse, hexadecimal and base64 strings")] = True


class MacroModule(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One module: file name, path of its stream, characters, its own flags; `lost` where nothing names it."""

    filename: str
    path: str
    size: int
    flags: str
    lost: bool = False


class MacroKeyword(msgspec.Struct, kw_only=True):
    """A word that matters: `type` is `autoexec` or `suspicious`."""

    type: str
    keyword: str
    description: str


class MacroString(msgspec.Struct, kw_only=True):
    """A hidden string: `how` it was hidden, as it is written, as it is meant."""

    how: str
    written: str
    meant: str


class MacroIoc(msgspec.Struct, kw_only=True):
    """An indicator in the source or in a decoded string."""

    type: str
    value: str


class MraptorResult(msgspec.Struct, omit_defaults=True, kw_only=True):
    """`suspicious` and `flags` of all macros: A runs by itself, W writes, X executes, `-` for not."""

    suspicious: bool
    flags: str
    matches: list[str] = []
    macros: list[MacroModule] = []
    keywords: list[MacroKeyword] = []
    iocs: list[MacroIoc] = []
    strings: list[MacroString] = []


class Mraptor(Worker[MraptorOptions]):
    """VBA in compound files (also inside OOXML, MHTML, Word 2003 XML, ActiveMime and PowerPoint streams).

    Plain text is never taken for VBA. Each module's source is a child. Streams with source that the
    project does not list are read, too. The keyword tables are oletools'.
    """

    roles = ("opens",)
    libraries = {
        "oletools": "oletools (in requirements.txt)",
        "publicsuffixlist": "publicsuffixlist (in requirements.txt)",
    }
    errors = {
        "corrupt": "a project or module that is damaged; what could be read is judged",
        "truncated": "the file ends too early",
        "too_many_bytes": "more or larger parts than are read",
        "option_limit": "more source than `max_source_chars`",
    }
    findings = {
        "macro_downloads_and_runs": (
            1000, "a macro that runs by itself downloads something and starts a program",
            ("T1204.002", "T1059.005", "T1105"),
        ),
        "macro_injects_code": (
            1000, "a macro that runs by itself puts code into memory and starts it", ("T1059.005", "T1055")
        ),
        "macro_runs_program": (
            600, "a macro that runs by itself starts a program", ("T1204.002", "T1059.005")
        ),
        "macro_drops_file": (
            600, "a macro that runs by itself downloads or writes a binary file", ("T1059.005", "T1105")
        ),
        "vba_stomped": (
            600, "a macro's source was taken away, its compiled code still runs", ("T1564.007", "T1059.005")
        ),
        "macro_runs_by_itself": (
            100, "a macro that runs by itself writes files or calls other code", ("T1059.005",)
        ),
    }  # fmt: skip
    result = MraptorResult

    def warm(self) -> None:
        """Import the keyword tables and read the suffix list."""
        Words.load()
        Suffixes.load()

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield a child a module, a finding, and one `MraptorResult`; nothing where there are no macros."""
        modules: list[Module] = []
        stomped: list[str] = []
        for part in compounds(payload.view(), job.total_left):
            modules += self._read(part, job, stomped)
        if stomped:
            yield self.finding("vba_stomped", ", ".join(stomped)[:300])
        if not modules:
            return
        full: LimitReached | None = None
        for number, module in enumerate(modules):
            name = f"{module.name or f'module{number}'}.{module.extension}"
            try:
                yield job.child([module.source.encode("utf-8", "replace")], name=name, path=module.path)
            except LimitReached as error:
                full = error
                break
        yield from self._judge(modules, job)
        if full is not None:
            raise full

    def _read(self, part: Found, job: Job, stomped: list[str]) -> list[Module]:
        if part.problem is not None:
            job.error(part.problem.value, part.name)
            job.unread(part.problem, part.name)
            return []
        try:
            compound = Compound(memoryview(part.content))
            project = read(compound)
        except BadCompound as error:
            if part.name:  # a whole file that is damaged is what the worker `ole` reports
                job.error(error.code, f"{part.name}: {error.message}")
                job.unread(error.reason or Reason.CORRUPT, f"{part.name}: {error.message}")
            return []
        if project.problems:
            message = "; ".join(project.problems[:5])
            job.error("corrupt", message)
            job.unread(Reason.CORRUPT, message)
        stomped += project.stomped
        return project.modules

    def _judge(self, modules: list[Module], job: Job) -> Iterator[Any]:
        left = self.options.max_source_chars
        listed, together = [], []
        for module in modules:
            source = _prepared(module.source[:left])
            if len(module.source) > left:
                job.error(
                    "option_limit",
                    "more macro source than is analysed",
                    allowed=self.options.max_source_chars,
                )
                job.unread(Reason.OPTION_LIMIT, "more macro source than max_source_chars is not analysed")
            left -= min(left, len(module.source))
            together.append(source)
            flags = Words.flags(source)
            name = f"{module.name}.{module.extension}"
            listed.append(MacroModule(
                filename=name, path=module.path, size=len(module.source), flags=flags.text, lost=module.lost
            ))  # fmt: skip
        source = "\n".join(together)
        strings = decoded(source) if self.options.decode_strings else []
        meant = "\n".join(one[2] for one in strings)
        flags = Words.flags(source + "\n" + _prepared(meant))
        verdict = _verdict(flags)
        if verdict is not None:
            yield self.finding(verdict, ", ".join(flags.matches)[:500])
        yield MraptorResult(
            suspicious=flags.suspicious,
            flags=flags.text,
            matches=flags.matches,
            macros=listed,
            keywords=[
                MacroKeyword(type=a, keyword=b, description=c) for a, b, c in Words.keywords(source, meant)
            ],
            iocs=self._iocs(source + "\n" + meant),
            strings=[MacroString(how=a, written=b, meant=c) for a, b, c in strings],
        )

    def _iocs(self, text: str) -> list[MacroIoc]:
        found: dict[tuple[str, str], None] = {}
        for one in find(text.encode("utf-8", "replace")):
            if len(found) >= self.options.max_iocs:
                break
            found.setdefault((one.kind, one.value))
        return [MacroIoc(type=kind, value=value) for kind, value in found]


def _prepared(source: str) -> str:
    """Continued lines joined, endless ones broken."""
    joined = source.replace("\r\n", "\n").replace("\r", "\n").replace(" _\n", " ")
    return _LINES.sub(lambda found: found.group() + "\n", joined)


def _verdict(flags: Flags) -> str | None:
    """The strongest finding alone: they say the same thing, more or less sharply."""
    if not flags.autoexec:
        return None
    if flags.download and flags.program:
        return "macro_downloads_and_runs"
    if flags.inject:
        return "macro_injects_code"
    if flags.program:
        return "macro_runs_program"
    if flags.download or flags.drop:
        return "macro_drops_file"
    return "macro_runs_by_itself" if flags.suspicious else None
