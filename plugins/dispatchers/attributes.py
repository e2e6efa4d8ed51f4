"""From static attributes and earlier results to workers, by rules that are data."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import msgspec

from plugins._formats.filetype import kind_of
from plugins._rules.matchers import Condition, condition
from stoq_core.errors import ConfigError
from stoq_core.job import Archive, Dispatch, Finding, Job
from stoq_core.options import Options, about, build
from stoq_core.payload import Payload
from stoq_core.plugin import Dispatcher

ATTRIBUTES = ("size", "name", "extension", "mimetype", "type", "group", "depth", "bucket", "key", "entropy",
              "extra.", "result.")  # fmt: skip


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule: what must hold (`when`), and what follows: workers, a finding, no archiving."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    when: dict[str, Any]
    workers: list[str] = []
    score: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    detail: str = ""
    attack: list[str] = []
    save: bool = True


class AttributesOptions(Options, frozen=True):
    """The rules, here or in a file of their own."""

    rules: Annotated[list[dict[str, Any]], about("rules: name, when, and workers, score or save")] = []
    file: Annotated[str, about("a TOML file with [[rules]], which come after those given here")] = ""


class Attributes(Dispatcher[AttributesOptions]):
    """Asks size, name, extension, type, bucket, entropy and results; the rules that hold name workers.

    `when` is a table in which each key must hold: `size = { min = 1, max = 10 }`, `name = "*.js"` (a
    glob, letter case aside), `extension = ["js", "vbs"]`, `mimetype = "image/*"`, `type = "pe"`, `group`,
    `depth`, `bucket` and `key` (of a stored object; a prefix is `key = "in/*"`), `entropy` (once that
    worker ran), `extra.KEY` and `result.WORKER.KEY`. `all`, `any` (lists) and `not` join them.
    """

    reads_results = True
    reads_meta = True

    def __init__(self, options: AttributesOptions, name: str) -> None:
        """Check every rule, so that a mistake stops the start and not a scan."""
        super().__init__(options, name)
        where = f"dispatcher.{name}"
        self._rules = list(_rules(options.rules, f"{where}.rules"))
        if options.file:
            self._rules += _read(Path(options.file).expanduser(), where)

    def dispatch(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield for each rule that holds; it is asked again when workers have given results."""
        known = _Known(payload, job)
        for rule, holds in self._rules:
            if not holds(known):
                continue
            if not rule.save:
                yield Archive(keep=False)
            if rule.score:
                yield Finding(rule.name, rule.score, rule.detail, tuple(rule.attack))
            for worker in rule.workers:
                yield Dispatch(worker, {"rule": rule.name})


class _Known:
    """The attributes of one payload, each found when it is asked for."""

    def __init__(self, payload: Payload, job: Job) -> None:
        self._payload, self._job = payload, job
        self._extra = payload.meta.extra_data

    def __call__(self, name: str) -> Any:
        payload = self._payload
        if name in ("mimetype", "type", "group"):
            kind = kind_of(payload)
            return {"mimetype": kind.mimetype, "type": kind.label, "group": kind.group}[name]
        if name in ("size", "name", "depth"):
            value = getattr(payload, name)
            return None if value == "" else value
        if name == "extension":
            return PurePosixPath(payload.name.replace("\\", "/")).suffix.lstrip(".") if payload.name else None
        if name in ("bucket", "key"):
            return self._extra.get(name)
        if name == "entropy":
            return self._result(("entropy", "entropy"))
        kind_of_name, _, rest = name.partition(".")
        return (
            _below(self._extra, rest.split(".")) if kind_of_name == "extra" else self._result(rest.split("."))
        )

    def _result(self, path: Any) -> Any:
        return _below(self._job.result_of(path[0]), path[1:])


def _below(value: Any, path: Any) -> Any:
    for key in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def _rules(given: Any, where: str) -> Iterator[tuple[Rule, Condition]]:
    for at, one in enumerate(given):
        place = f"{where}[{at}]"
        if not isinstance(one, Mapping):
            raise ConfigError(f"{place}: a rule is a table with name, when and workers")
        rule = build(Rule, one, place)
        if not (rule.workers or rule.score or not rule.save):
            raise ConfigError(
                f"{place}: rule {rule.name!r} does nothing: give it workers, a score or save = false"
            )
        yield rule, condition(rule.when, f"{place}.when", ATTRIBUTES)


def _read(file: Path, where: str) -> list[tuple[Rule, Condition]]:
    try:
        content = tomllib.loads(file.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}.file: {file} cannot be read: {error}") from None
    if set(content) != {"rules"} or not isinstance(content["rules"], list):
        raise ConfigError(f"{where}.file: {file} holds [[rules]] and nothing else")
    return list(_rules(content["rules"], f"{file}: rules"))
