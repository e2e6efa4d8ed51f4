"""What an analyst sees first: a tree of payloads with type, size, findings and verdict."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from stoq_core.errors import ErrorReport
from stoq_core.response import Occurrence, PayloadReport, ScanResponse
from stoq_core.visible import visible

_COLOURS = {"malicious": "bold red", "suspicious": "bold yellow", "incomplete": "magenta", "clean": "green"}
_SHOWN_CHILDREN = 40
_SHOWN_COPIES = 3
_SHOWN_ERRORS = 5
_FILE_COLUMNS = 200

console = Console(highlight=False, width=None if sys.stdout.isatty() else _FILE_COLUMNS)


def size_text(size: int) -> str:
    """1,234 B, 12.3 KiB, 4.5 MiB."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{int(amount)} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return ""


def safe(text: str) -> str:
    """Names come from hostile files: no control characters, no direction marks reach the terminal."""
    return visible(text)


def response_tree(response: ScanResponse, *, brief: bool = False) -> Any:
    """The whole response as something to print; brief ones are a line when there is nothing to say."""
    verdict = response.verdict
    word = verdict.verdict if verdict else "incomplete"
    if (brief and word == "clean") or not response.results:
        report = response.results[0] if response.results else None
        return _line(report, word) if report else Text(word)
    picture = _Picture(response)
    root = response.results[0]
    tree = Tree(_line(root, word), guide_style="dim")
    picture.grow(tree, root)
    for extra in picture.children.get(None, [])[1:]:
        picture.grow(tree.add(_line(extra, extra.verdict)), extra)
    reasons = [one for one in verdict.unread if one.payload_id is None] if verdict else []
    for one in reasons:
        tree.add(Text(f"! {one.reason.value}: {safe(one.message)}", "magenta"))
    return tree


class _Picture:
    """Draws the reports of one response below each other."""

    def __init__(self, response: ScanResponse) -> None:
        self.children: dict[str | None, list[PayloadReport]] = {}
        self._names: dict[str | None, str] = {}
        for report in response.results:
            self.children.setdefault(report.extracted_from, []).append(report)
            self._names[report.payload_id] = report.name
        self._errors: dict[str | None, list[ErrorReport]] = {}
        for error in response.errors:
            self._errors.setdefault(error.payload_id, []).append(error)

    def grow(self, branch: Tree, report: PayloadReport) -> None:
        """All about one payload: its copies, findings, what was not read, and what came out of it."""
        self._copies(branch, report.occurrences)
        for found in sorted(report.findings, key=lambda one: -one.finding.score):
            attack = f"  {safe(' '.join(found.finding.attack))}" if found.finding.attack else ""
            detail = f"  {safe(found.finding.detail)}" if found.finding.detail else ""
            branch.add(Text(f"* {safe(found.finding.name)} ({found.finding.score}){detail}{attack}", "red"))
            if len(found.path) > 1:
                where = " < ".join(safe(one) for one in found.path)
                branch.add(Text(f"  in {where}", "dim", overflow="fold"))
        for one in report.unread:
            where = f" [{safe(one.plugin)}]" if one.plugin else ""
            branch.add(Text(f"! {one.reason.value}{where}: {safe(one.message)}", "magenta"))
        told = {(unread.plugin, unread.message) for unread in report.unread}
        for error in self._errors.get(report.payload_id, [])[:_SHOWN_ERRORS]:
            if (error.plugin, error.message) not in told:
                branch.add(Text(f"~ {safe(error.plugin)}: {safe(error.code)}: {safe(error.message)}", "dim"))
        below = self.children.get(report.payload_id, [])
        for child in below[:_SHOWN_CHILDREN]:
            self.grow(branch.add(_line(child, child.verdict)), child)
        if len(below) > _SHOWN_CHILDREN:
            branch.add(Text(f"… and {len(below) - _SHOWN_CHILDREN} more; --json shows all", "dim"))

    def _copies(self, branch: Tree, copies: list[Occurrence]) -> None:
        """Where else the same bytes stand."""
        for one in copies[:_SHOWN_COPIES]:
            name = str(one.payload_meta.extra_data.get("filename") or "the same bytes")
            parent = self._names.get(one.extracted_from)
            where = f" in {safe(parent)}" if parent else ""
            branch.add(Text(f"= also {safe(name)}{where}", "dim", overflow="fold"))
        if len(copies) > _SHOWN_COPIES:
            branch.add(Text(f"= and {len(copies) - _SHOWN_COPIES} more copies; --json shows all", "dim"))


def _line(report: PayloadReport, verdict: str) -> Text:
    kind = (report.result_of("mimetype") or {}).get("mimetype", "")
    line = Text(f"{verdict:<11}", _COLOURS.get(verdict, ""))
    line.append(safe(report.name), "bold")
    line.append(f"  {safe(str(kind))}  {size_text(report.size)}", "dim")
    return line


def summary(verdicts: dict[str, int], failed: int, examined: str) -> None:
    """One line with the counts, if there are any, and one that says how much was examined."""
    parts = Text("\n" if verdicts or failed else "")
    for word, colour in _COLOURS.items():
        if verdicts.get(word):
            parts.append(f"{verdicts[word]} {word}  ", colour)
    if failed:
        parts.append(f"{failed} failed", "bold red")
    if verdicts or failed:
        parts.append("\n")
    console.print(parts.append(examined, "dim"))


class Progress:
    """A bar on standard error for several files, where that is a terminal."""

    def __init__(self, total: int) -> None:
        """`total` files."""
        self._bar: Any = None
        self._task: Any = None
        if total > 1 and sys.stderr.isatty():
            from rich.progress import Progress as Bar

            self._bar = Bar(console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("scanning", total=total)

    def __enter__(self) -> Self:
        """Show it."""
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take it away."""
        if self._bar:
            self._bar.stop()

    def step(self, name: str) -> None:
        """The next file begins."""
        if self._bar:
            self._bar.update(self._task, advance=1, description=safe(name)[-40:])

    def show(self, what: Any) -> None:
        """Print above the bar."""
        console.print(what)
