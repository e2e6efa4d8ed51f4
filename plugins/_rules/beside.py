"""Several rulesets as one: rules of one's own beside the shipped ones, and what stands in both once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from plugins._rules.rulesets import (
    ROUTING,
    SUFFIX,
    Ruleset,
    Source,
    compile_sources,
    load_ruleset,
    read_sources,
    shipped_sources,
    sources_of_artefact,
)
from plugins._rules.split import Piece, split

_WORD = re.compile(r"\w+")
_OWN = "own"
_ROUTING = re.compile(rf"(?:{_OWN}\d*\.)?{ROUTING}")


def is_routing(namespace: str) -> bool:
    """True for the namespaces whose rules say which workers a payload needs, and nothing about it."""
    return _ROUTING.fullmatch(namespace) is not None


def load_beside(paths: tuple[str, ...], *, shipped: bool) -> Ruleset:
    """The shipped rules, unless they are not wanted, and those of each path, as one ruleset.

    A rule that stands in two of them, name and text, is taken once. A namespace that an earlier one
    has is another one, so that names do not meet and a `global` rule binds its own file's rules alone.
    Where one of them has all rules of the others it is taken as it is, compiled. Raises `RulesError`.
    """
    wanted = (*([""] if shipped or not paths else []), *dict.fromkeys(paths))
    if len(wanted) == 1:
        return load_ruleset(wanted[0])
    groups = [sources_at(path) for path in wanted]
    for at, group in enumerate(groups):
        if not any(_new(other, _rules_of(group)) for other in groups[:at] + groups[at + 1 :]):
            return load_ruleset(wanted[at])
    return compile_sources(together(groups))


def sources_at(path: str) -> list[Source]:
    """The sources behind a path as `load_ruleset` takes it."""
    if not path:
        return shipped_sources()
    file = Path(path).expanduser()
    return sources_of_artefact(file) if file.suffix == SUFFIX else read_sources([file])


def together(groups: list[list[Source]]) -> list[Source]:
    """All sources in order, those of one namespace side by side, without what an earlier group has."""
    made = list(groups[0])
    for number, group in enumerate(groups[1:], 1):
        taken = {namespace for namespace, _, _ in made}
        prefix = f"{_OWN}{number if number > 1 else ''}."
        for namespace, file, text in _new(group, _rules_of(made)):
            made.append((prefix + namespace if namespace in taken else namespace, file, text))
    return sorted(made, key=lambda source: source[0])


class _Part(NamedTuple):
    """A piece of a source and what tells that it is the same as another."""

    piece: Piece
    key: tuple[str, str]


def _parts(text: str) -> list[_Part]:
    return [_Part(piece, (piece.rule or "", _body(piece.text))) for piece in split(text).pieces]


def _body(text: str) -> str:
    """A rule without what stands between it and the next one."""
    return " ".join(text[: text.rfind("}") + 1].split())


def _rules_of(sources: list[Source]) -> set[tuple[str, str]]:
    return {part.key for _, _, text in sources for part in _parts(text) if part.piece.rule}


def _new(group: list[Source], known: set[tuple[str, str]]) -> list[Source]:
    """The group's sources without the known rules, but for those that another of its rules names."""
    parts = [_parts(text) for _, _, text in group]
    words: set[str] = set()
    waiting: list[_Part] = []
    for part in (part for source in parts for part in source if part.piece.rule):
        if part.key in known:
            waiting.append(part)
        else:
            words.update(_WORD.findall(part.piece.text))
    dropped = set(known)
    while needed := [part for part in waiting if part.piece.rule in words]:
        waiting = [part for part in waiting if part.piece.rule not in words]
        for part in needed:
            dropped.discard(part.key)
            words.update(_WORD.findall(part.piece.text))
    made = []
    for (namespace, file, text), source in zip(group, parts, strict=True):
        kept = [part for part in source if part.piece.rule and part.key not in dropped]
        if len(kept) == sum(1 for part in source if part.piece.rule):
            made.append((namespace, file, text))
        elif kept:
            made.append((namespace, file, "".join(_without(part, dropped) for part in source)))
    return [one for one in made if _rules_of([one]) or not known]


def _without(part: _Part, dropped: set[tuple[str, str]]) -> str:
    """The piece, or as many lines without anything."""
    if not part.piece.rule or part.key not in dropped:
        return part.piece.text
    return "\n" * part.piece.text.count("\n")
