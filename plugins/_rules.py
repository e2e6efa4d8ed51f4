"""Rulesets: read rule sources, compile what compiles, name what does not, keep it as one artefact."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from stoq_core.errors import RulesError

SUFFIX = ".stoqrules"
ROUTING = "routing"
SHIPPED = Path(__file__).resolve().parent.parent / "rules"
_FORMAT = 1
_ENDINGS = (".yar", ".yara")


class BadRule(NamedTuple):
    """A rule that was left out: where it stands, why, and the compiler's own picture of it."""

    file: str
    line: int
    why: str
    picture: str


class Ruleset(NamedTuple):
    """Compiled rules, the digest of their sources, and the rules that did not compile."""

    rules: Any
    digest: str
    bad: list[BadRule]


class _Artefact(msgspec.Struct, frozen=True):
    """What an artefact holds: sources by namespace and file, and a compiled form a yara-x version."""

    format: int
    digest: str
    sources: list[tuple[str, str, str]]
    compiled: dict[str, bytes]


def read_sources(paths: Iterable[Path]) -> list[tuple[str, str, str]]:
    """`(namespace, file, text)` of every rule file below the paths, in a stable order.

    The namespace is `routing` for files called routing.yar, else `detect` for shipped rules and the
    file's stem for others. Raises `RulesError` for what cannot be read.
    """
    found: list[tuple[str, str, str]] = []
    for path in paths:
        if not path.exists():
            msg = f"{path}: no such file or folder of rules"
            raise RulesError(msg)
        files = sorted(p for p in path.rglob("*") if p.suffix in _ENDINGS) if path.is_dir() else [path]
        for file in files:
            try:
                text = file.read_bytes().decode("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                msg = f"{file}: cannot be read as UTF-8 text: {error}"
                raise RulesError(msg) from None
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            shipped = SHIPPED in file.resolve().parents
            found.append(
                (ROUTING if file.stem == ROUTING else "detect" if shipped else file.stem, name, text)
            )
    if not found:
        msg = f"no rules: there is no file ending in .yar or .yara in {', '.join(str(p) for p in paths)}"
        raise RulesError(msg)
    return found


def digest_of(sources: list[tuple[str, str, str]]) -> str:
    """The name of a ruleset: sha256 over its sources, 16 hex digits."""
    return hashlib.sha256(msgspec.msgpack.encode(sources)).hexdigest()[:16]


def compile_sources(sources: list[tuple[str, str, str]]) -> Ruleset:
    """Compile; a bad rule is left out and named, the others of its file stay."""
    import yara_x

    compiler = yara_x.Compiler()
    compiler.enable_includes(False)  # noqa: FBT003 - the library has no keyword
    for namespace, file, text in sources:
        compiler.new_namespace(namespace)
        try:
            compiler.add_source(text, origin=file)
        except yara_x.CompileError:
            continue  # all errors are collected below; the good rules of the file are in
    bad = []
    for error in compiler.errors():
        label = (error.get("labels") or [{}])[0]
        why = error["title"] + (f" ({label['text']})" if label.get("text") else "")
        bad.append(BadRule(str(label.get("code_origin", "?")), int(error.get("line", 0)), why, error["text"]))
    return Ruleset(compiler.build(), digest_of(sources), bad)


def build_ruleset(paths: list[Path], out: Path) -> tuple[Path, Ruleset]:
    """Compile all rules below `paths` into `out/DIGEST.stoqrules`."""
    sources = read_sources(paths)
    made = compile_sources(sources)
    binary = io.BytesIO()
    made.rules.serialize_into(binary)
    artefact = _Artefact(_FORMAT, made.digest, sources, {_version(): binary.getvalue()})
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"{made.digest}{SUFFIX}"
    partial = target.with_suffix(".partial")
    partial.write_bytes(msgspec.msgpack.encode(artefact))
    partial.replace(target)
    return target, made


def load_ruleset(path: str) -> Ruleset:
    """A ruleset from an artefact, a folder or a file of sources; `""` is the shipped one.

    The shipped one is taken from `rules/build` if that was built from these very sources.
    Raises `RulesError` for what cannot be read.
    """
    if path:
        file = Path(path)
        if file.suffix == SUFFIX:
            return _load_artefact(file)
        return compile_sources(read_sources([file]))
    built = sorted((SHIPPED / "build").glob(f"*{SUFFIX}"))
    if built and not any(SHIPPED.glob("*.yar")):
        return _load_artefact(built[0])  # a bundle carries the artefact alone
    sources = read_sources([SHIPPED])
    ready = SHIPPED / "build" / f"{digest_of(sources)}{SUFFIX}"
    return _load_artefact(ready) if ready in built else compile_sources(sources)


def _load_artefact(file: Path) -> Ruleset:
    import yara_x

    try:
        artefact = msgspec.msgpack.decode(file.read_bytes(), type=_Artefact)
    except (OSError, msgspec.DecodeError) as error:
        msg = f"{file}: is no ruleset that `stoq rules build` made: {error}"
        raise RulesError(msg) from None
    if artefact.format != _FORMAT or digest_of(artefact.sources) != artefact.digest:
        msg = f"{file}: is damaged or of another format; build it again with `stoq rules build`"
        raise RulesError(msg)
    binary = artefact.compiled.get(_version())
    if binary is None:
        return compile_sources(artefact.sources)
    return Ruleset(yara_x.Rules.deserialize_from(io.BytesIO(binary)), artefact.digest, [])


def _version() -> str:
    return importlib.metadata.version("yara-x")
