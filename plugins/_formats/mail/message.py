"""Take a message apart (RFC 5322, MIME) by every reading that some mail program follows; linear and bounded.

Offsets are kept, so that each byte of a mail can be accounted for. A part may be found by a boundary that a
header declares, exactly or with junk behind it; by its own headers, where no boundary leads to it; or in a
text. Each reading is followed once: the same bytes in the same encoding make one part.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

from plugins._formats.mail.fields import (
    Block,
    Field,
    boundaries,
    declared,
    kinds,
    parameters,
    read_block,
    role_of,
    words,
)
from plugins._formats.mail.text import clean_name, header_text, to_text
from plugins._formats.mail.transfer import encoding_of

_MAX_MARKS, _MAX_ENTITIES, _MAX_DEPTH = 200_000, 50_000, 60
_MAX_READINGS = 6
_MAX_FIELDS = 20_000
_T = TypeVar("_T")
_MARK = re.compile(rb"--[^\r\n]*")
_BREAK = re.compile(rb"\r{0,3}\n|\r")
_EMPTY_LINE = re.compile(rb"(?:\r{0,3}\n|\r)[ \t]*[\r\n]|\A[ \t]*[\r\n]")
_CONTENT = b"content-"
_HEADER_BYTES = 8 * 1024
"""How far before a `Content-…` line its block of headers may begin."""
_ENTITY_HEADER = re.compile(rb"content-(?:ty|transf|dispo)[a-z-]{0,40}[\"']?[ \t]{0,99}[(:]")
_LINE_START = re.compile(rb"(?:[\r\n]|\A)[ \t\"'>]{0,8}\Z")


class _Mark(NamedTuple):
    """A line that begins with two hyphens: where the break before it, it and the next line begin."""

    before: int
    start: int
    text: bytes
    behind: int


class Outside(NamedTuple):
    """What stands before the first part of a multipart, or behind its last one."""

    name: str
    place: str
    start: int
    end: int
    depth: int


class Entity:
    """A message or part: its headers in all readings, and where its body stands."""

    __slots__ = ("block", "body", "default", "depth", "end", "fields", "hidden", "place", "start")

    def __init__(
        self,
        place: str,
        block: Block,
        end: int,
        *,
        depth: int = 0,
        default: str = "text/plain",
        hidden: bool = False,
    ) -> None:
        """Offsets are those of the whole message."""
        self.place, self.block, self.end, self.depth = place, block, end, depth
        self.fields = block.fields
        self.start, self.body = block.start, min(block.body, end)
        self.default, self.hidden = default, hidden

    def values(self, role: str) -> list[bytes]:
        """The values of all headers of this role, in order."""
        return [one.value for one in self.fields if role_of(one.key) == role]

    @property
    def kinds(self) -> list[str]:
        """Every type that it may be, the first one first."""
        return _unique(kind for value in self.values("type")[:20] for kind in kinds(value)) or [self.default]

    @property
    def kind(self) -> str:
        """The type that most programs take: the first that looks like one."""
        return next(
            (one for one in self.kinds if re.fullmatch(r"[a-z0-9.+_-]+/[a-z0-9.+_-]+", one)), self.default
        )

    @property
    def is_text(self) -> bool:
        """True unless its bytes are declared to be a file of some kind."""
        return self.kind.startswith(("text/", "multipart/"))

    @property
    def encodings(self) -> list[str]:
        """Every transfer encoding that it may have; one that is not known only if no other is."""
        said = _unique(encoding_of(word) for value in self.values("encoding")[:20] for word in words(value))
        certain = [one for one in said if one != "unknown"]
        return certain if certain and not (certain == ["identity"] and said != certain) else said

    @property
    def boundaries(self) -> list[bytes]:
        """Every boundary that its headers may declare; some programs take it from any of them."""
        said = [one.value for one in self.fields if "ontent" in one.key and b"oundary" in one.value.lower()]
        return _unique(one for value in said[:20] for one in boundaries(value))

    @property
    def names(self) -> list[str]:
        """Its file names by RFC 2183, 2231 and 2047, in the order in which programs prefer them."""
        found: dict[str, None] = {}
        for name in ("filename", "name"):
            for role in ("disposition", "type"):
                for value in self.values(role)[:20]:
                    for _, made, charset in (one for one in parameters(value) if one[0] == name):
                        text = to_text(made, charset) if charset else header_text(made)
                        found.setdefault(clean_name(text))
        return [one for one in found if one][:8]

    def parameter(self, name: str, role: str = "type") -> str:
        """A parameter's first value as text, or an empty string."""
        for value in self.values(role)[:20]:
            for one, made, _ in parameters(value):
                if one == name and made:
                    return to_text(made)
        return ""

    @property
    def disposition(self) -> str:
        """`attachment`, `inline` or what else stands there."""
        return next((one for value in self.values("disposition") for one in kinds(value)), "")

    def text(self, key: str) -> str:
        """A header's first value, decoded."""
        return next((header_text(one.value) for one in self.fields if one.key == key), "")


def _unique(items: Iterable[_T]) -> list[_T]:
    return list(dict.fromkeys(items))


class Reader:
    """One message: `structure` has ranges of headers and boundaries, `fields` all headers so far.

    `cut` says why not all was read.
    """

    def __init__(self, data: bytes, start: int = 0, end: int | None = None) -> None:
        """Look for the lines that may be boundaries."""
        self.data = data
        self.start, self.end = start, len(data) if end is None else end
        self.structure: list[tuple[int, int]] = []
        self.fields: list[Field] = []
        self.too_deep = self.encrypted = False
        self.cut = ""
        self._marks: list[_Mark] = []
        self._find_marks()
        self._starts = [one.start for one in self._marks]
        self._declared = declared(data)
        self._seen: set[int] = set()
        self._ranges: set[tuple[int, int]] = set()
        self._count = 0

    def _find_marks(self) -> None:
        for found in _MARK.finditer(self.data, self.start, self.end):
            at = found.start()
            if at > self.start and self.data[at - 1] not in b"\r\n":
                continue
            if len(self._marks) >= _MAX_MARKS:
                self.cut = f"more than {_MAX_MARKS} lines that may be boundaries"
                return
            before = at
            if before > self.start and self.data[before - 1] == 0x0A:
                before -= 1
            while before > self.start and self.data[before - 1] == 0x0D and at - before < 4:
                before -= 1
            behind = _BREAK.match(self.data, found.end(), self.end)
            self._marks.append(
                _Mark(before, at, found.group()[2:].rstrip(b" \t\0"), behind.end() if behind else found.end())
            )

    def root(self) -> Entity:
        """The message itself."""
        block = read_block(self.data, self.start, self.end)
        if block.cut:
            self.cut = "more headers than are read"
        return Entity("1", block, self.end)

    def within(self) -> Iterator[Entity | Outside]:
        """Parts that stand somewhere in bytes that are no mail."""
        whole = Entity("1", Block([], self.start, self.start, []), self.end)
        yield from self._walk(self._hidden(whole)[::-1])

    def walk(self, root: Entity) -> Iterator[Entity | Outside]:
        """Each part that holds bytes, in order, by the first reading and then by the others."""
        yield from self._walk([root])

    def _walk(self, stack: list[Entity | Outside]) -> Iterator[Entity | Outside]:
        while stack:
            entity = stack.pop()
            if isinstance(entity, Outside):
                yield entity
                block = Block([], entity.start, entity.start, [])
                around = Entity(f"{entity.place}.{entity.name}"[-200:], block, entity.end, depth=entity.depth)
                stack += self._hidden(around)[::-1]
                continue
            if (entity.start, entity.end) in self._ranges or (entity.hidden and entity.start in self._seen):
                continue
            if self._count >= _MAX_ENTITIES:
                self.cut = self.cut or f"more than {_MAX_ENTITIES} parts"
                return
            self._count += 1
            self._seen.add(entity.start)
            self._ranges.add((entity.start, entity.end))
            self._claim_block(entity)
            if len(self.fields) < _MAX_FIELDS:
                self.fields += entity.fields
            self.encrypted = self.encrypted or "multipart/encrypted" in entity.kinds
            early = self._early(entity)
            if early:
                stack.append(early)
            inner = self._inner(entity)
            if inner is None or any(not kind.startswith("multipart") for kind in entity.kinds):
                yield entity
            stack += (self._hidden(entity) if inner is None else inner)[::-1]

    def _claim_block(self, entity: Entity) -> None:
        at = entity.start
        for start, end in (*entity.block.junk, (entity.body, entity.body)):
            self.structure.append((at, start))
            at = end

    def _early(self, entity: Entity) -> Entity | None:
        """The same part as programs read it whose headers end at the first line that is none."""
        block = entity.block
        if block.early is None:
            return None
        made = Block(block.fields[: block.early_fields], block.early, block.early, [])
        return Entity(f"{entity.place}.early"[-200:], made, entity.end, depth=entity.depth + 1, hidden=True)

    def _inner(self, entity: Entity) -> list[Entity | Outside] | None:
        """The parts of a multipart by all its readings, or None for a part that holds bytes."""
        names = entity.boundaries
        if not names or entity.body >= entity.end:
            return None
        if entity.depth >= _MAX_DEPTH:
            self.too_deep = True
            return None
        first, *others = self._splits(entity, names) or [[]]
        if not first:
            return None
        found = list(self._parts(entity, first, names))
        for reading in others:
            found += [
                one for one in self._parts(entity, reading, names, again=True) if isinstance(one, Entity)
            ]
        return found

    def _splits(self, entity: Entity, names: list[bytes]) -> list[list[_Mark]]:
        """Which lines are boundaries: to the most lenient program first, then to each stricter one."""
        exact: dict[bytes, list[_Mark]] = {name: [] for name in names}
        loose: list[_Mark] = []
        whole: list[_Mark] = []
        ends = {name + b"--": name for name in names}
        begin = tuple(names)
        for mark in self._between(entity.body, entity.end):
            name = mark.text if mark.text in exact else ends.get(mark.text)
            if name is not None:
                exact[name].append(mark)
            elif mark.text.startswith(begin) and mark.text.removesuffix(b"--") not in self._declared:
                loose.append(mark)
            else:
                continue
            whole.append(mark)
        found: list[list[_Mark]] = []
        for reading in (whole, *exact.values(), sorted(mark for marks in exact.values() for mark in marks)):
            if reading and reading not in found:
                found.append(reading)
        return found[:_MAX_READINGS]

    def _between(self, start: int, end: int) -> list[_Mark]:
        low, high = bisect.bisect_left(self._starts, start), bisect.bisect_left(self._starts, end)
        return self._marks[low:high]

    def _parts(
        self, entity: Entity, marks: list[_Mark], names: list[bytes], *, again: bool = False
    ) -> Iterator[Entity | Outside]:
        digest = any(kind.startswith("multipart/digest") for kind in entity.kinds)
        default = "message/rfc822" if digest else "text/plain"
        if entity.body < marks[0].before:
            yield Outside("preamble", entity.place, entity.body, marks[0].before, entity.depth + 1)
        closes = {name + b"--" for name in names}
        stops = [one.before for one in marks[1:]] + [entity.end]
        for number, (mark, stop) in enumerate(zip(marks, stops, strict=True), 1):
            self.structure.append((mark.before, mark.behind))
            if mark.behind >= stop:
                continue
            block = read_block(self.data, mark.behind, stop)
            if mark.text in closes and not any(role_of(one.key) for one in block.fields):
                yield Outside("epilogue", entity.place, mark.behind, stop, entity.depth + 1)
                continue
            place = f"{entity.place}.{number}{'~' if again else ''}"[-200:]
            yield Entity(place, block, stop, depth=entity.depth + 1, default=default)

    def _hidden(self, entity: Entity) -> list[Entity | Outside]:
        """Parts that no boundary leads to: blocks with a `Content-…` header within a body."""
        if any(kind in ("message/rfc822", "message/global") for kind in entity.kinds):
            return []  # these bytes are a mail of their own, which is read as one
        if entity.depth >= _MAX_DEPTH:
            return []
        starts = self._headers_within(entity)
        order = sorted(starts)
        found: list[Entity] = []
        bodies: list[tuple[int, bytes | None]] = []
        for start in order:
            if bodies and start < bodies[-1][0]:
                continue  # a header of the block before
            block = read_block(self.data, start, entity.end)
            bodies.append((max(block.body, start + 1), starts[start]))
            found.append(Entity(f"{entity.place}.+{len(bodies)}"[-200:], block, entity.end, hidden=True))
        self._end_hidden(entity, found, bodies)
        return [*found]

    def _headers_within(self, entity: Entity) -> dict[int, bytes | None]:
        """Where blocks of headers begin within a body, and the boundary before each if there is one."""
        found: dict[int, bytes | None] = {}
        for mark in self._between(entity.body, entity.end):
            block = read_block(self.data, mark.behind, min(entity.end, mark.behind + _HEADER_BYTES))
            if any(role_of(one.key) for one in block.fields):
                found[mark.behind] = mark.text.removesuffix(b"--")
        text = self.data[entity.body : entity.end].lower()
        at = text.find(_CONTENT)
        while at >= 0 and len(found) < _MAX_ENTITIES:
            begin = self._begins(text, at, entity)
            if begin is not None:
                found.setdefault(*begin)
            at = text.find(_CONTENT, at + 1)
        return found

    def _begins(self, text: bytes, at: int, entity: Entity) -> tuple[int, bytes | None] | None:
        """Where the headers begin that such a line belongs to, and the boundary before them."""
        if not _ENTITY_HEADER.match(text, at) or not _LINE_START.search(text[max(0, at - 9) : at]):
            return None
        place = entity.body + at
        last = bisect.bisect_left(self._starts, place) - 1
        if last >= 0 and self._marks[last].start >= entity.body:
            mark = self._marks[last]
            between = self.data[mark.behind : place]
            if place - mark.behind < _HEADER_BYTES and not _EMPTY_LINE.search(between):
                return mark.behind, mark.text.removesuffix(b"--")
        return place, None

    def _end_hidden(
        self, entity: Entity, found: list[Entity], bodies: list[tuple[int, bytes | None]]
    ) -> None:
        """Each ends at the next line with its boundary, or where the next one begins."""
        for number, (one, (body, text)) in enumerate(zip(found, bodies, strict=True)):
            stop = found[number + 1].start if number + 1 < len(found) else entity.end
            for mark in self._between(body, stop):
                if mark.start >= body and (text is None or mark.text in (text, text + b"--")):
                    if text is None and mark.text in (b"", b"-"):
                        continue
                    stop = mark.before
                    break
            one.end = max(stop, min(one.body, entity.end))
            one.depth = entity.depth + 1
            one.body = min(one.body, one.end)
