"""Rules of one's own beside the shipped ones: what stands in both once, and names never meet."""

from __future__ import annotations

from pathlib import Path

import pytest

from handlers.local.samples import eicar
from plugins._rules import rulesets
from plugins._rules.beside import is_routing, load_beside, sources_at, together
from plugins._rules.rulesets import Ruleset, build_ruleset, compile_sources
from plugins.workers.yara import Yara
from stoq_core.errors import RulesError
from stoq_core.testing import make, payload, run

GOOD = 'rule good { strings: $a = "STANDARD" condition: $a }\n'
OTHER = 'rule good { strings: $a = "EICAR" condition: $a }\n'


def hits(made: Ruleset, content: bytes | None = None) -> list[tuple[str, str]]:
    """Namespace and name of each rule that matches."""
    found = made.rules.scan(eicar() if content is None else content).matching_rules
    return sorted((one.namespace, one.identifier) for one in found)


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped rules: one finds, one routes."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    (folder / "main.yar").write_text("// what is shipped\n" + GOOD + "rule second { condition: true }\n")
    (folder / "routing.yar").write_text('rule to { meta: plugin = "w" condition: true }\n')
    monkeypatch.setattr(rulesets, "SHIPPED", folder)
    return folder


def own(tmp_path: Path, text: str, name: str = "own.yar") -> str:
    """A file of one's own."""
    file = tmp_path / name
    file.write_text(text)
    return str(file)


def test_own_rules_stand_beside_the_shipped_ones(shipped: Path, tmp_path: Path) -> None:
    """Both match; without the shipped ones only one's own."""
    path = own(tmp_path, "rule mine { condition: true }")
    both = [("detect", "good"), ("detect", "second"), ("own", "mine"), ("routing", "to")]
    assert hits(load_beside((path,), shipped=True)) == both
    assert hits(load_beside((path,), shipped=False)) == [("own", "mine")]
    assert hits(load_beside((), shipped=True)) == [one for one in both if one[0] != "own"]
    assert hits(load_beside((), shipped=False)) == hits(load_beside((), shipped=True)), (
        "nothing else is there"
    )


def test_what_stands_in_both_is_taken_once(shipped: Path, tmp_path: Path) -> None:
    """Name and text, however it is laid out; a copy of all is the shipped ruleset itself."""
    same = '/* mine */ rule   good {\n strings: $a = "STANDARD"\n condition: $a }\n'
    path = own(tmp_path, same + "rule more { condition: true }")
    made = load_beside((path,), shipped=True)
    assert not made.bad
    assert hits(made) == [("detect", "good"), ("detect", "second"), ("own", "more"), ("routing", "to")]
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in shipped.glob("*.yar"):
        (copy / file.name).write_text(file.read_text())
    assert load_beside((str(copy),), shipped=True).digest == load_beside((), shipped=True).digest


def test_another_rule_of_the_same_name_is_kept_apart(shipped: Path, tmp_path: Path) -> None:
    """Under a namespace of its own, where the file has the name of one that is taken, too."""
    for name, namespace in (("own.yar", "own"), ("detect.yar", "own.detect"), ("routing.yar", "own.routing")):
        made = load_beside((own(tmp_path, OTHER, name),), shipped=True)
        assert not made.bad
        assert [one for one in hits(made) if one[1] == "good"] == sorted(
            [("detect", "good"), (namespace, "good")]
        )
    assert [is_routing(one) for one in ("routing", "own.routing", "own2.routing")] == [True] * 3
    assert not any(map(is_routing, ("own", "detect", "x.routing", "routing.x")))


def test_a_global_rule_binds_its_own_file_alone(shipped: Path, tmp_path: Path) -> None:
    """It cannot switch off what is shipped, whatever its file is called."""
    never = "global rule never { condition: false }\nrule mine { condition: true }\n"
    for name in ("own.yar", "detect.yar", "routing.yar"):
        found = hits(load_beside((own(tmp_path, never, name),), shipped=True))
        assert found == [("detect", "good"), ("detect", "second"), ("routing", "to")]


def test_a_known_rule_that_another_one_names_is_kept(shipped: Path, tmp_path: Path) -> None:
    """`mine` needs `good` in its own namespace."""
    made = load_beside((own(tmp_path, GOOD + "rule mine { condition: good }"),), shipped=True)
    assert not made.bad
    assert ("own", "mine") in hits(made)


def test_lines_of_bad_rules_stay_where_they_are(shipped: Path, tmp_path: Path) -> None:
    """What is left out leaves its lines."""
    made = load_beside((own(tmp_path, GOOD + "\n\nrule bad { condition: $x }\n"),), shipped=True)
    assert [(one.line, one.rule) for one in made.bad] == [(4, "bad")]


def test_several_of_one_s_own(shipped: Path, tmp_path: Path) -> None:
    """Each path counts, in its order, once; the same name in two is two rules where the text differs."""
    one, two = own(tmp_path, OTHER, "a.yar"), own(tmp_path, "rule z { condition: true }", "b.yar")
    (tmp_path / "deep").mkdir()
    third = own(tmp_path / "deep", OTHER + "rule y { condition: true }", "a.yar")
    found = hits(load_beside((one, two, third, one), shipped=True))
    assert found.count(("a", "good")) == 1
    assert ("b", "z") in found
    assert ("own3.a", "y") in found


def test_an_artefact_that_has_all_is_taken_as_it_is(shipped: Path, tmp_path: Path) -> None:
    """`stoq rules build` of the shipped folder and one's own costs no compiling at the start."""
    path = own(tmp_path, "rule mine { condition: true }")
    built, made = build_ruleset([shipped, Path(path)], tmp_path / "out")
    assert load_beside((str(built),), shipped=True).digest == made.digest
    assert sorted(sources_at(str(built))) == sorted(sources_at("") + sources_at(path))
    only, _ = build_ruleset([Path(path)], tmp_path / "only")
    assert ("own", "mine") in hits(load_beside((str(only),), shipped=True))
    assert ("detect", "good") in hits(load_beside((str(only),), shipped=True))


def test_together_compiles_and_is_stable(shipped: Path, tmp_path: Path) -> None:
    """Sources of a namespace stand side by side, in the same order each time."""
    groups = [sources_at(""), sources_at(own(tmp_path, OTHER)), sources_at(own(tmp_path, GOOD, "x.yar"))]
    made = together(groups)
    assert made == together(groups) == sorted(made, key=lambda source: source[0])
    assert not compile_sources(made).bad


def test_a_path_that_is_not_there_is_an_error(shipped: Path) -> None:
    """Named, and nothing else is used in its place."""
    with pytest.raises(RulesError, match="no such file"):
        load_beside(("/nowhere/at/all",), shipped=True)


def test_capital_endings_are_read(shipped: Path, tmp_path: Path) -> None:
    """`RULES.YAR` in a folder is a file of rules."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "RULES.YAR").write_text("rule loud { condition: true }")
    assert ("RULES", "loud") in hits(load_beside((str(folder),), shipped=True))


def test_without_the_shipped_rules_it_does_not_search() -> None:
    """The role is the shipped rules' promise."""
    assert make(Yara).roles == ("searches",)
    assert make(Yara, shipped=False).roles == ()
    assert run(make(Yara), payload(eicar())).findings
