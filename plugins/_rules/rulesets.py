"""Rulesets: read rule sources, compile what compiles, name what does not, keep it as one artefact.

A ruleset is trusted as the code is: its compiled form holds machine code, so it is taken only from
where none but the deployment can write. Its checksums tell damage, not forgery.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from plugins._rules.split import Split, decode, split
from stoq_core.errors import RulesError

SUFFIX = ".stoqrules"
ROUTING = "routing"
SHIPPED = Path(__file__).resolve().parent.parent.parent / "rules"
_DETECT = "detect"
_FORMAT = 2
_ENDINGS = (".yar", ".yara")
_LOG = logging.getLogger("stoq.rules")
_MEND = "mend or remove this rule"
_ADVICE = {
    "SyntaxError": "mend what stands there; YARA's manual shows how a rule is written",
    "UnknownPattern": "declare the pattern under `strings:` or take it out of the condition",
    "UnknownIdentifier": "import its module, or define the rule that it names above it in the same file",
    "UnknownModule": "take the import out; yara-x has no such module",
    "IncludeNotAllowed": "name the included file itself, or its folder, beside this one",
    "DuplicateRule": "rename one of the two",
    "InvalidRegexp": "mend the expression; YARA knows no back references and no look-around",
    "UnusedPattern": "use the pattern in the condition, take it out, or begin its name with `_`",
}

Source = tuple[str, str, str]
"""Namespace, file (relative, for messages) and text."""


class BadRule(NamedTuple):
    """A rule that was left out: where it stands, its name (or None), why, and what to do."""

    file: str
    line: int
    rule: str | None
    why: str
    advice: str

    @property
    def line_of_text(self) -> str:
        """All of that in a line."""
        rule = f"rule {self.rule!r} left out" if self.rule else "left out"
        return f"{self.file}:{self.line}: {rule}: {self.why}; {self.advice}"


class Ruleset(NamedTuple):
    """Compiled rules, the digest of their sources, and the rules that did not compile.

    `bad` is empty for an artefact that was loaded: its build named them.
    """

    rules: Any
    digest: str
    bad: list[BadRule]


class _Artefact(msgspec.Struct, frozen=True):
    """What an artefact holds: sources, and for each yara-x version a compiled form and its sha256."""

    format: int
    digest: str
    sources: list[Source]
    compiled: dict[str, tuple[str, bytes]]


def read_sources(paths: Iterable[Path]) -> list[Source]:
    """The sources below the paths, in a stable order, those of one namespace side by side.

    The namespace is `routing` for files called routing.yar, else `detect` for shipped rules and the
    file's name without its ending for others. Raises `RulesError` for what cannot be read.
    """
    paths = list(paths)
    found: list[Source] = []
    for path in paths:
        if not path.exists():
            msg = f"{path}: no such file or folder of rules"
            raise RulesError(msg)
        files = (
            sorted(p for p in path.rglob("*") if p.suffix.lower() in _ENDINGS) if path.is_dir() else [path]
        )
        for file in files:
            try:
                text = decode(file.read_bytes())
            except OSError as error:
                msg = f"{file}: cannot be read: {error.strerror}"
                raise RulesError(msg) from None
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            found.append((_namespace(file, name), name, text))
    if not found:
        msg = f"no rules: there is no file ending in .yar or .yara in {', '.join(str(p) for p in paths)}"
        raise RulesError(msg)
    return sorted(found, key=lambda source: source[0])


def _namespace(file: Path, name: str) -> str:
    if file.stem == ROUTING:
        return ROUTING
    if SHIPPED in file.resolve().parents:
        return _DETECT
    return name.rpartition(".")[0] or name


def digest_of(sources: list[Source]) -> str:
    """The name of a ruleset: sha256 over its sources, 16 hex digits."""
    return hashlib.sha256(msgspec.msgpack.encode((_FORMAT, sources))).hexdigest()[:16]


def compile_sources(sources: list[Source]) -> Ruleset:
    """Compile; a bad rule is left out and named, all others stay.

    `global` and `private` rules and names hold within a namespace. The compiler goes on behind a bad
    rule, but an unclosed one hides the next from it: files with syntax errors are given to it a second
    time, rule by rule.
    """
    whole = _Compilation()
    for source in sources:
        whole.add(source)
    broken = whole.files_with_syntax_errors()
    if not broken:
        return whole.finish(sources)
    apart = _Compilation()
    for at, source in enumerate(sources):
        if at in broken:
            apart.add_apart(source)
        else:
            apart.add(source)
    return apart.finish(sources)


def check_rules(paths: Iterable[Path]) -> list[BadRule]:
    """The rules below `paths` that do not compile."""
    return compile_sources(read_sources(paths)).bad


class _Given(NamedTuple):
    """One text that the compiler was given, and where it stands in its file."""

    source: int
    line: int
    rule: str | None


class _Compilation:
    """One compiler and what it was given; the n-th text has the origin `n`."""

    def __init__(self) -> None:
        import yara_x

        self._failure = yara_x.CompileError
        self._compiler = yara_x.Compiler()
        self._compiler.enable_includes(False)  # noqa: FBT003 - the library has no keyword
        self._given: list[_Given] = []
        self._sources = 0

    def add(self, source: Source) -> None:
        """A file as it stands."""
        self._compiler.new_namespace(source[0])
        self._add(source[2], 1, None)
        self._sources += 1

    def add_apart(self, source: Source) -> None:
        """A file with syntax errors: imports first, then each piece by itself."""
        self._compiler.new_namespace(source[0])
        parts = split(source[2])
        for statement in parts.imports:
            self._add(statement, _line_of(source[2], statement), None)
        for piece in parts.pieces:
            self._add(piece.text, piece.line, piece.rule)
        self._sources += 1

    def _add(self, text: str, line: int, rule: str | None) -> None:
        origin = str(len(self._given))
        self._given.append(_Given(self._sources, line, rule))
        try:
            self._compiler.add_source(text, origin=origin)
        except self._failure:
            return  # `finish` collects all errors; the good rules of the text are in

    def _errors(self) -> Iterator[tuple[_Given, dict[str, Any]]]:
        for error in self._compiler.errors():
            origin = (error.get("labels") or [{}])[0].get("code_origin")
            yield self._given[int(origin)] if origin else _Given(0, 1, None), error

    def files_with_syntax_errors(self) -> set[int]:
        """Positions of the sources in which rules may have been overlooked."""
        return {given.source for given, error in self._errors() if error.get("type") == "SyntaxError"}

    def finish(self, sources: list[Source]) -> Ruleset:
        """The rules, and each bad one once."""
        bad: dict[tuple[str, int, str], BadRule] = {}
        splits: dict[int, Split] = {}
        for given, error in self._errors():
            line = given.line + int(error.get("line") or 1) - 1
            label = (error.get("labels") or [{}])[0].get("text")
            why = str(error["title"]) + (f" ({label})" if label else "")
            rule = given.rule
            if rule is None:
                if given.source not in splits:
                    splits[given.source] = split(sources[given.source][2])
                rule = _rule_at(splits[given.source], line)
            file = sources[given.source][1]
            advice = _ADVICE.get(str(error.get("type")), _MEND)
            bad.setdefault((file, line, why), BadRule(file, line, rule, why, advice))
        return Ruleset(self._compiler.build(), digest_of(sources), sorted(bad.values(), key=lambda b: b[:2]))


def _line_of(text: str, statement: str) -> int:
    return text.count("\n", 0, text.find(statement)) + 1


def _rule_at(parts: Split, line: int) -> str | None:
    name = None
    for piece in parts.pieces:
        if piece.line > line:
            break
        name = piece.rule
    return name


def build_ruleset(paths: list[Path], out: Path) -> tuple[Path, Ruleset]:
    """Compile all rules below `paths` into `out/DIGEST.stoqrules`.

    Compiled forms for other yara-x versions stay, if the artefact was there already.
    """
    sources = read_sources(paths)
    made = compile_sources(sources)
    binary = io.BytesIO()
    made.rules.serialize_into(binary)
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"{made.digest}{SUFFIX}"
    compiled = {_version(): (_checksum(binary.getvalue()), binary.getvalue())}
    try:
        compiled = {**_read_artefact(target).compiled, **compiled}
    except RulesError:
        _LOG.debug("%s is made anew", target)
    artefact = _Artefact(_FORMAT, made.digest, sources, compiled)
    partial = target.with_name(f".{made.digest}.{os.getpid()}.partial")
    partial.write_bytes(msgspec.msgpack.encode(artefact))
    partial.replace(target)
    return target, made


def load_ruleset(path: str) -> Ruleset:
    """A ruleset from an artefact, a folder or a file of sources; `""` is the shipped one.

    The shipped one is taken from `rules/build` if that was built from these very sources. Bad rules
    are named in it and left out. Raises `RulesError` for what cannot be read.
    """
    if path:
        file = Path(path).expanduser()
        return _load_artefact(file) if file.suffix == SUFFIX else compile_sources(read_sources([file]))
    built = sorted((SHIPPED / "build").glob(f"*{SUFFIX}"))
    if built and not [*SHIPPED.glob("*.yar")]:
        return _load_artefact(built[0])  # a bundle carries the artefact alone
    sources = read_sources([SHIPPED])
    ready = SHIPPED / "build" / f"{digest_of(sources)}{SUFFIX}"
    return _load_artefact(ready) if ready in built else compile_sources(sources)


def shipped_sources() -> list[Source]:
    """The sources of the shipped rules; a bundle has them within its artefact alone."""
    built = sorted((SHIPPED / "build").glob(f"*{SUFFIX}"))
    if built and not [*SHIPPED.glob("*.yar")]:
        return sources_of_artefact(built[0])
    return read_sources([SHIPPED])


def sources_of_artefact(file: Path) -> list[Source]:
    """The sources that an artefact was built from. Raises `RulesError`."""
    return [(namespace, name, text) for namespace, name, text in _read_artefact(file).sources]


def _load_artefact(file: Path) -> Ruleset:
    import yara_x

    artefact = _read_artefact(file)
    checksum, binary = artefact.compiled.get(_version(), ("", b""))
    if not checksum:
        _LOG.warning(
            "%s has no compiled form for yara-x %s and is compiled at each start; build it again with"
            " `stoq rules build`", file, _version(),
        )  # fmt: skip
        return compile_sources(artefact.sources)
    try:
        if _checksum(binary) != checksum:
            raise OSError("checksum")
        return Ruleset(yara_x.Rules.deserialize_from(io.BytesIO(binary)), artefact.digest, [])
    except OSError:
        raise _damaged(file) from None


def _read_artefact(file: Path) -> _Artefact:
    try:
        artefact = msgspec.msgpack.decode(file.read_bytes(), type=_Artefact)
    except OSError as error:
        msg = f"{file}: cannot be read: {error.strerror}"
        raise RulesError(msg) from None
    except msgspec.DecodeError as error:
        msg = f"{file}: is no ruleset that `stoq rules build` made: {error}"
        raise RulesError(msg) from None
    if artefact.format != _FORMAT or digest_of(artefact.sources) != artefact.digest:
        raise _damaged(file)
    return artefact


def _damaged(file: Path) -> RulesError:
    return RulesError(f"{file}: is damaged or of another format; build it again with `stoq rules build`")


def _checksum(binary: bytes) -> str:
    return hashlib.sha256(binary).hexdigest()


def _version() -> str:
    """yara-x's version, from the name of its metadata folder: importlib.metadata takes 40 ms to import."""
    import yara_x

    site = Path(str(yara_x.__file__)).parent.parent
    names = [one.name for one in site.glob("yara_x-*.dist-info")]
    if len(names) == 1:
        return names[0].removeprefix("yara_x-").removesuffix(".dist-info")
    import importlib.metadata

    return importlib.metadata.version("yara-x")
