"""No option and no config makes a known bad file clean: it is found, or the verdict is not `clean`."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handlers import bootstrap
from handlers.local import scanning
from handlers.local.samples import eicar, zipped
from plugins._rules.rulesets import SHIPPED, build_ruleset
from stoq_core.config import Config, ScanSection, load
from stoq_core.errors import ConfigError, StoqError
from stoq_core.limits import Deadline, RequestLimits
from stoq_core.payload import Request
from stoq_core.pipeline import payload_of

FOLDER = Path(__file__).parent.parent.parent
INLINE = ("sandbox.mode", "inline")
NEVER = "global rule never { condition: false }\nrule eicar_test_file { condition: false }\n"


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Rulesets of one's own: a file, a folder, a compiled one, a copy of the shipped ones, an empty idea."""
    folder = tmp_path_factory.mktemp("rules")
    (folder / "detect.yar").write_text(NEVER)
    (folder / "routing.yar").write_text(NEVER)
    (folder / "copy").mkdir()
    for file in SHIPPED.glob("*.yar"):
        (folder / "copy" / file.name).write_text(file.read_text("utf-8"))
    (folder / "copy" / "more.yar").write_text('rule more { strings: $a = "STANDARD" condition: $a }')
    built, _ = build_ruleset([folder / "detect.yar"], folder / "built")
    return [str(folder / "detect.yar"), str(folder / "copy"), str(built), str(folder / "routing.yar")]


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A table of one's own that sends archives nowhere."""
    file = tmp_path_factory.mktemp("routes") / "own.toml"
    file.write_text('[zip]\nworkers = []\nkind = "leaf"\n[txt]\nworkers = []\n')
    return str(file)


def verdicts(config: Config) -> Iterator[tuple[str, str]]:
    """The verdict over EICAR, and over EICAR in an archive."""
    pipeline = bootstrap.pipeline(config)
    try:
        for name, content in (("plain", eicar()), ("zipped", zipped(eicar__com=eicar()))):
            asked = Request(
                scan_id="11111111-1111-4111-8111-111111111111",
                payloads=[payload_of(content, "x")],
                start=list(config.scan.start),
            )
            verdict = pipeline.scan(asked, Deadline.after_ms(60_000)).verdict
            assert verdict is not None
            yield name, verdict.verdict
    finally:
        pipeline.close()


@cache
def names(kind: str) -> list[str]:
    """The shipped plugins of a kind."""
    return bootstrap.registry(load()).names(kind)


WORKERS = st.lists(st.sampled_from(names("worker")), max_size=3)
DISPATCHERS = st.lists(st.sampled_from(["filetype", "yara", "attributes"]), max_size=2)
LIMITS = st.sampled_from([name for name in RequestLimits.__struct_fields__ if name != "reserve_ms"])


@st.composite
def overrides(draw: st.DrawFn, rules: list[str], routes: str) -> list[tuple[str, Any]]:
    """Some settings, of any kind that says what runs, over which rules, within which limits."""
    found = [
        ("scan.always", draw(WORKERS)),
        ("scan.dispatchers", draw(DISPATCHERS)),
        ("scan.start", draw(WORKERS)),
        ("scan.only", draw(st.none() | WORKERS)),
        ("scan.dedup", draw(st.booleans())),
        ("rules.path", draw(st.sampled_from(["", *rules]))),
        ("rules.extra", draw(st.lists(st.sampled_from(rules), max_size=2))),
        ("rules.shipped", draw(st.booleans())),
        ("worker.yara.rules", draw(st.sampled_from(["", *rules]))),
        ("worker.yara.strings_limit", draw(st.integers(0, 2))),
        ("worker.mimetype.engine", draw(st.sampled_from(["puremagic", "table"]))),
        ("dispatcher.filetype.routes", draw(st.sampled_from(["", routes]))),
        ("verdict.unknown", draw(st.sampled_from(["clean", "incomplete"]))),
        (f"limits.{draw(LIMITS)}", draw(st.integers(0, 200))),
    ]
    chosen = draw(st.lists(st.sampled_from(found), max_size=4, unique_by=lambda one: one[0]))
    return [(name, value) for name, value in chosen if value is not None]


def toml(settings_given: list[tuple[str, Any]]) -> str:
    """As a config file."""
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings_given)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_known_bad_is_found_or_not_clean(
    data: st.DataObject, rules: list[str], routes: str, tmp_path: Path
) -> None:
    """Whatever --always, --dispatcher, --only, own rules, a config file or STOQ_ settings say."""
    by_call, by_file, by_environment = (data.draw(overrides(rules, routes)) for _ in range(3))
    file = tmp_path / "stoq.toml"
    file.write_text(toml(by_file))
    environment = {
        f"STOQ_{name.upper().replace('.', '__')}": json.dumps(value) for name, value in by_environment
    }
    try:
        config = bootstrap.configured(environment, [*by_call, INLINE], file)
        found = dict(verdicts(config))
    except StoqError:
        return  # refused, with a line that says why
    assert "clean" not in found.values(), (by_call, by_file, by_environment)


@pytest.mark.parametrize(
    "given_settings",
    [
        [("scan.always", ["exif"])],
        [("scan.dispatchers", ["yara"])],
        [("worker.yara.timeout_ms", 20_000)],
        [("limits.depth", 9)],
        [("scan.decorators", ["attack"])],
        [("scan.always", [])],
        [("scan.dispatchers", [])],
    ],
)
def test_an_option_drops_no_other(given_settings: list[tuple[str, Any]], tmp_path: Path) -> None:
    """What one line names is added; all else stays, wherever the line stands."""
    file = tmp_path / "stoq.toml"
    file.write_text(toml(given_settings))
    environment = {
        f"STOQ_{name.upper().replace('.', '__')}": json.dumps(value) for name, value in given_settings
    }
    for config in (
        bootstrap.configured({}, [INLINE], file),
        bootstrap.configured(environment, [INLINE]),
        bootstrap.configured({}, [*given_settings, INLINE]),
    ):
        assert {*ScanSection().always} <= {*config.scan.always}
        assert {*ScanSection().dispatchers} <= {*config.scan.dispatchers}
        assert not config.replaced
        assert dict(verdicts(config)) == {"plain": "malicious", "zipped": "malicious"}


def test_layers_add_to_each_other(tmp_path: Path) -> None:
    """A file's, the environment's and the call's workers all run, each once, the defaults first."""
    file = tmp_path / "stoq.toml"
    file.write_text('plugin_paths = ["a"]\n[scan]\nalways = ["exif", "hash"]\n')
    config = load(
        file, {"STOQ_SCAN__ALWAYS": '["tlsh"]', "STOQ_PLUGIN_PATHS": '["b"]'}, [("scan.always", ["lief"])]
    )
    assert config.scan.always == (*ScanSection().always, "exif", "tlsh", "lief")
    assert config.plugin_paths == ("a", "b")


def test_only_is_said_in_the_result() -> None:
    """What replaces the defaults stands in the result, and the verdict is not clean without a search."""
    config = bootstrap.configured({}, [("scan.only", ["mimetype"]), INLINE])
    assert (config.scan.always, config.scan.dispatchers, config.replaced) == (
        ("mimetype",),
        (),
        ["scan.only"],
    )
    pipeline = bootstrap.pipeline(config)
    asked = Request(scan_id="11111111-1111-4111-8111-111111111111", payloads=[payload_of(b"text", "x")])
    response = pipeline.scan(asked, Deadline.after_ms(60_000))
    assert response.stats.replaced == ["scan.only"]
    assert [one.reason.value for one in response.results[0].unread] == ["not_searched"]
    assert [line.partition(":")[0] for line in pipeline.warnings] == ["[scan]", "[scan]"]
    pipeline.close()


def test_what_a_config_excuses_by_name_is_shown() -> None:
    """`[verdict] accept` makes it clean, and the result says so."""
    given_settings = [("scan.only", ["mimetype"]), ("verdict.accept", ["not_searched", "no_worker"]), INLINE]
    pipeline = bootstrap.pipeline(bootstrap.configured({}, given_settings))
    assert pipeline.warnings == ()
    asked = Request(scan_id="11111111-1111-4111-8111-111111111111", payloads=[payload_of(b"text", "x")])
    response = pipeline.scan(asked, Deadline.after_ms(60_000))
    assert response.verdict is not None
    assert response.verdict.verdict == "clean"
    assert response.stats.accepted == ["no_worker", "not_searched"]
    assert [one.reason.value for one in response.verdict.unread] == ["not_searched"]
    pipeline.close()


def test_a_function_refuses_to_start_where_nothing_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for each of what no plugin does."""
    monkeypatch.setenv("STOQ_SCAN__ONLY", '["hash"]')
    monkeypatch.setenv("STOQ_SANDBOX__MODE", "inline")
    with pytest.raises(ConfigError) as caught:
        bootstrap.cold_start()
    assert all(word in str(caught.value) for word in ("identifies", "searches", "opens", "accept"))


def test_the_defaults_stand_in_one_place(capsys: pytest.CaptureFixture[str]) -> None:
    """What stoq.toml shows in comments is what the code has, and what `stoq config` prints."""
    text = (FOLDER / "stoq.toml").read_text("utf-8")
    assert tomllib.loads(text) == {name: {} for name in tomllib.loads(text)}, "nothing is set there"
    lines = [
        line.lstrip("# ") if "=" in line or line.startswith("# [") else line for line in text.splitlines()
    ]
    shown = tomllib.loads(
        "\n".join(line for line in lines if line.startswith("[") or " = " in line.partition("#")[0])
    )
    shown.pop("worker")
    from handlers.local.listing import settings_in_force

    settings_in_force(None, [])
    printed = json.loads(capsys.readouterr().out)
    for section, values in shown.items():
        for name, value in values.items() if isinstance(values, dict) else [(None, values)]:
            of_code = getattr(load(), section)
            expected = of_code if name is None else getattr(of_code, name)
            expected = list(expected) if isinstance(expected, tuple) else expected
            assert value == expected or expected is None, (section, name)
            if section not in ("plugin_paths", "sandbox") and name != "connectors":
                assert (printed[section] if name is None else printed[section][name]) == value, (
                    section,
                    name,
                )


def test_a_folder_of_own_plugins_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~/.stoq/plugins` stays beside what `plugin_paths` names."""
    own = tmp_path / ".stoq" / "plugins"
    own.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    config = scanning.configured(None, [("plugin_paths", [str(tmp_path)])])
    assert config.plugin_paths == (str(own), str(tmp_path))


def test_a_relative_ruleset_is_found_in_the_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`rules.path` is taken from where the command was called, and stands beside the shipped ones."""
    (tmp_path / "own.yar").write_text(
        'rule own_word { meta: score = 400 strings: $a = "STANDARD" condition: $a }'
    )
    monkeypatch.chdir(tmp_path)
    pipeline = bootstrap.pipeline(bootstrap.configured({}, [("rules.path", "own.yar")]))
    try:
        asked = Request(scan_id="11111111-1111-4111-8111-111111111111", payloads=[payload_of(eicar(), "x")])
        verdict = pipeline.scan(asked, Deadline.after_ms(60_000)).verdict
        assert verdict is not None
        assert {one.finding.name for one in verdict.findings} == {"own_word", "eicar_test_file"}
    finally:
        pipeline.close()
